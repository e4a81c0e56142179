//! Locations: one type for every URI of the spec, so that all of them obey the same rules.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A place in an object store or a file system, such as `s3://bucket/prefix/` or `data/digits.parquet`.
///
/// A path without a scheme is relative to the folder of the manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Uri(pub String);

impl Uri {
    /// The part before `://`, or `None` for a plain path.
    pub fn scheme(&self) -> Option<&str> {
        self.0.split_once("://").map(|(scheme, _)| scheme)
    }

    /// The text as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Uri {
    fn from(text: &str) -> Self {
        Uri(text.to_owned())
    }
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl JsonSchema for Uri {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Uri".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "minLength": 1,
            "maxLength": 2048,
            "x-kubernetes-validations": [
                {
                    "rule": "self.contains('://') ? self.matches('^((s3|gs|az|https?)://[^/]|file:///)') \
                             : !self.matches('^(s3|gs|az|https?|file):')",
                    "message": "a URI must be s3://bucket/..., gs://bucket/..., az://container/..., https://host/..., \
                                file:///absolute/path, or a path without a scheme",
                },
                {
                    "rule": "!self.matches('^[a-z0-9]+://[^/]*@')",
                    "message": "a URI must not hold a user name or password; give credentials through the environment, \
                                for example AWS_ACCESS_KEY_ID",
                },
            ],
        })
    }
}
