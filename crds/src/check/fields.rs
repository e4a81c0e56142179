//! Types, bounds, required and unknown fields: the part of the schema that is plain OpenAPI.

use regex::Regex;
use serde_json::{Map, Value};

use super::{Finding, explain};
use crate::path::Path;
use crate::violation::Constraint;

/// The document without the fields that are null, as an API server reads it when a field is not nullable. The paths of the dropped
/// fields are kept: they often explain what is missing.
pub(crate) fn without_nulls(schema: &Value, value: &Value, path: &Path, dropped: &mut Vec<Path>) -> Value {
    match value {
        Value::Object(fields) => {
            let mut kept = Map::new();
            for (name, value) in fields {
                let path = path.field(name);
                match property(schema, name) {
                    Some(_) if value.is_null() => dropped.push(path),
                    Some(schema) => {
                        kept.insert(name.clone(), without_nulls(schema, value, &path, dropped));
                    }
                    None => {
                        kept.insert(name.clone(), value.clone());
                    }
                }
            }
            Value::Object(kept)
        }
        Value::Array(items) => {
            let inner = &schema["items"];
            let items = items.iter().enumerate();
            items.map(|(index, item)| without_nulls(inner, item, &path.index(index), dropped)).collect()
        }
        other => other.clone(),
    }
}

/// Checks a value and everything below it.
pub(crate) fn check(schema: &Value, value: &Value, path: &Path, findings: &mut Vec<Finding>) {
    let mut report = |constraint, message| {
        findings.push(Finding { path: path.clone(), meant: None, constraint, message });
    };
    if let Some(expected) = schema["type"].as_str()
        && !has_type(value, expected)
    {
        report(Constraint::Type, explain::wrong_type(schema, value, path));
        return;
    }
    if let Some(allowed) = schema["enum"].as_array()
        && !allowed.contains(value)
    {
        report(Constraint::Enum, explain::not_listed(value, allowed));
        return;
    }
    match value {
        Value::Number(number) => {
            let below = |bound: &Value| number.as_f64() < bound.as_f64();
            let above = |bound: &Value| number.as_f64() > bound.as_f64();
            if schema.get("minimum").is_some_and(below) {
                report(Constraint::Minimum, explain::out_of_range(schema, value));
            }
            if schema.get("maximum").is_some_and(above) {
                report(Constraint::Maximum, explain::out_of_range(schema, value));
            }
        }
        Value::String(text) => {
            let length = text.chars().count() as u64;
            if schema["minLength"].as_u64().is_some_and(|least| length < least) {
                report(Constraint::MinLength, explain::too_short(schema));
            }
            if schema["maxLength"].as_u64().is_some_and(|most| length > most) {
                report(Constraint::MaxLength, explain::too_long(schema, length));
            } else if let Some(pattern) = schema["pattern"].as_str()
                && !matches(pattern, text)
            {
                report(Constraint::Pattern, explain::wrong_form(pattern, text));
            }
        }
        Value::Array(items) => check_list(schema, items, path, findings),
        Value::Object(fields) => check_fields(schema, fields, path, findings),
        Value::Null | Value::Bool(_) => {}
    }
}

fn check_list(schema: &Value, items: &[Value], path: &Path, findings: &mut Vec<Finding>) {
    let mut report = |path: Path, constraint, message| {
        findings.push(Finding { path, meant: None, constraint, message });
    };
    let length = items.len() as u64;
    if schema["minItems"].as_u64().is_some_and(|least| length < least) {
        report(path.clone(), Constraint::MinItems, explain::too_few(schema));
    }
    if schema["maxItems"].as_u64().is_some_and(|most| length > most) {
        report(path.clone(), Constraint::MaxItems, explain::too_many(schema, length));
        return;
    }
    if schema["x-kubernetes-list-type"] == "set" {
        for (index, item) in items.iter().enumerate() {
            if items[..index].contains(item) {
                report(path.index(index), Constraint::Unique, explain::listed_twice(item));
            }
        }
    }
    for (index, item) in items.iter().enumerate() {
        check(&schema["items"], item, &path.index(index), findings);
    }
}

fn check_fields(schema: &Value, fields: &Map<String, Value>, path: &Path, findings: &mut Vec<Finding>) {
    let length = fields.len() as u64;
    if schema["maxProperties"].as_u64().is_some_and(|most| length > most) {
        findings.push(Finding {
            path: path.clone(),
            meant: None,
            constraint: Constraint::MaxProperties,
            message: explain::too_many_keys(schema, length),
        });
    }
    for (name, value) in fields {
        let path = path.field(name);
        match property(schema, name) {
            Some(schema) => check(schema, value, &path, findings),
            None if schema["x-kubernetes-preserve-unknown-fields"] == true => {}
            None => findings.push(explain::unknown(schema, fields, name, path)),
        }
    }
    let required = schema["required"].as_array().into_iter().flatten();
    for name in required.filter_map(Value::as_str) {
        if !fields.contains_key(name) {
            findings.push(Finding {
                path: path.field(name),
                meant: None,
                constraint: Constraint::Required,
                message: explain::missing(schema, name),
            });
        }
    }
}

/// The schema of a field, whether the field is listed or the object takes any name.
pub(crate) fn property<'a>(schema: &'a Value, name: &str) -> Option<&'a Value> {
    let listed = schema["properties"].get(name);
    listed.or_else(|| schema.get("additionalProperties").filter(|any| any.is_object()))
}

fn has_type(value: &Value, expected: &str) -> bool {
    match expected {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64(),
        "number" => value.is_number(),
        _ => true,
    }
}

fn matches(pattern: &str, text: &str) -> bool {
    Regex::new(pattern).is_ok_and(|pattern| pattern.is_match(text))
}

/// Keywords of the schema that this check understands, and those that constrain nothing.
#[cfg(test)]
const KEYWORDS: [&str; 21] = [
    "type",
    "enum",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "pattern",
    "items",
    "minItems",
    "maxItems",
    "properties",
    "additionalProperties",
    "maxProperties",
    "required",
    "default",
    "description",
    "format",
    "x-kubernetes-list-type",
    "x-kubernetes-map-type",
    "x-kubernetes-validations",
    "x-kubernetes-preserve-unknown-fields",
];

#[cfg(test)]
mod tests {
    use super::*;

    /// A keyword that the API server checks and this module does not would let bad manifests through unnoticed.
    #[test]
    fn knows_every_keyword_of_the_schema() {
        fn visit(schema: &Value, path: &Path) {
            for (keyword, inner) in schema.as_object().unwrap() {
                assert!(KEYWORDS.contains(&keyword.as_str()), "{path}: {keyword}");
                match keyword.as_str() {
                    "properties" => {
                        for (name, schema) in inner.as_object().unwrap() {
                            visit(schema, &path.field(name));
                        }
                    }
                    "items" | "additionalProperties" => visit(inner, &path.index(0)),
                    _ => {}
                }
            }
            let format = schema["format"].as_str();
            assert!(matches!(format, None | Some("int32" | "int64")), "{path}: {format:?}");
            let list = schema["x-kubernetes-list-type"].as_str();
            assert!(matches!(list, None | Some("atomic" | "set")), "{path}: {list:?}");
        }
        visit(super::super::envelope::schema(), &Path::default());
    }
}
