//! Every bound and every rule of the schema, each with manifests that it accepts and rejects (`rules.yaml`).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};

use coterie_crds::{Constraint, Violation, crd, validate};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct Table {
    base: Value,
    full: Value,
    others: Vec<BTreeMap<String, Value>>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    field: String,
    constraint: String,
    accepted: Vec<BTreeMap<String, Value>>,
    rejected: Vec<BTreeMap<String, Value>>,
}

fn table() -> Table {
    serde_yaml::from_str(include_str!("rules.yaml")).unwrap()
}

impl Table {
    /// Manifests that set every field between them.
    fn full(&self) -> Vec<Value> {
        let others = self.others.iter().map(|other| changed(&self.full, other));
        [self.full.clone()].into_iter().chain(others).collect()
    }
}

/// `base` with changes.
fn changed(base: &Value, changes: &BTreeMap<String, Value>) -> Value {
    let mut manifest = base.clone();
    for (path, value) in changes {
        *manifest.pointer_mut_or_create(path) = expanded(value);
    }
    manifest
}

/// Repeated texts, long lists and maps.
fn expanded(value: &Value) -> Value {
    let times = value["times"].as_u64();
    let text = |text: &str| text.repeat(times.unwrap_or(1) as usize);
    match (&value["text"], value["count"].as_u64(), &value["item"]) {
        (Value::String(word), None, _) => json!(text(word)),
        (_, Some(count), Value::Null) if value["map"] == true => {
            (0..count).map(|index| (format!("key{index}"), json!("x"))).collect::<serde_json::Map<_, _>>().into()
        }
        (_, Some(count), Value::Null) => (0..count).map(|index| json!(text("x") + &index.to_string())).collect(),
        (_, Some(count), item) => (0..count).map(|_| item.clone()).collect(),
        _ => value.clone(),
    }
}

trait PointerMut {
    fn pointer_mut_or_create(&mut self, path: &str) -> &mut Value;
}

impl PointerMut for Value {
    fn pointer_mut_or_create(&mut self, path: &str) -> &mut Value {
        path.split('.').fold(self, |value, name| &mut value[name])
    }
}

fn violations(manifest: &Value) -> Vec<Violation> {
    // JSON is YAML, and leaves no doubt what is a text.
    let yaml = serde_json::to_string(manifest).unwrap();
    validate(&yaml).err().unwrap_or_default()
}

/// Field and constraint as `rules.yaml` writes them: without indices; a rule as its text.
fn name(violation: &Violation) -> (String, String) {
    let index = regex::Regex::new(r"\[\d+\]").unwrap();
    let constraint = match &violation.constraint {
        Constraint::Rule(text) => text.clone(),
        other => json!(other).as_str().unwrap().to_owned(),
    };
    (index.replace_all(&violation.path, "[]").into_owned(), constraint)
}

#[test]
fn accepts_and_rejects_what_the_table_says() {
    let table = table();
    for case in &table.cases {
        let Case { field, constraint, .. } = case;
        for changes in &case.accepted {
            let found = violations(&changed(&table.base, changes));
            assert!(found.is_empty(), "{field}: {constraint}: {changes:?} is refused: {found:?}");
        }
        assert!(!case.accepted.is_empty() && !case.rejected.is_empty(), "{field}: {constraint}");
        for changes in &case.rejected {
            let found = violations(&changed(&table.base, changes));
            let [found] = found.as_slice() else {
                panic!("{field}: {constraint}: {changes:?}: one violation is expected: {found:?}");
            };
            let (path, found_constraint) = name(found);
            assert_eq!(&found_constraint, constraint, "{field}: {changes:?}: {found}");
            // A rule may report at a field below the one it belongs to.
            assert!(path.starts_with(field), "{field}: {constraint}: {found}");
        }
    }
}

/// Adds every constraint of the schema but types, required and unknown fields.
fn collect(schema: &Value, path: &str, found: &mut BTreeSet<(String, String)>) {
    let mut add = |constraint: &str| found.insert((path.to_owned(), constraint.to_owned()));
    let bounds =
        ["enum", "minimum", "maximum", "minLength", "maxLength", "pattern", "minItems", "maxItems", "maxProperties"];
    for bound in bounds {
        // int32 and int64 are bounds of the type, not of the field.
        if schema.get(bound).is_some() {
            add(bound);
        }
    }
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        add(rule["rule"].as_str().unwrap());
    }
    if schema["x-kubernetes-list-type"] == "set" {
        found.insert((format!("{path}[]"), "unique".to_owned()));
    }
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        if path.is_empty() && name == "status" {
            continue;
        }
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        collect(schema, &path, found);
    }
    if schema["items"].is_object() {
        collect(&schema["items"], &format!("{path}[]"), found);
    }
    if schema["additionalProperties"].is_object() {
        // The keys of a map are the user's.
        collect(&schema["additionalProperties"], path, found);
    }
}

fn schema() -> Value {
    json!(crd::definition())["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
}

#[test]
fn no_bound_or_rule_is_without_a_case() {
    let mut expected = BTreeSet::new();
    collect(&schema(), "", &mut expected);
    let cases = table().cases.into_iter().map(|case| (case.field, case.constraint));
    let covered: BTreeSet<_> = cases.collect();
    assert_eq!(expected.difference(&covered).collect::<Vec<_>>(), Vec::<&(String, String)>::new(), "without a case");
    assert_eq!(covered.difference(&expected).collect::<Vec<_>>(), Vec::<&(String, String)>::new(), "not in the schema");
}

/// Fields of `full` with their schema: the dotted path (list items by index) and the JSON pointer.
fn fields(schema: &Value, value: &Value, path: &str, pointer: &str, found: &mut Vec<(String, String, Value)>) {
    found.push((path.to_owned(), pointer.to_owned(), schema.clone()));
    for (name, value) in value.as_object().into_iter().flatten() {
        let inner = schema["properties"].get(name).unwrap_or(&schema["additionalProperties"]);
        let step = name.replace('~', "~0").replace('/', "~1");
        fields(inner, value, &format!("{path}.{name}"), &format!("{pointer}/{step}"), found);
    }
    for (index, value) in value.as_array().into_iter().flatten().enumerate() {
        fields(&schema["items"], value, &format!("{path}[{index}]"), &format!("{pointer}/{index}"), found);
    }
}

fn spec_fields(full: &Value) -> Vec<(String, String, Value)> {
    let mut found = Vec::new();
    fields(&schema()["properties"]["spec"], &full["spec"], "spec", "/spec", &mut found);
    found
}

/// Every field, in a manifest that sets it.
fn every_field() -> impl Iterator<Item = (Value, (String, String, Value))> {
    table().full().into_iter().flat_map(|full| {
        let fields = spec_fields(&full);
        fields.into_iter().map(move |field| (full.clone(), field))
    })
}

#[test]
fn the_full_manifest_sets_every_field() {
    fn names(schema: &Value, path: &str, found: &mut BTreeSet<String>) {
        found.insert(path.to_owned());
        for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
            names(schema, &format!("{path}.{name}"), found);
        }
        if schema["items"].is_object() {
            names(&schema["items"], &format!("{path}[]"), found);
        }
    }
    let full = table().full();
    full.iter().for_each(|full| assert_eq!(violations(full), []));
    let mut expected = BTreeSet::new();
    names(&schema()["properties"]["spec"], "spec", &mut expected);
    let index = regex::Regex::new(r"\[\d+\]").unwrap();
    let present: BTreeSet<String> =
        full.iter().flat_map(spec_fields).map(|(path, ..)| index.replace_all(&path, "[]").into_owned()).collect();
    let absent: Vec<_> = expected.difference(&present).collect();
    assert_eq!(absent, ["spec.source.columns.vector"], "vector excludes features; all others can be set");
}

#[test]
fn refuses_a_wrong_type_of_every_field() {
    for (full, (path, pointer, schema)) in every_field() {
        let wrong = match schema["type"].as_str().unwrap() {
            "string" => vec![json!(5), json!(true), json!([]), json!({})],
            "integer" => vec![json!("5"), json!(1.5), json!(true), json!([]), json!({})],
            "boolean" => vec![json!("true"), json!(0), json!([]), json!({})],
            "array" => vec![json!("a"), json!(0), json!({}), json!(false)],
            "object" => vec![json!("a"), json!(0), json!([]), json!(false)],
            other => panic!("{path}: {other}"),
        };
        for value in wrong {
            let mut manifest = full.clone();
            *manifest.pointer_mut(&pointer).unwrap() = value.clone();
            let found = violations(&manifest);
            let place = found.iter().find(|violation| violation.path == path);
            let place = place.unwrap_or_else(|| panic!("{path}: {value} is accepted: {found:?}"));
            assert_eq!(place.constraint, Constraint::Type, "{path}: {value}");
            assert!(place.message.contains("expected"), "{place}");
        }
    }
}

#[test]
fn refuses_an_unknown_field_in_every_object() {
    for (full, (path, pointer, schema)) in every_field() {
        if schema["type"] != "object" || schema["additionalProperties"].is_object() {
            continue;
        }
        let mut manifest = full.clone();
        manifest.pointer_mut(&pointer).unwrap()["zzzz"] = json!(1);
        let found = violations(&manifest);
        let expected = found.iter().find(|violation| violation.path == format!("{path}.zzzz"));
        assert_eq!(expected.unwrap().constraint, Constraint::Unknown, "{found:?}");
        assert_eq!(found.len(), 1, "{found:?}");
    }
    for place in ["", "/metadata"] {
        let mut manifest = table().full;
        manifest.pointer_mut(place).unwrap()["zzzz"] = json!(1);
        assert_eq!(violations(&manifest).len(), 1);
    }
}

#[test]
fn refuses_the_absence_of_every_required_field() {
    let full = table().full;
    let mut objects = spec_fields(&full);
    let envelope = json!({"required": ["apiVersion", "kind", "metadata", "spec"]});
    objects.push((String::new(), String::new(), envelope));
    objects.push(("metadata".to_owned(), "/metadata".to_owned(), json!({"required": ["name"]})));
    let mut removed = 0;
    for (path, pointer, schema) in objects {
        for required in schema["required"].as_array().into_iter().flatten() {
            let required = required.as_str().unwrap();
            let field = format!("{path}.{required}");
            // Leaving it out and leaving it empty are the same.
            for null in [true, false] {
                let mut manifest = full.clone();
                let object = manifest.pointer_mut(&pointer).unwrap().as_object_mut().unwrap();
                object.remove(required);
                if null {
                    object.insert(required.to_owned(), Value::Null);
                }
                let found = violations(&manifest);
                assert!(
                    found.iter().any(|violation| violation.path == field.trim_start_matches('.')
                        && violation.constraint == Constraint::Required),
                    "{field}: {found:?}"
                );
                removed += 1;
            }
        }
    }
    assert!(removed >= 20, "{removed}");
}
