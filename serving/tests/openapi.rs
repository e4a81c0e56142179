//! `openapi.json` describes what the server does: every endpoint, and the shape of every answer.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use coterie_algorithms::members::Members;
use coterie_model::items::Options;
use coterie_serving::Settings;
use serde_json::{Value, json};
use support::items::with_items;
use support::{models, start_served};

/// Every endpoint, with a request that succeeds.
const ENDPOINTS: [(&str, &str, &str, &str); 22] = [
    ("post", "/v1/assign", "/v1/assign", r#"{"vectors": [[100, 0], [0, 100]]}"#),
    ("post", "/v1/nearest-clusters", "/v1/nearest-clusters", r#"{"vector": [100, 0]}"#),
    ("post", "/v1/similar-items", "/v1/similar-items", r#"{"id": 101, "count": 2}"#),
    ("get", "/v1/clusters", "/v1/clusters?centroids=true", ""),
    ("get", "/v1/clusters/{id}", "/v1/clusters/1", ""),
    ("get", "/v1/dendrogram", "/v1/dendrogram?groups=2", ""),
    ("get", "/v1/map", "/v1/map?items=2", ""),
    ("get", "/v1/model", "/v1/model", ""),
    ("get", "/v2", "/v2", ""),
    ("get", "/v2/health/live", "/v2/health/live", ""),
    ("get", "/v2/health/ready", "/v2/health/ready", ""),
    ("get", "/v2/models/{model}", "/v2/models/songs", ""),
    ("get", "/v2/models/{model}/ready", "/v2/models/songs/ready", ""),
    ("post", "/v2/models/{model}/infer", "/v2/models/songs/infer", INFER),
    ("get", "/v2/models/{model}/versions/{version}", "/v2/models/songs/versions/v3", ""),
    ("get", "/v2/models/{model}/versions/{version}/ready", "/v2/models/songs/versions/v3/ready", ""),
    ("post", "/v2/models/{model}/versions/{version}/infer", "/v2/models/songs/versions/v3/infer", INFER),
    ("get", "/healthz/live", "/healthz/live", ""),
    ("get", "/healthz/ready", "/healthz/ready", ""),
    ("get", "/v1/traffic", "/v1/traffic", ""),
    ("get", "/metrics", "/metrics", ""),
    ("get", "/openapi.json", "/openapi.json", ""),
];

const INFER: &str = r#"{"id": "1", "parameters": {"neighbors": 2},
    "inputs": [{"name": "vectors", "datatype": "FP32", "shape": [2, 2], "data": [100, 0, 0, 100]}],
    "outputs": [{"name": "cluster_id"}, {"name": "distance"}, {"name": "neighbor_ids"}]}"#;

#[tokio::test]
async fn the_document_describes_every_endpoint_and_answer() {
    let served = with_items(models::songs(), &[0.0, 0.0, 3.0, 1.0, 0.0, -4.0], Options::default()).await;
    let server = start_served(served, Settings::default()).await;
    let document = server.get("/openapi.json").await.ok();
    let mut described: Vec<(String, String)> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, methods)| {
            methods.as_object().unwrap().keys().map(|method| (method.clone(), path.clone())).collect::<Vec<_>>()
        })
        .collect();
    described.sort();
    let mut expected: Vec<(String, String)> =
        ENDPOINTS.iter().map(|(method, path, ..)| ((*method).to_owned(), (*path).to_owned())).collect();
    expected.sort();
    assert_eq!(described, expected);

    for (method, path, uri, body) in ENDPOINTS {
        let reply = support::client::send(server.http, &method.to_uppercase(), uri, body.into()).await;
        assert_eq!(reply.status, 200, "{path}");
        let operation = &document["paths"][path][method];
        let media = reply.headers["content-type"].to_str().unwrap().split(';').next().unwrap().to_owned();
        let schema = &operation["responses"]["200"]["content"][&media]["schema"];
        assert!(schema.is_object(), "{path} answers with {media}");
        if media == "application/json" {
            conforms(&document, schema, &reply.json(), path);
        }
        if let Some(schema) = operation.pointer("/requestBody/content/application~1json/schema") {
            conforms(&document, schema, &serde_json::from_str(body).unwrap(), path);
            let reply = server.post(uri, r#"{"unknown": 1}"#).await;
            assert_eq!(reply.status, 400);
            let response = resolve(&document, &operation["responses"]["400"]);
            conforms(&document, &response["content"]["application/json"]["schema"], &reply.json(), path);
        }
    }
}

#[tokio::test]
async fn the_document_describes_sets() {
    let model = models::of(Members::Integers, models::tags());
    let served = with_items(model, &[1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0], Options::default()).await;
    let server = start_served(served, Settings::default()).await;
    let document = server.get("/openapi.json").await.ok();
    for (path, body) in [
        ("/v1/assign", r#"{"set": []}"#),
        ("/v1/assign", r#"{"sets": [[1, 2], []], "modelVersion": "v3"}"#),
        ("/v1/nearest-clusters", r#"{"set": [3], "count": 1}"#),
        ("/v1/similar-items", r#"{"set": [0, 0]}"#),
    ] {
        let operation = &document["paths"][path]["post"];
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
        conforms(&document, schema, &serde_json::from_str(body).unwrap(), path);
        let texts = body.replace("[1, 2]", "[\"a\"]").replace("[3]", "[\"b\", \"c\"]");
        conforms(&document, schema, &serde_json::from_str(&texts).unwrap(), path);
        let schema = &operation["responses"]["200"]["content"]["application/json"]["schema"];
        conforms(&document, schema, &server.post(path, body).await.ok(), path);
    }
    let schema = &document["paths"]["/v1/model"]["get"]["responses"]["200"]["content"]["application/json"]["schema"];
    conforms(&document, schema, &server.get("/v1/model").await.ok(), "/v1/model");
}

#[test]
fn the_check_itself_notices_differences() {
    let document = json!({});
    let schema = json!({"type": "object", "additionalProperties": false, "required": ["a"],
        "properties": {"a": {"type": "array", "items": {"type": "integer"}}}});
    conforms(&document, &schema, &json!({"a": [1]}), "good");
    for bad in [json!({}), json!({"a": [1.5]}), json!({"a": [1], "b": 2}), json!([])] {
        let caught = std::panic::catch_unwind(|| conforms(&document, &schema, &bad, "bad"));
        assert!(caught.is_err(), "{bad}");
    }
}

fn resolve<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    match schema.get("$ref").and_then(Value::as_str) {
        Some(reference) => document.pointer(reference.trim_start_matches('#')).unwrap_or_else(|| panic!("{reference}")),
        None => schema,
    }
}

/// Asserts that `value` is what the schema says, for the part of JSON Schema that the document uses.
fn conforms(document: &Value, schema: &Value, value: &Value, place: &str) {
    let schema = resolve(document, schema);
    if let Some(choices) = schema.get("oneOf").and_then(Value::as_array) {
        let fits = |choice: &&Value| std::panic::catch_unwind(|| conforms(document, choice, value, place)).is_ok();
        assert_eq!(choices.iter().filter(fits).count(), 1, "{place}: {value} fits not one of {choices:?}");
        return;
    }
    let kind = schema["type"].as_str().unwrap_or_else(|| panic!("{place} has no type"));
    assert!(is(kind, value), "{place}: {value} is no {kind}");
    if let Some(allowed) = schema.get("enum").and_then(Value::as_array) {
        assert!(allowed.contains(value), "{place}: {value}");
    }
    if let Some(constant) = schema.get("const") {
        assert_eq!(constant, value, "{place}");
    }
    if let (Some(items), Some(values)) = (schema.get("items"), value.as_array()) {
        for (i, value) in values.iter().enumerate() {
            conforms(document, items, value, &format!("{place}[{i}]"));
        }
    }
    if let (Some(properties), Some(fields)) = (schema.get("properties"), value.as_object()) {
        for required in schema["required"].as_array().unwrap() {
            assert!(fields.contains_key(required.as_str().unwrap()), "{place}: {required} is missing");
        }
        for (name, value) in fields {
            let property = properties.get(name).unwrap_or_else(|| panic!("{place}: {name} is not described"));
            conforms(document, property, value, &format!("{place}.{name}"));
        }
    }
}

fn is(kind: &str, value: &Value) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        other => panic!("unknown type {other}"),
    }
}
