//! Seeded blobs as Parquet objects.
use serde::{Deserialize, Serialize};

use crate::DataError;
use crate::store::Location;

/// Gaussian blobs around centres drawn uniformly, and some uniform noise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Blobs {
    /// Number of rows, n.
    pub rows: u64,
    /// Number of features, d.
    pub dimension: usize,
    /// Number of blobs, k.
    pub clusters: usize,
    /// Share of the rows that belong to no blob, 0 to 1. Their label is -1.
    pub noise: f64,
    /// Standard deviation of a blob in each feature; the centres lie in -10..10.
    pub deviation: f64,
    /// Seed of all choices.
    pub seed: u64,
}

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generated {
    /// Rows in all objects.
    pub rows: u64,
    /// Number of objects.
    pub objects: u32,
    /// Bytes of all objects.
    pub bytes: u64,
}

/// Writes the blobs as `objects` Parquet objects below a prefix that holds none yet, calling `progress` with the rows written so far.
///
/// # Errors
/// When a parameter is out of bounds, the prefix holds objects, or the store fails.
pub async fn generate(
    target: &Location,
    _blobs: &Blobs,
    _objects: u32,
    _progress: impl Fn(u64) + Send + Sync,
) -> Result<Generated, DataError> {
    Err(DataError::Settings { uri: target.uri.clone(), problem: "not built yet".into(), remedy: "wait".into() })
}
