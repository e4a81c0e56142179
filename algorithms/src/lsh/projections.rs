//! Random directions, and the products of rows with them.

use super::gaussian::gaussian;
use crate::kmeans::kernel::{Panels, WIDTH, scores};
use crate::random::{Purpose, Stream};

/// Vectors with independent normal entries, packed for the kernel.
///
/// Entry `j` of vector `v` depends on the seed, `v` and `j` only, so a family with fewer tables is a prefix of one with
/// more.
#[derive(Clone, Debug)]
pub(super) struct Projections {
    panels: Panels,
}

impl Projections {
    /// `len` vectors of `dimension` entries times `factor`. Products start from what `start` says of a vector.
    ///
    /// # Panics
    /// If either is zero.
    pub(super) fn new(dimension: usize, len: usize, seed: u64, factor: f64, start: impl Fn(u64) -> f32 + Sync) -> Self {
        assert!(dimension > 0 && len > 0, "no projections");
        let entries = (0..len).flat_map(|v| {
            let stream = Stream::new(seed, Purpose::Hashing, v as u64);
            (0..dimension as u64).map(move |j| (factor * gaussian(stream, j)) as f32)
        });
        let values: Vec<f32> = entries.collect();
        Self { panels: Panels::with_starts(dimension, &values, |v, _| start(v as u64)) }
    }

    /// Columns of a row.
    pub(super) fn dimension(&self) -> usize {
        self.panels.dimension()
    }

    /// Number of vectors.
    pub(super) fn len(&self) -> usize {
        self.panels.len()
    }

    /// Numbers per row in what [`Projections::dots`] gives; those beyond [`Projections::len`] are padding.
    pub(super) fn stride(&self) -> usize {
        self.panels.count() * WIDTH
    }

    /// The products of rows with all vectors, row-major, each a chain of fused multiply-adds over the columns. O(rows x vectors x
    /// dimension).
    ///
    /// # Panics
    /// If `rows` is not a whole number of rows.
    pub(super) fn dots(&self, rows: &[f32], out: &mut Vec<f32>) {
        out.resize(rows.len() / self.dimension() * self.stride(), 0.0);
        scores(&self.panels, rows, out);
    }
}
