//! Centroids in the two layouts that are needed: row by row, and packed for the kernel.

use super::kernel::Panels;
use crate::lanes;

/// k x d centroids, with a packed copy for the assignment kernel.
#[derive(Clone, Debug)]
pub struct Centroids {
    dimension: usize,
    values: Vec<f32>,
    panels: Panels,
}

impl Centroids {
    /// Takes centroids row by row.
    ///
    /// # Panics
    /// If there are none, or if `values` is not a whole number of rows of `dimension` numbers.
    pub fn new(dimension: usize, values: Vec<f32>) -> Self {
        assert!(dimension > 0 && !values.is_empty(), "no centroids");
        assert_eq!(values.len() % dimension, 0, "centroids of another dimension");
        let panels = Panels::new(dimension, &values);
        Self { dimension, values, panels }
    }

    /// Number of centroids, k.
    #[allow(clippy::len_without_is_empty)] // there is always one
    pub fn len(&self) -> usize {
        self.values.len() / self.dimension
    }

    /// Number of columns, d.
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// All centroids, row-major.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// Centroid `i`.
    pub fn row(&self, i: usize) -> &[f32] {
        &self.values[i * self.dimension..][..self.dimension]
    }

    /// The packed copy.
    pub(crate) fn panels(&self) -> &Panels {
        &self.panels
    }
}

impl PartialEq for Centroids {
    fn eq(&self, other: &Self) -> bool {
        self.dimension == other.dimension && self.values == other.values
    }
}

/// Least centroids for a thread that looks at all of them, of so many numbers together: no other thread is woken for few.
pub(crate) fn least_for_a_thread(numbers: usize) -> usize {
    if numbers > 32 << 10 { 1 } else { usize::MAX }
}

/// The constant of a centroid in the kernel's score: minus half its squared length.
pub(crate) fn bias(centroid: &[f32]) -> f32 {
    (-0.5 * lanes::squared_norm(centroid)) as f32
}
