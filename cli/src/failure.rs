//! How a command fails: one paragraph for a person, one code for a script.

use coterie_data::{DataError, ErrorClass};
use coterie_model::items::ItemsError;
use coterie_worker::error::{RunError, chain};

/// The end of a command that did not do what it was asked.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit_code: u8,
    message: String,
}

impl Failure {
    /// The command line or the manifest asks for something impossible.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { exit_code: ErrorClass::Spec.exit_code(), message: message.into() }
    }

    /// The items of the model at `uri` cannot be served.
    pub(crate) fn items(uri: &str, error: &ItemsError) -> Self {
        Self { exit_code: error.exit_code(), message: format!("{uri}: {}", chain(error)) }
    }

    /// The data is not what it should be.
    pub(crate) fn data(message: impl Into<String>) -> Self {
        Self { exit_code: ErrorClass::Data.exit_code(), message: message.into() }
    }

    /// Something that may pass.
    pub(crate) fn transient(message: impl Into<String>) -> Self {
        Self { exit_code: ErrorClass::Transient.exit_code(), message: message.into() }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        let exit_code = u8::try_from(error.exit_code).unwrap_or_else(|_| ErrorClass::Transient.exit_code());
        Self { exit_code, message: error.message }
    }
}

impl From<DataError> for Failure {
    fn from(error: DataError) -> Self {
        Self { exit_code: error.class().exit_code(), message: chain(&error) }
    }
}
