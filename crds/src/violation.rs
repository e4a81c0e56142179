//! What is wrong with a manifest, said so that its author can put it right.

use std::fmt;

use serde::Serialize;

/// One broken rule: where, what was found, what was expected and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// Field, such as `spec.algorithm.kMeans.clusters` or `spec.features[1]`. Empty for the document as a whole.
    pub path: String,
    /// Line in the manifest, from 1; `None` when the job did not come from a text.
    pub line: Option<u64>,
    /// Column in that line, from 1.
    pub column: Option<u64>,
    /// Which rule is broken.
    pub constraint: Constraint,
    /// What was found, what was expected and the remedy, without the path.
    pub message: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = match (self.line, self.column) {
            (Some(line), Some(column)) => Some(format!("line {line}, column {column}")),
            (Some(line), None) => Some(format!("line {line}")),
            (None, _) => None,
        };
        match (self.path.as_str(), place) {
            ("", None) => f.write_str(&self.message),
            ("", Some(place)) => write!(f, "{place}: {}", self.message),
            (path, None) => write!(f, "{path}: {}", self.message),
            (path, Some(place)) => write!(f, "{path} ({place}): {}", self.message),
        }
    }
}

impl std::error::Error for Violation {}

/// Kinds of rules.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Constraint {
    /// The text is not YAML.
    Syntax,
    /// The file does not hold exactly one `ClusteringJob`.
    Document,
    /// The field does not exist.
    Unknown,
    /// The value has another type.
    Type,
    /// The field is missing.
    Required,
    /// The value is none of the listed ones.
    Enum,
    /// The number is too small.
    Minimum,
    /// The number is too large.
    Maximum,
    /// The text is too short.
    MinLength,
    /// The text is too long.
    MaxLength,
    /// The text has another form.
    Pattern,
    /// The list is too short.
    MinItems,
    /// The list is too long.
    MaxItems,
    /// The map has too many keys.
    MaxProperties,
    /// The list holds an item twice.
    Unique,
    /// A CEL expression of the schema, such as `size(self.metadata.name) <= 40`.
    Rule(String),
}
