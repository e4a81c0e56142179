//! Random directions, and the products of rows with them.

use super::gaussian::gaussian;
use crate::kmeans::kernel::{WIDTH, dots};
use crate::random::{Purpose, Stream};

/// Vectors with independent normal entries, packed for the kernel.
///
/// Entry `j` of vector `v` depends on the seed, `v` and `j` only, so a family with fewer tables is a prefix of one with
/// more.
#[derive(Clone, Debug)]
pub(super) struct Projections {
    dimension: usize,
    len: usize,
    /// What each product starts from.
    start: Vec<[f32; WIDTH]>,
    vectors: Vec<[f32; WIDTH]>,
}

impl Projections {
    /// `len` vectors of `dimension` entries times `factor`. Products start from what `start` says of a vector.
    ///
    /// # Panics
    /// If either is zero.
    pub(super) fn new(dimension: usize, len: usize, seed: u64, factor: f64, start: impl Fn(u64) -> f32) -> Self {
        assert!(dimension > 0 && len > 0, "no projections");
        let panels = len.div_ceil(WIDTH);
        let mut packed =
            Self { dimension, len, start: vec![[0.0; WIDTH]; panels], vectors: vec![[0.0; WIDTH]; panels * dimension] };
        for v in 0..len {
            let (panel, lane) = (v / WIDTH, v % WIDTH);
            let stream = Stream::new(seed, Purpose::Hashing, v as u64);
            packed.start[panel][lane] = start(v as u64);
            for (j, column) in packed.vectors[panel * dimension..][..dimension].iter_mut().enumerate() {
                column[lane] = (factor * gaussian(stream, j as u64)) as f32;
            }
        }
        packed
    }

    /// Columns of a row.
    pub(super) fn dimension(&self) -> usize {
        self.dimension
    }

    /// Number of vectors.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Numbers per row in what [`Projections::dots`] gives; those beyond [`Projections::len`] are padding.
    pub(super) fn stride(&self) -> usize {
        self.start.len() * WIDTH
    }

    /// The products of rows with all vectors, row-major. O(rows x vectors x dimension).
    ///
    /// # Panics
    /// If `rows` is not a whole number of rows.
    pub(super) fn dots(&self, rows: &[f32], out: &mut Vec<f32>) {
        assert_eq!(rows.len() % self.dimension, 0, "rows of another dimension");
        out.resize(rows.len() / self.dimension * self.stride(), 0.0);
        dots(&self.start, &self.vectors, rows, out);
    }
}
