//! What can go wrong with an artefact, and what the user can do about it.

use crate::validate::Violation;
use object_store::path::Path;

/// An artefact could not be written or read. `Display` names the file; the cause follows as the source.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The model in memory breaks a rule of the format; nothing was written. A bug in the caller.
    #[error("model {version:?} cannot be written")]
    Invalid {
        /// The version that was to be written.
        version: String,
        /// The broken rule.
        source: Violation,
    },
    /// The version is published already; it was left untouched.
    #[error(
        "model version {path} exists already and versions never change; write the next version, or choose another output"
    )]
    AlreadyExists {
        /// Directory of the version.
        path: Path,
    },
    /// There is no manifest there: no model, or a write that did not finish.
    #[error(
        "no model at {path}: {path}/manifest.json does not exist; give the directory of a version (.../models/v1) or the output that holds models/"
    )]
    NotFound {
        /// Directory that was looked at.
        path: Path,
    },
    /// A file that the manifest names is gone.
    #[error("{file} is missing although the manifest names it; restore it from a copy or train again")]
    FileMissing {
        /// The file.
        file: Path,
    },
    /// The object store refused or failed.
    #[error("object store failed to {action} {path}")]
    Store {
        /// What was attempted: `read`, `write`, `list`.
        action: &'static str,
        /// Object or prefix.
        path: Path,
        /// What the store said.
        source: object_store::Error,
    },
    /// The artefact was written by newer code.
    #[error("{file} has format version {found}, but this program reads versions up to {supported}; upgrade it")]
    FormatTooNew {
        /// The manifest.
        file: Path,
        /// Its format version.
        found: u64,
        /// The newest version this code reads.
        supported: u32,
    },
    /// A file is larger than the format allows.
    #[error("{file} has {size} bytes, more than the {cap} allowed; it is damaged or not a model of this format")]
    TooLarge {
        /// The file.
        file: Path,
        /// Its size in bytes.
        size: u64,
        /// The largest size allowed.
        cap: u64,
    },
    /// A model is too large for the format; nothing was written.
    #[error(
        "model {version:?} needs {size} bytes for {file}, more than the {cap} allowed; use fewer clusters or dimensions"
    )]
    ModelTooLarge {
        /// The version that was to be written.
        version: String,
        /// The file.
        file: &'static str,
        /// Its size in bytes.
        size: u64,
        /// The largest size allowed.
        cap: u64,
    },
    /// The manifest is not the JSON this format prescribes.
    #[error("{file} is not a valid manifest; restore it from a copy or train again")]
    MalformedManifest {
        /// The manifest.
        file: Path,
        /// Where and why parsing failed.
        source: serde_json::Error,
    },
    /// A file's size is not the one recorded when it was written.
    #[error(
        "{file} has {found} bytes, expected {expected}; it is truncated or was replaced: restore it from a copy or train again"
    )]
    SizeMismatch {
        /// The file.
        file: Path,
        /// Size in the manifest.
        expected: u64,
        /// Size found.
        found: u64,
    },
    /// A file's content is not the one recorded when it was written.
    #[error(
        "{file} has digest {found}, expected {expected}; it is damaged or was edited: restore it from a copy or train again"
    )]
    DigestMismatch {
        /// The file.
        file: Path,
        /// Digest recorded.
        expected: String,
        /// Digest found.
        found: String,
    },
    /// The tensors file cannot be parsed.
    #[error("{file} is not a valid safetensors file; restore it from a copy or train again")]
    MalformedTensors {
        /// The tensors file.
        file: Path,
        /// Why parsing failed.
        source: safetensors::SafeTensorError,
    },
    /// The files are intact but what they say breaks a rule of the format.
    #[error("{file} does not describe a usable model; train again, and report it if the file was not edited")]
    Inconsistent {
        /// The file at fault.
        file: Path,
        /// The broken rule.
        source: Violation,
    },
}

impl ModelError {
    /// Exit status of a command that fails with this error: 64 bad request, 65 bad data, 66 access denied, 75 try again.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::AlreadyExists { .. } | Self::ModelTooLarge { .. } => 64,
            Self::Invalid { .. }
            | Self::NotFound { .. }
            | Self::FileMissing { .. }
            | Self::FormatTooNew { .. }
            | Self::TooLarge { .. }
            | Self::MalformedManifest { .. }
            | Self::SizeMismatch { .. }
            | Self::DigestMismatch { .. }
            | Self::MalformedTensors { .. }
            | Self::Inconsistent { .. } => 65,
            Self::Store { source, .. } => match source {
                object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => 66,
                object_store::Error::NotFound { .. } => 65,
                object_store::Error::NotImplemented { .. }
                | object_store::Error::NotSupported { .. }
                | object_store::Error::InvalidPath { .. }
                | object_store::Error::UnknownConfigurationKey { .. } => 64,
                _ => 75,
            },
        }
    }
}
