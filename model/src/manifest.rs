//! The manifest: the file that makes a version exist.
//!
//! Its last line holds a digest of every byte before that line, so that damage to any of its bytes is noticed:
//!
//! ```text
//! {
//!   "formatVersion": 1,
//!   ...,
//!   "manifestDigest": "blake3:<64 hexadecimal digits>"
//! }
//! ```

use crate::error::ModelError;
use crate::items::Items;
use crate::model::{ClusterStatistics, Training};
use crate::tensors::Kind;
use crate::{FORMAT_VERSION, MANIFEST_CAP, digest};
use coterie_algorithms::members::Members;
use coterie_algorithms::metric::Metric;
use object_store::path::Path;
use serde::{Deserialize, Serialize};

/// The last line of the file, around the digest.
const SEAL_START: &str = ",\n  \"manifestDigest\": \"";
const SEAL_END: &str = "\"\n}\n";
const DIGEST_LENGTH: usize = "blake3:".len() + 64;

/// Everything about a model that is not a tensor.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    pub(crate) format_version: u32,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) model_digest: String,
    pub(crate) metric: Metric,
    pub(crate) input_dimension: usize,
    pub(crate) pipeline: Vec<Kind>,
    pub(crate) dimension: usize,
    pub(crate) n_clusters: usize,
    pub(crate) files: Files,
    pub(crate) training: Training,
    pub(crate) feature_names: Vec<String>,
    /// Where the input was lists of members; manifests from before that was recorded have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) members: Option<Members>,
    pub(crate) clusters: Vec<ClusterStatistics>,
}

/// The other files of the version, by what they hold.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Files {
    pub(crate) tensors: File,
    /// Where the rows were kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) items: Option<Items>,
}

/// A file of the version.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct File {
    /// Name within the version's directory.
    pub(crate) name: String,
    /// Size in bytes.
    pub(crate) size: u64,
    /// `blake3:` and 64 hexadecimal digits.
    pub(crate) digest: String,
}

/// The bytes of the manifest file: indented for people, or dense when that would exceed the cap.
pub(crate) fn encode(manifest: &Manifest) -> Result<Vec<u8>, serde_json::Error> {
    let mut text = serde_json::to_string_pretty(manifest)?;
    if text.len() as u64 > MANIFEST_CAP {
        text = serde_json::to_string(manifest)?;
    }
    let body = text.trim_end_matches('}').trim_end().len();
    text.truncate(body);
    let seal = digest::of_bytes(text.as_bytes());
    text.push_str(SEAL_START);
    text.push_str(&seal);
    text.push_str(SEAL_END);
    Ok(text.into_bytes())
}

/// Reads back what [`encode`] wrote. The format version is checked first: newer formats may differ in all the rest.
pub(crate) fn decode(file: &Path, bytes: &[u8]) -> Result<Manifest, ModelError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Probe {
        format_version: u64,
    }
    let malformed = |source| ModelError::MalformedManifest { file: file.clone(), source };
    let Probe { format_version: found } = serde_json::from_slice(bytes).map_err(malformed)?;
    if found > u64::from(FORMAT_VERSION) {
        return Err(ModelError::FormatTooNew { file: file.clone(), found, supported: FORMAT_VERSION });
    }
    check_seal(file, bytes)?;
    serde_json::from_slice(bytes).map_err(malformed)
}

fn check_seal(file: &Path, bytes: &[u8]) -> Result<(), ModelError> {
    let body = bytes.len().saturating_sub(SEAL_START.len() + DIGEST_LENGTH + SEAL_END.len());
    let (body, seal) = bytes.split_at(body);
    let expected = seal
        .strip_prefix(SEAL_START.as_bytes())
        .and_then(|rest| rest.strip_suffix(SEAL_END.as_bytes()))
        .map(|digest| String::from_utf8_lossy(digest).into_owned())
        .unwrap_or_else(|| "(none in its last line)".to_owned());
    let found = digest::of_bytes(body);
    if expected == found { Ok(()) } else { Err(ModelError::DigestMismatch { file: file.clone(), expected, found }) }
}
