//! One spelling per JSON value: object keys sorted, no white space. Equal values give equal bytes, whatever order a map
//! was filled in.

use serde_json::Value;

/// Appends the canonical spelling of `value` to `out`.
pub(crate) fn append(value: &Value, out: &mut String) {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => out.push_str(&value.to_string()),
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                append(item, out);
            }
            out.push(']');
        }
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(key, _)| key.as_str());
            out.push('{');
            for (i, (key, item)) in entries.into_iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                append(&Value::String(key.clone()), out);
                out.push(':');
                append(item, out);
            }
            out.push('}');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_sorted_at_every_depth_and_numbers_keep_their_kind() {
        let value: Value =
            serde_json::from_str(r#"{"b": [1, 2.0, {"y": null, "x": "\"é\n"}], "a": 1e-4, "ab": true}"#).unwrap();
        let mut out = String::new();
        append(&value, &mut out);
        assert_eq!(out, r#"{"a":0.0001,"ab":true,"b":[1,2.0,{"x":"\"é\n","y":null}]}"#);
    }
}
