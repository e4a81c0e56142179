//! Whether an object is already as it is wanted, so that nothing is written for nothing.

use serde::Serialize;
use serde_json::Value;

/// Whether everything that `wanted` says is so in `observed`, which may say more: defaults, and what others have set.
pub(crate) fn covers<T: Serialize>(observed: &T, wanted: &T) -> bool {
    match (serde_json::to_value(observed), serde_json::to_value(wanted)) {
        (Ok(observed), Ok(wanted)) => within(&wanted, &observed),
        _ => false,
    }
}

fn within(wanted: &Value, observed: &Value) -> bool {
    match (wanted, observed) {
        (Value::Object(wanted), Value::Object(observed)) => wanted.iter().all(|(key, value)| match observed.get(key) {
            Some(found) => within(value, found),
            None => empty(value),
        }),
        (Value::Array(wanted), Value::Array(observed)) => {
            wanted.len() == observed.len()
                && wanted.iter().zip(observed).all(|(wanted, observed)| within(wanted, observed))
        }
        (Value::String(wanted), Value::String(observed)) => wanted == observed || same_quantity(wanted, observed),
        _ => wanted == observed,
    }
}

/// An API server leaves out what is empty.
fn empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(fields) => fields.values().all(empty),
        Value::Array(items) => items.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// An API server writes quantities in its own way: `1000m` comes back as `1`.
fn same_quantity(one: &str, other: &str) -> bool {
    match (quantity(one), quantity(other)) {
        (Some(one), Some(other)) => one == other,
        _ => false,
    }
}

/// A quantity in thousandths.
fn quantity(text: &str) -> Option<u128> {
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor: u128 = match unit {
        "m" => 1,
        "" => 1000,
        "k" => 1_000_000,
        "M" => 1_000_000_000,
        "G" => 1_000_000_000_000,
        "T" => 1_000_000_000_000_000,
        "Ki" => 1000 << 10,
        "Mi" => 1000 << 20,
        "Gi" => 1000 << 30,
        "Ti" => 1000 << 40,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || fraction.len() > 3 || (unit == "m" && !fraction.is_empty()) {
        return None;
    }
    let thousandths: u128 = format!("{whole}{fraction:0<3}").parse().ok()?;
    (thousandths * factor).checked_div(1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_others_add_does_not_matter() {
        assert!(within(&json!({"a": 1}), &json!({"a": 1, "b": 2})));
        assert!(!within(&json!({"a": 1, "b": 2}), &json!({"a": 1})));
        assert!(within(&json!([{"name": "x"}]), &json!([{"name": "x", "protocol": "TCP"}])));
        assert!(!within(&json!(["x"]), &json!(["x", "y"])));
        assert!(within(&json!({"emptyDir": {}, "list": [], "none": null}), &json!({})));
    }

    #[test]
    fn quantities_are_compared_by_value() {
        for (one, other) in [("1000m", "1"), ("0.5", "500m"), ("1024Mi", "1Gi"), ("1.5Gi", "1536Mi"), ("1", "1")] {
            assert!(same_quantity(one, other), "{one} {other}");
        }
        for (one, other) in [("1", "2"), ("1Gi", "1G"), ("one", "one "), ("", "0")] {
            assert!(!same_quantity(one, other), "{one} {other}");
        }
    }
}
