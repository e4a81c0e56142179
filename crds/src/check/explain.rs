//! The words: every message says what was found, what was expected and what to do about it.

use serde_json::{Map, Value};

use super::{Finding, fields::property};
use crate::path::{Path, Step};
use crate::spec::{DECIMAL_PATTERN, LABEL_PATTERN, RATIO_PATTERN};
use crate::violation::Constraint;

/// A value as a short text, without what may be a password.
pub(super) fn shown(value: &Value) -> String {
    const LONGEST: usize = 60;
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(value) => format!("the truth value {value}"),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) => {
            let text = redacted(text);
            match text.char_indices().nth(LONGEST) {
                Some((end, _)) => format!("the text {:?}", format!("{}...", &text[..end])),
                None => format!("the text {text:?}"),
            }
        }
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a map".to_owned(),
    }
}

/// A URI without the user name and password that somebody may have written into it.
fn redacted(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    match authority.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://***@{host}{path}"),
        None => text.to_owned(),
    }
}

pub(super) fn wrong_type(schema: &Value, value: &Value, path: &Path) -> String {
    let expected = schema["type"].as_str().unwrap_or_default();
    let wanted = match expected {
        "object" => "a map",
        "array" => "a list",
        "string" => "text",
        "boolean" => "true or false",
        "integer" => "a whole number",
        other => other,
    };
    let remedy = match (expected, value) {
        ("string", Value::Number(_)) => format!("write it in quotes: \"{value}\""),
        ("string", Value::Bool(_)) => {
            "put the word in quotes, since YAML reads y, n, yes, no, on and off as truth values".to_owned()
        }
        ("integer", Value::String(text)) if text.trim().parse::<i64>().is_ok() => {
            format!("remove the quotes: {}", text.trim())
        }
        ("integer", Value::Number(number)) if number.as_f64().is_some_and(|value| value.fract() != 0.0) => {
            "write it without a fraction".to_owned()
        }
        ("integer", Value::Number(_)) => range(schema)
            .map_or_else(|| "write a number that fits 64 bits".to_owned(), |range| format!("write a number {range}")),
        ("boolean", Value::String(text)) if matches!(text.to_lowercase().as_str(), "true" | "false") => {
            format!("remove the quotes: {}", text.to_lowercase())
        }
        ("object", Value::String(text)) if property(schema, text).is_some() => {
            format!("write a colon after the name: {}", with_value(schema, text))
        }
        ("object", Value::String(text)) if names(schema).len() == 1 && !path.steps().is_empty() => {
            let text = redacted(text);
            format!("write {}: {{{}: {text}}}", last(path), names(schema).concat())
        }
        ("object", _) => fill(schema, path),
        ("array", Value::Object(_)) => "begin each item with a dash: - ...".to_owned(),
        ("array", _) => format!("write each item after a dash, or all in brackets: [{}]", plain(value)),
        _ => format!("write {wanted}"),
    };
    format!("found {}, expected {wanted}; {remedy}", shown(value))
}

/// How to give a map its content.
fn fill(schema: &Value, path: &Path) -> String {
    match (names(schema), path.steps().is_empty()) {
        (names, true) => format!("write its fields: {}", names.join(", ")),
        (names, false) if names.is_empty() => format!("write {}: {{}}", last(path)),
        (names, false) => format!("write its fields below it, indented: {}", names.join(", ")),
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => redacted(text),
        other => other.to_string(),
    }
}

pub(super) fn not_listed(value: &Value, allowed: &[Value]) -> String {
    let allowed: Vec<&str> = allowed.iter().filter_map(Value::as_str).collect();
    let found = plain(value);
    let remedy = match closest(&found, allowed.iter().copied()) {
        Some(meant) => format!("did you mean {meant}?"),
        None => "write it exactly so".to_owned(),
    };
    match allowed.as_slice() {
        [only] => format!("found {}, expected {only}; {remedy}", shown(value)),
        _ => format!("found {}, expected one of {}; {remedy}", shown(value), allowed.join(", ")),
    }
}

fn range(schema: &Value) -> Option<String> {
    match (schema.get("minimum"), schema.get("maximum")) {
        (Some(least), Some(most)) => Some(format!("from {least} to {most}")),
        (Some(least), None) => Some(format!("of at least {least}")),
        (None, Some(most)) => Some(format!("of at most {most}")),
        (None, None) => None,
    }
}

pub(super) fn out_of_range(schema: &Value, value: &Value) -> String {
    let range = range(schema).unwrap_or_default();
    let low = value.as_f64() < schema["minimum"].as_f64();
    let remedy = if low { "raise it" } else { "lower it" };
    format!("found {value}, expected a number {range}; {remedy}")
}

pub(super) fn too_short(schema: &Value) -> String {
    match schema["minLength"].as_u64() {
        Some(1) | None => "the text is empty; write a value, or remove the field".to_owned(),
        Some(least) => format!("the text is too short; at least {least} characters are needed"),
    }
}

pub(super) fn too_long(schema: &Value, length: u64) -> String {
    format!("the text has {length} characters; shorten it to at most {}", schema["maxLength"])
}

pub(super) fn wrong_form(pattern: &str, text: &str) -> String {
    let found = shown(&Value::from(text));
    match pattern {
        DECIMAL_PATTERN => {
            let comma = text.replace(',', ".");
            let remedy = match crate::spec::Decimal(comma.clone()).value() {
                Some(_) if comma != text => format!("write a point: \"{comma}\""),
                _ => "write it like \"0.001\" or \"1e-4\"".to_owned(),
            };
            format!("found {found}, expected a decimal number that is not negative; {remedy}")
        }
        RATIO_PATTERN => {
            let comma = text.replace(',', ".");
            let remedy =
                if comma != text { format!("write a point: \"{comma}\"") } else { "write it like \"0.5\"".to_owned() };
            format!("found {found}, expected a decimal number from 0 to 1; {remedy}")
        }
        LABEL_PATTERN => format!(
            "found {found}, expected the value of a label; use letters, digits, '-', '_' and '.', with a letter or digit at both ends"
        ),
        other => format!("found {found}, expected text that matches {other}"),
    }
}

pub(super) fn too_few(schema: &Value) -> String {
    match schema["minItems"].as_u64() {
        Some(1) | None => "the list is empty; add an item, or remove the field".to_owned(),
        Some(least) => format!("the list is too short; at least {least} items are needed"),
    }
}

pub(super) fn too_many(schema: &Value, length: u64) -> String {
    format!("the list has {length} items; shorten it to at most {}", schema["maxItems"])
}

pub(super) fn too_many_keys(schema: &Value, length: u64) -> String {
    format!("the map has {length} keys; reduce it to at most {}", schema["maxProperties"])
}

pub(super) fn listed_twice(item: &Value) -> String {
    format!("{} is listed twice; remove one of the two", plain(item))
}

pub(super) fn missing(schema: &Value, name: &str) -> String {
    let schema = property(schema, name).unwrap_or(&Value::Null);
    if let Some([Value::String(only)]) = schema["enum"].as_array().map(Vec::as_slice) {
        return format!("{name} is missing; add {name}: {only}");
    }
    match schema["description"].as_str().map(first_sentence) {
        Some(about) => format!("{name} is missing; add it: {about}"),
        None => format!("{name} is missing; add it"),
    }
}

fn first_sentence(text: &str) -> String {
    let end = text.find(". ").unwrap_or_else(|| text.trim_end_matches('.').len());
    text[..end].to_owned()
}

pub(super) fn unknown(schema: &Value, present: &Map<String, Value>, name: &str, path: Path) -> Finding {
    let parent = path.parent();
    let known = names(schema);
    let free = known.iter().copied().filter(|known| !present.contains_key(*known));
    let (remedy, meant) = match closest(name, free) {
        Some(meant) => (format!("did you mean {meant}?"), Some(parent.field(meant))),
        None => match elsewhere(name) {
            Some(place) => (format!("did you mean {place}?"), Some(place)),
            None if known.is_empty() => ("remove it; no fields are possible here".to_owned(), None),
            None => (format!("remove it; the fields here are {}", known.join(", ")), None),
        },
    };
    Finding {
        path,
        meant,
        constraint: Constraint::Unknown,
        message: format!("there is no field {name:?} here; {remedy}"),
    }
}

/// The one place of the spec that has a field of this name, if the writer mistook the level.
fn elsewhere(name: &str) -> Option<Path> {
    fn visit(schema: &Value, path: &Path, name: &str, found: &mut Vec<Path>) {
        for (field, schema) in schema["properties"].as_object().into_iter().flatten() {
            let path = path.field(field);
            visit(schema, &path, name, found);
            if field.eq_ignore_ascii_case(name) {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    let spec = &crate::crd::schema()["properties"]["spec"];
    visit(spec, &Path::default().field("spec"), name, &mut found);
    match found.as_slice() {
        [one] => Some(one.clone()),
        _ => None,
    }
}

/// Says that a field stands there without a value, when this may be why another is missing.
pub(super) fn add_empty_fields(finding: &mut Finding, empty: &[Path], schema: &Value) {
    let near = |path: &&Path| match finding.constraint {
        Constraint::Required => **path == finding.path,
        Constraint::Rule(_) => **path == finding.path || path.parent() == finding.path,
        _ => false,
    };
    let Some(path) = empty.iter().find(near) else {
        return;
    };
    let remedy = match at(schema, path) {
        Some(schema) if schema["type"] == "object" => fill(schema, path),
        _ => "write its value after the colon".to_owned(),
    };
    finding.message = format!("{} stands there without a value; {remedy} ({})", last(path), finding.message);
}

fn at<'a>(schema: &'a Value, path: &Path) -> Option<&'a Value> {
    path.steps().iter().try_fold(schema, |schema, step| match step {
        Step::Field(name) => property(schema, name),
        Step::Index(_) => schema.get("items"),
    })
}

fn names(schema: &Value) -> Vec<&str> {
    let properties = schema["properties"].as_object();
    properties.into_iter().flat_map(|fields| fields.keys().map(String::as_str)).collect()
}

fn last(path: &Path) -> String {
    match path.steps().last() {
        Some(Step::Field(name)) => name.clone(),
        Some(Step::Index(_)) | None => String::new(),
    }
}

fn with_value(schema: &Value, name: &str) -> String {
    let inner = property(schema, name).unwrap_or(&Value::Null);
    let required = inner["required"][0].as_str();
    match required.or(names(inner).first().copied()) {
        Some(field) => format!("{name}: {{{field}: ...}}"),
        None => format!("{name}: {{}}"),
    }
}

/// The name that was probably meant: the same but for case and signs, or the most similar one.
fn closest<'a>(found: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    const SIMILAR: f64 = 0.75;
    let found = folded(found);
    names
        .map(|name| (strsim::normalized_damerau_levenshtein(&found, &folded(name)), name))
        .filter(|(similarity, _)| *similarity >= SIMILAR)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

/// Lower-case letters and digits only; `k-means++` and `k-means||` in words.
fn folded(name: &str) -> String {
    let name = name.replace("++", "plusplus").replace("||", "parallel");
    let kept = name.chars().filter(|c| c.is_alphanumeric());
    kept.flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_what_was_meant() {
        let inits = ["KMeansParallel", "KMeansPlusPlus", "Random", "WarmStart"];
        for (found, meant) in [
            ("k-means++", Some("KMeansPlusPlus")),
            ("k-means||", Some("KMeansParallel")),
            ("random", Some("Random")),
            ("warm_start", Some("WarmStart")),
            ("Forgy", None),
            ("", None),
        ] {
            assert_eq!(closest(found, inits.into_iter()), meant, "{found}");
        }
    }

    #[test]
    fn keeps_passwords_out_of_messages() {
        assert_eq!(redacted("s3://key:secret@bucket/a@b"), "s3://***@bucket/a@b");
        assert_eq!(redacted("s3://key:secret@bucket"), "s3://***@bucket");
        assert_eq!(redacted("s3://bucket/a@b"), "s3://bucket/a@b");
        assert_eq!(redacted("a@b"), "a@b");
    }

    #[test]
    fn finds_a_field_on_another_level() {
        let place = |name| elsewhere(name).map(|path| path.to_string());
        assert_eq!(place("clusters").as_deref(), Some("spec.algorithm.kMeans.clusters"));
        assert_eq!(place("uri"), None);
    }

    #[test]
    fn every_pattern_is_explained_in_words() {
        fn visit(schema: &Value) {
            if let Some(pattern) = schema["pattern"].as_str() {
                assert!(!wrong_form(pattern, "x").contains(pattern), "{pattern}");
            }
            for (_, schema) in schema["properties"].as_object().into_iter().flatten() {
                visit(schema);
            }
            for inner in [&schema["items"], &schema["additionalProperties"]] {
                if inner.is_object() {
                    visit(inner);
                }
            }
        }
        visit(&crate::crd::schema()["properties"]["spec"]);
    }
}
