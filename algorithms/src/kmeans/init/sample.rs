//! A uniform sample of rows that does not depend on how the rows are split.

use serde::{Deserialize, Serialize};

use crate::keep::Smallest;

/// The m rows with the smallest (hash, row): a uniform sample without replacement when the hash is
/// [`random::hash`](crate::random::hash).
///
/// Samples of parts merge to the sample of the whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample(Smallest<(u64, u64)>);

impl Sample {
    /// Keeps `m` rows of `dimension` columns.
    pub fn new(m: usize, dimension: usize) -> Self {
        Self(Smallest::new(m, dimension))
    }

    /// Whether a row would be kept. Cheap: most rows are turned away here.
    pub fn admits(&self, hash: u64, row: u64) -> bool {
        self.0.admits(&(hash, row))
    }

    /// Keeps the row if its (hash, row) is among the smallest.
    ///
    /// # Panics
    /// If `values` is of another dimension.
    pub fn offer(&mut self, hash: u64, row: u64, values: &[f32]) {
        self.0.offer((hash, row), values);
    }

    /// Whether another sample, which may have come from anywhere, can be merged into this one.
    pub fn has_shape_of(&self, other: &Self) -> bool {
        self.0.has_shape_of(&other.0)
    }

    /// Takes in what another sample kept.
    ///
    /// # Panics
    /// If it has not the [shape](Self::has_shape_of) of this one.
    pub fn merge(&mut self, other: Self) {
        self.0.merge(&other.0);
    }

    /// Number of rows held.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no row is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The rows' ordinals and values (row-major), by ascending hash: any leading part is a uniform sample too.
    pub fn into_rows(self) -> (Vec<u64>, Vec<f32>) {
        let mut ordinals = Vec::with_capacity(self.len());
        let mut values = Vec::with_capacity(self.len() * self.0.dimension());
        for ((_, row), row_values) in self.0.sorted() {
            ordinals.push(row);
            values.extend_from_slice(row_values);
        }
        (ordinals, values)
    }
}
