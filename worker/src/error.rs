//! Why a run ends without a model, sorted once into exit codes.

use coterie_data::{DataError, ErrorClass};
use serde::{Deserialize, Serialize};

/// The end of a run: its class decides the exit code and whether trying again can help; its message says what was
/// attempted, where, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct RunError {
    /// One of 64, 65, 66, 75.
    pub exit_code: i32,
    /// One paragraph for a person.
    pub message: String,
    /// The split it concerns, when it concerns one: the others need not be tried again.
    #[serde(skip)]
    pub split: Option<u32>,
}

impl RunError {
    /// An error of the given class.
    pub fn new(class: ErrorClass, message: impl Into<String>) -> Self {
        Self { exit_code: i32::from(class.exit_code()), message: message.into(), split: None }
    }

    /// The job asks for something impossible: change the manifest.
    pub fn spec(message: impl Into<String>) -> Self {
        Self::new(ErrorClass::Spec, message)
    }

    /// The data is not what the job says: change the data or the manifest.
    pub fn data(message: impl Into<String>) -> Self {
        Self::new(ErrorClass::Data, message)
    }

    /// Something that may pass: try again.
    pub fn transient(message: impl Into<String>) -> Self {
        Self::new(ErrorClass::Transient, message)
    }

    /// The same error, known to concern one split.
    #[must_use]
    pub fn of_split(self, split: u32) -> Self {
        Self { split: Some(split), ..self }
    }

    /// Whether trying the same work again may succeed.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.exit_code == i32::from(ErrorClass::Transient.exit_code())
    }
}

impl From<DataError> for RunError {
    fn from(error: DataError) -> Self {
        Self::new(error.class(), chain(&error))
    }
}

/// An error and its sources on one line, each said once.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
