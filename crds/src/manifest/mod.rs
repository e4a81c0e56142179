//! Reading a user's YAML: find the one `ClusteringJob` of a file.
//!
//! Manifests often come several to a file (a Namespace, a ConfigMap, the job). The other documents are none of our
//! business and are passed over; but two jobs, or none, is never what somebody meant to run.

mod tree;

pub(crate) use tree::{Node, Place};

use serde_saphyr::{Options, UserMessageFormatter, options};

use crate::violation::{Constraint, Violation};
use crate::{API_VERSION, KIND};

/// Most bytes of a manifest: the most that an API server takes in one request.
const LARGEST: usize = 3 * 1024 * 1024;

/// A file that cannot be read as one `ClusteringJob`.
#[derive(Debug, thiserror::Error)]
pub enum ParseError {
    /// The text is not YAML.
    #[error("line {line}, column {column}: not valid YAML: {message}")]
    Syntax {
        /// Line, from 1; 0 when unknown.
        line: u64,
        /// Column, from 1; 0 when unknown.
        column: u64,
        /// What the YAML parser says.
        message: String,
    },
    /// The text is longer than an API server takes.
    #[error(
        "the file has {size} bytes, more than the {LARGEST} that a resource may have; data belongs in the source, not in the manifest"
    )]
    TooLarge {
        /// Its length in bytes.
        size: usize,
    },
    /// The file holds no document.
    #[error("the file is empty; write a document with apiVersion: {API_VERSION} and kind: {KIND}")]
    Empty,
    /// The file holds several documents, none of which is a job.
    #[error(
        "no {KIND} among the {count} documents of the file ({found}); one with apiVersion: {API_VERSION} and kind: {KIND} is needed"
    )]
    NoJob {
        /// Number of documents.
        count: usize,
        /// Their kinds.
        found: String,
    },
    /// The file holds more than one job.
    #[error("{count} documents of the file are a {KIND} ({found}), one is expected; put each in a file of its own")]
    SeveralJobs {
        /// Number of jobs.
        count: usize,
        /// Their names and lines.
        found: String,
    },
    /// The document has fields of the wrong type, unknown fields, or lacks fields.
    #[error("the {KIND} breaks {} of the schema's rules, first: {}", violations.len(), first(violations))]
    Invalid {
        /// All of them; never empty.
        violations: Vec<Violation>,
    },
}

fn first(violations: &[Violation]) -> String {
    violations.first().map(Violation::to_string).unwrap_or_default()
}

impl From<ParseError> for Vec<Violation> {
    fn from(error: ParseError) -> Self {
        let message = error.to_string();
        let violation = |constraint, line, column, message| {
            vec![Violation { path: String::new(), line, column, constraint, message }]
        };
        match error {
            ParseError::Invalid { violations } => violations,
            ParseError::Syntax { line: 0, .. } => violation(Constraint::Syntax, None, None, message),
            ParseError::Syntax { line, column, message } => {
                violation(Constraint::Syntax, Some(line), Some(column), format!("not valid YAML: {message}"))
            }
            ParseError::TooLarge { .. }
            | ParseError::Empty
            | ParseError::NoJob { .. }
            | ParseError::SeveralJobs { .. } => violation(Constraint::Document, None, None, message),
        }
    }
}

/// The job's document of a file.
pub(crate) fn read(yaml: &str) -> Result<Node, ParseError> {
    if yaml.len() > LARGEST {
        return Err(ParseError::TooLarge { size: yaml.len() });
    }
    let documents = serde_saphyr::from_multiple_with_options::<Node>(yaml, options()).map_err(syntax)?;
    let mut documents: Vec<Node> =
        documents.into_iter().filter(|document| !matches!(document.content, tree::Content::Null)).collect();
    let jobs: Vec<usize> = (0..documents.len()).filter(|index| kind(&documents[*index]) == Some(KIND)).collect();
    match (jobs.as_slice(), documents.len()) {
        (_, 0) => Err(ParseError::Empty),
        ([job], _) => Ok(documents.swap_remove(*job)),
        // A lone document is meant to be the job: what keeps it from being one is told field by field.
        ([], 1) => Ok(documents.swap_remove(0)),
        ([], count) => Err(ParseError::NoJob {
            count,
            found: listed(documents.iter().map(|document| kind(document).unwrap_or("no kind").to_owned())),
        }),
        (several, _) => Err(ParseError::SeveralJobs {
            count: several.len(),
            found: listed(several.iter().map(|index| described(&documents[*index]))),
        }),
    }
}

fn kind(document: &Node) -> Option<&str> {
    document.get("kind").and_then(Node::text)
}

fn described(job: &Node) -> String {
    let name =
        job.get("metadata").and_then(|metadata| metadata.get("name")).and_then(Node::text).unwrap_or("without a name");
    match job.place {
        Some(place) => format!("{name} at line {}", place.line),
        None => name.to_owned(),
    }
}

fn listed(names: impl Iterator<Item = String>) -> String {
    const SHOWN: usize = 8;
    let names: Vec<String> = names.collect();
    match names.len().checked_sub(SHOWN) {
        Some(more @ 1..) => format!("{} and {more} more", names[..SHOWN].join(", ")),
        _ => names.join(", "),
    }
}

/// As `kubectl` reads YAML: old-style octal numbers are numbers. Sizes are bounded by the reader's own budget.
fn options() -> Options {
    options! {
        legacy_octal_numbers: true,
        with_snippet: false,
    }
}

fn syntax(error: serde_saphyr::Error) -> ParseError {
    let place = error.location().as_ref().and_then(Place::of);
    let message = error.without_snippet().render_with_formatter(&UserMessageFormatter);
    let message = match message.rfind(" at line ") {
        // The place is told by fields of its own.
        Some(end) => message[..end].to_owned(),
        None => message,
    };
    ParseError::Syntax {
        line: place.map_or(0, |place| place.line),
        column: place.map_or(0, |place| place.column),
        message,
    }
}
