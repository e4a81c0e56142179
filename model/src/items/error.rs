//! What can go wrong with items, and what the user can do about it.

use std::path::PathBuf;

use coterie_algorithms::lists::ListsError;
use object_store::path::Path;

/// Items could not be written, fetched or indexed.
#[derive(Debug, thiserror::Error)]
pub enum ItemsError {
    /// The model was trained without keeping its items.
    #[error("model version {version} has no items; set spec.serving.similarItems to true and train again")]
    None {
        /// The version.
        version: String,
    },
    /// There are more than can be numbered.
    #[error(
        "{rows} items are more than the {} that one index holds; set spec.serving.shards to a larger number, or leave spec.serving.similarItems out",
        super::MOST_ITEMS
    )]
    TooMany {
        /// Number of items.
        rows: u64,
    },
    /// The hash tables asked for cannot be built.
    #[error("the hash tables that are asked for cannot be built")]
    Parameters(#[from] super::ParametersError),
    /// The object store refused or failed.
    #[error("object store failed to {action} {path}")]
    Store {
        /// What was attempted.
        action: &'static str,
        /// The object.
        path: Path,
        /// What the store said.
        source: object_store::Error,
    },
    /// A part is not the one recorded in the manifest.
    #[error(
        "{path} has {found}, expected {expected}; it is damaged or was replaced: restore it from a copy or train again"
    )]
    Damaged {
        /// The part.
        path: Path,
        /// What the manifest says.
        expected: String,
        /// What was found.
        found: String,
    },
    /// A part cannot be written or read as Parquet.
    #[error("{path} is not a usable part of items: {what}; train again")]
    Malformed {
        /// The part.
        path: Path,
        /// What is wrong.
        what: String,
    },
    /// The index's file cannot be written or read.
    #[error("{} the item index {}", action, file.display())]
    File {
        /// What was attempted.
        action: &'static str,
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Whoever asked for the index does not need it any more.
    #[error("the item index was given up before it was finished; it is made from the beginning the next time")]
    Interrupted,
    /// The index's file is not what this program writes.
    #[error("the item index {} is damaged: {what}; remove it, and it is made again", file.display())]
    Index {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        what: String,
    },
}

impl ItemsError {
    /// Exit status of a command that fails with this error, as [`crate::ModelError::exit_code`].
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::None { .. } | Self::TooMany { .. } | Self::Parameters(_) => 64,
            Self::Store { source, .. } => match source {
                object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => 66,
                object_store::Error::NotFound { .. } => 65,
                _ => 75,
            },
            Self::Damaged { .. } | Self::Malformed { .. } => 65,
            Self::File { .. } | Self::Index { .. } | Self::Interrupted => 75,
        }
    }

    pub(super) fn index(file: &std::path::Path, what: impl ToString) -> Self {
        Self::Index { file: file.to_owned(), what: what.to_string() }
    }

    pub(super) fn lists(file: &std::path::Path, error: ListsError) -> Self {
        Self::index(file, error)
    }
}
