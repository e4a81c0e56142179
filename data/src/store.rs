//! From a URI to an object store.
use std::sync::Arc;

use coterie_crds::resolved;
use object_store::{ObjectStore, path::Path};

use crate::DataError;

/// A place in an object store: an object, or the prefix of many.
#[derive(Clone, Debug)]
pub struct Location {
    /// The store.
    pub store: Arc<dyn ObjectStore>,
    /// The path inside the store.
    pub path: Path,
    /// The URI as the user wrote it, without secrets.
    pub uri: String,
}

/// Opens the store behind a URI.
///
/// # Errors
/// When the URI or the options cannot be used.
pub fn open(uri: &str, _options: &resolved::Store) -> Result<Location, DataError> {
    Err(DataError::Settings {
        uri: uri.to_owned(),
        problem: "not built yet".into(),
        remedy: "wait".into(),
    })
}

/// Sorts a store's error: `action` completes "while ...", as in "writing the manifest".
#[must_use]
pub fn failure(uri: &str, action: &str, error: &object_store::Error) -> DataError {
    DataError::Unavailable {
        uri: uri.into(),
        action: action.into(),
        remedy: "try again".into(),
        source: crate::Cause(error.to_string()),
    }
}
