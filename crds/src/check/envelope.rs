//! The schema of a whole document: what an API server knows about every resource, around what it knows about ours.

use std::sync::LazyLock;

use serde_json::{Value, json};

use crate::{API_VERSION, KIND, crd};

/// The schema of a `ClusteringJob` document: apiVersion, kind and metadata around the generated schema of the spec.
///
/// A status is passed over, since an API server ignores it in what users send.
pub(crate) fn schema() -> &'static Value {
    static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
        let mut schema = crd::schema().clone();
        let texts = json!({"type": "object", "additionalProperties": {"type": "string"}});
        let anything = json!({"x-kubernetes-preserve-unknown-fields": true});
        schema["properties"]["apiVersion"] = json!({
            "type": "string",
            "enum": [API_VERSION],
            "description": format!("apiVersion is {API_VERSION}"),
        });
        schema["properties"]["kind"] = json!({
            "type": "string",
            "enum": [KIND],
            "description": format!("kind is {KIND}"),
        });
        schema["properties"]["metadata"] = json!({
            "type": "object",
            "description": "metadata names the resource",
            "required": ["name"],
            "properties": {
                "name": {"type": "string", "minLength": 1, "description": "name is the name of the resource"},
                "namespace": {"type": "string"},
                "generateName": {"type": "string"},
                "labels": texts,
                "annotations": texts,
                "finalizers": {"type": "array", "items": {"type": "string"}},
                "ownerReferences": anything,
                "managedFields": anything,
                "creationTimestamp": anything,
                "deletionTimestamp": anything,
                "deletionGracePeriodSeconds": anything,
                "generation": anything,
                "resourceVersion": anything,
                "selfLink": anything,
                "uid": anything,
            },
        });
        schema["properties"]["status"] = anything;
        schema["required"] = json!(["apiVersion", "kind", "metadata", "spec"]);
        schema
    });
    &SCHEMA
}
