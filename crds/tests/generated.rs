//! The committed files are what the types say, and the schema keeps to the conventions of Kubernetes' APIs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{fs, path::Path};

use coterie_crds::{crd, reference};
use serde_json::{Value, json};

fn assert_fresh(path: &str, text: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    let committed = fs::read_to_string(&file).unwrap_or_default();
    assert!(committed == text, "{path} is stale; run `cargo xtask generate` and commit the result");
}

#[test]
fn the_committed_definition_is_fresh() {
    assert_fresh("crds/yaml/clusteringjobs.coterie.dev.yaml", &crd::yaml());
}

#[test]
fn the_copy_in_the_chart_is_fresh() {
    assert_fresh("charts/coterie/files/clusteringjobs.coterie.dev.yaml", &crd::yaml());
}

#[test]
fn the_committed_reference_is_fresh() {
    assert_fresh("docs/api-reference.md", &reference::markdown());
}

#[test]
fn the_yaml_is_the_definition() {
    let read: Value = serde_yaml::from_str(&crd::yaml()).unwrap();
    let typed: k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition =
        serde_json::from_value(read).unwrap();
    assert_eq!(typed, crd::definition());
}

/// Calls `visit` with every field of the schema: path, name, schema.
fn fields(schema: &Value, path: &str, visit: &mut dyn FnMut(&str, &str, &Value)) {
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        visit(&path, name, field);
        fields(field, &path, visit);
        fields(&field["items"], &format!("{path}[]"), visit);
    }
}

fn schema() -> Value {
    json!(crd::definition())["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
}

#[test]
fn every_field_is_described_by_its_name_first() {
    fields(&schema(), "", &mut |path, name, field| {
        let description = field["description"].as_str().unwrap_or_default();
        assert!(description.starts_with(&format!("{name} ")), "{path}: {description:?}");
        let leaf = field["properties"].is_null();
        if path.starts_with(".spec.") && leaf {
            assert!(description.contains("utable"), "{path} does not say whether it may be changed");
        }
    });
}

#[test]
fn descriptions_name_the_defaults_and_bounds_of_the_schema() {
    fields(&schema()["properties"]["spec"], "spec", &mut |path, _, field| {
        if !field["properties"].is_null() {
            return;
        }
        let description = field["description"].as_str().unwrap();
        let whole = |number: &Value| number.as_f64().map(|number| number.to_string());
        if let Some(default) = field.get("default") {
            let default = default.as_str().map_or_else(|| default.to_string(), str::to_owned);
            assert!(description.contains(&default), "{path}: default {default}");
        }
        for bound in ["minimum", "maximum"] {
            if let Some(bound) = field.get(bound).and_then(whole) {
                assert!(description.contains(&bound), "{path}: {bound}");
            }
        }
        for bound in ["maxLength", "maxItems"] {
            if let Some(bound) = field[bound].as_u64().filter(|bound| *bound > 32) {
                assert!(description.contains(&bound.to_string()), "{path}: {bound}");
            }
        }
        for value in field["enum"].as_array().into_iter().flatten() {
            let value = format!("`{}`", value.as_str().unwrap());
            assert!(description.contains(&value), "{path}: {value}");
        }
    });
}

#[test]
fn keeps_to_api_conventions() {
    let schema = schema();
    fields(&schema, "", &mut |path, _, field| {
        assert!(
            matches!(field["type"].as_str(), Some("object" | "array" | "string" | "integer" | "boolean")),
            "{path}"
        );
        assert!(field["nullable"].is_null(), "{path}: null and unset must mean the same");
        let format = field["format"].as_str();
        assert!(matches!(format, None | Some("int32" | "int64" | "date-time")), "{path}: {format:?}");
    });
    assert!(schema["properties"]["status"]["properties"]["phase"].is_null());
    assert_eq!(schema["properties"]["status"]["default"], json!({"observedGeneration": -1}));
}

#[test]
fn every_rule_has_a_message_and_a_field_that_exists() {
    fn visit(schema: &Value, path: &str) {
        for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
            let message = rule["message"].as_str().unwrap_or_default();
            assert!(message.len() > 20 && !message.contains('\n') && !message.ends_with('.'), "{path}: {message:?}");
            if let Some(field) = rule["fieldPath"].as_str() {
                let names = field.strip_prefix('.').unwrap_or_else(|| panic!("{path}: {field}")).split('.');
                let named = names.fold(schema, |schema, name| &schema["properties"][name]);
                assert!(!named.is_null(), "{path}: {field}");
            }
        }
        for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
            visit(schema, &format!("{path}.{name}"));
        }
        if schema["items"].is_object() {
            visit(&schema["items"], &format!("{path}[]"));
        }
    }
    visit(&schema(), "");
}

#[test]
fn printer_columns_read_fields_that_exist() {
    let definition = json!(crd::definition());
    let version = &definition["spec"]["versions"][0];
    let columns = version["additionalPrinterColumns"].as_array().unwrap();
    let names: Vec<_> = columns.iter().map(|column| column["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["Clusters", "Run", "Progress", "Model", "Silhouette", "Serving", "Ready", "Reason", "Age"]);
    for column in columns {
        let path = column["jsonPath"].as_str().unwrap();
        let plain = path.split('[').next().unwrap();
        if plain.starts_with(".metadata") {
            continue;
        }
        let fields = plain.trim_start_matches('.').split('.');
        let schema = fields.fold(&version["schema"]["openAPIV3Schema"], |schema, name| &schema["properties"][name]);
        assert!(schema["type"].is_string(), "{path}");
    }
}

/// A reader who looks a reason up finds it.
#[test]
fn every_reason_is_in_the_guide() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let names = fs::read_to_string(root.join("src/names.rs")).unwrap();
    let guide = fs::read_to_string(root.join("../docs/kubernetes.md")).unwrap();
    let (_, reasons) = names.split_once("pub mod reason").unwrap();
    let values: Vec<_> = reasons.lines().filter_map(|line| line.split('"').nth(1)).collect();
    assert!(values.len() > 20, "{values:?}");
    for value in values {
        assert!(guide.contains(&format!("`{value}`")), "{value} is not in docs/kubernetes.md");
    }
}
