//! What a block of rows contributes to the update step.

use serde::{Deserialize, Serialize};

use super::Centroids;
use super::kernel;
use crate::fixed::Scale;

/// Sums, counts and inertia of some rows under one assignment.
///
/// All of it is integers (see [`Scale`]), so merging is exact: any split of the rows merged in any order gives the same
/// partial.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partial {
    /// Number of columns, d.
    pub dimension: u32,
    /// Sum of the rows of each cluster, k x d, in the scale's units.
    pub sums: Vec<i64>,
    /// Number of rows of each cluster.
    pub counts: Vec<u64>,
    /// Sum of the squared distances of rows to their centroid, in the scale's units.
    pub inertia: i128,
}

impl Partial {
    /// The partial of no rows, for `k` clusters of `d` columns.
    pub fn new(k: usize, d: usize) -> Self {
        Self { dimension: d as u32, sums: vec![0; k * d], counts: vec![0; k], inertia: 0 }
    }

    /// Adds another partial of the same shape.
    ///
    /// # Panics
    /// If it is of another shape.
    pub fn merge(&mut self, other: &Self) {
        let Self { dimension, sums, counts, inertia } = other;
        assert!(
            self.dimension == *dimension && self.sums.len() == sums.len() && self.counts.len() == counts.len(),
            "partials of different shapes"
        );
        for (ours, theirs) in self.sums.iter_mut().zip(sums) {
            *ours += theirs;
        }
        for (ours, theirs) in self.counts.iter_mut().zip(counts) {
            *ours += theirs;
        }
        self.inertia += inertia;
    }

    /// Adds rows (row-major) with their labels.
    ///
    /// # Panics
    /// If the shapes do not agree, or a label is k or more.
    pub fn add_rows(&mut self, centroids: &Centroids, scale: &Scale, rows: &[f32], labels: &[u32]) {
        let d = self.dimension as usize;
        assert_eq!(centroids.dimension(), d, "centroids of another dimension");
        assert_eq!(centroids.len(), self.counts.len(), "another number of centroids");
        assert_eq!(scale.dimension(), d, "scale of another dimension");
        assert_eq!(rows.len(), labels.len() * d, "rows and labels disagree");
        for &label in labels {
            self.counts[label as usize] += 1;
        }
        self.inertia += kernel::accumulate(centroids, scale, rows, labels, &mut self.sums);
    }

    /// Number of rows seen.
    pub fn rows(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Clusters without rows, ascending.
    pub fn empty(&self) -> Vec<u32> {
        (0u32..).zip(&self.counts).filter(|&(_, &count)| count == 0).map(|(cluster, _)| cluster).collect()
    }
}
