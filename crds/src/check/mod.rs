//! The check that an API server would do, done offline.
//!
//! It reads the generated schema - the one that is installed in clusters - and treats a job as the API server does: nulls
//! are dropped, defaults filled in, then types, bounds and unknown fields are checked, then the CEL rules. All
//! violations are reported, each with its place.

mod envelope;
mod explain;
mod fields;
mod rules;

use serde_json::Value;

use crate::manifest::Place;
use crate::path::Path;
use crate::violation::{Constraint, Violation};

/// A violation before it is known where its field stands in the text.
#[derive(Debug)]
pub(crate) struct Finding {
    pub(crate) path: Path,
    /// The field that was probably meant, when this one does not exist.
    pub(crate) meant: Option<Path>,
    pub(crate) constraint: Constraint,
    pub(crate) message: String,
}

impl Finding {
    /// Whether the value is too broken for rules that look at it to say anything of use.
    fn spoils(&self) -> bool {
        match self.constraint {
            Constraint::Type | Constraint::Required | Constraint::Unknown | Constraint::Enum => true,
            Constraint::MinLength | Constraint::MaxLength | Constraint::MaxItems | Constraint::MaxProperties => true,
            Constraint::Syntax | Constraint::Document => true,
            Constraint::Minimum | Constraint::Maximum | Constraint::Pattern => false,
            Constraint::MinItems | Constraint::Unique | Constraint::Rule(_) => false,
        }
    }
}

/// Checks a document against schema and rules.
///
/// # Errors
///
/// Every violation, in the order of the document.
pub(crate) fn check(document: &Value, locate: impl Fn(&Path, bool) -> Option<Place>) -> Result<Value, Vec<Violation>> {
    let schema = envelope::schema();
    let (document, empty) = prepared(document);

    let mut findings = Vec::new();
    fields::check(schema, &document, &Path::default(), &mut findings);
    rules::check(schema, &document, &mut findings);
    for finding in &mut findings {
        explain::add_empty_fields(finding, &empty, schema);
    }
    if findings.is_empty() {
        return Ok(document);
    }

    let mut violations: Vec<Violation> = findings
        .into_iter()
        .map(|finding| {
            let place = locate(&finding.path, finding.constraint == Constraint::Unknown);
            Violation {
                path: finding.path.to_string(),
                line: place.map(|place| place.line),
                column: place.map(|place| place.column),
                constraint: finding.constraint,
                message: finding.message,
            }
        })
        .collect();
    violations.sort_by_key(|violation| (violation.line, violation.column));
    Err(violations)
}

/// The document as an API server stores it: without nulls, with defaults.
pub(crate) fn defaulted(document: &Value) -> Value {
    prepared(document).0
}

/// The document without nulls and with defaults, and the fields that were null.
fn prepared(document: &Value) -> (Value, Vec<Path>) {
    let schema = envelope::schema();
    let mut empty = Vec::new();
    let document = fields::without_nulls(schema, document, &Path::default(), &mut empty);
    (kube_cel::apply_defaults(schema, &document), empty)
}
