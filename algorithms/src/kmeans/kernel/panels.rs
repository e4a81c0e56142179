//! Centroids laid out as the tiles read them.

use crate::kmeans::centroids::bias;

/// Centroids per panel.
pub(crate) const WIDTH: usize = 16;

/// One number for each centroid of a panel: a cache line.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(super) struct Lane(pub(super) [f32; WIDTH]);

/// Centroids packed sixteen to a panel, column by column.
#[derive(Clone, Debug)]
pub(crate) struct Panels {
    len: usize,
    dimension: usize,
    /// Panel after panel, `dimension` lanes each. Padding is zero.
    coefficients: Vec<Lane>,
    /// One lane per panel: minus half the squared length of each centroid; minus infinity for padding, so that it never
    /// wins.
    bias: Vec<Lane>,
}

/// One panel.
#[derive(Clone, Copy)]
pub(super) struct Panel<'a> {
    /// Index of its first centroid.
    pub(super) first: usize,
    /// Number of centroids in it, the rest being padding.
    pub(super) len: usize,
    /// Start of each chain.
    pub(super) bias: &'a Lane,
    /// One lane per column.
    pub(super) columns: &'a [Lane],
}

impl Panels {
    /// Packs centroids given row by row.
    pub(crate) fn new(dimension: usize, values: &[f32]) -> Self {
        let len = values.len() / dimension;
        let count = len.div_ceil(WIDTH);
        let mut coefficients = vec![Lane([0.0; WIDTH]); count * dimension];
        let mut biases = vec![Lane([f32::NEG_INFINITY; WIDTH]); count];
        for (i, centroid) in values.chunks_exact(dimension).enumerate() {
            let (panel, lane) = (i / WIDTH, i % WIDTH);
            biases[panel].0[lane] = bias(centroid);
            for (j, &value) in centroid.iter().enumerate() {
                coefficients[panel * dimension + j].0[lane] = value;
            }
        }
        Self { len, dimension, coefficients, bias: biases }
    }

    /// Number of columns.
    pub(crate) fn dimension(&self) -> usize {
        self.dimension
    }

    /// The panels in order of their centroids.
    pub(super) fn iter(&self) -> impl Iterator<Item = Panel<'_>> {
        self.coefficients.chunks_exact(self.dimension).zip(&self.bias).enumerate().map(|(p, (columns, bias))| Panel {
            first: p * WIDTH,
            len: (self.len - p * WIDTH).min(WIDTH),
            bias,
            columns,
        })
    }

    /// Rows to take through all panels together, a multiple of `tile` and at most `most`.
    ///
    /// While all panels fit the first-level cache, each tile of rows goes through all of them. Otherwise one panel stays
    /// there while a chunk of rows, held in the second-level cache, goes through it.
    pub(super) fn chunk(&self, tile: usize, most: usize) -> usize {
        const FIRST_LEVEL: usize = 16 << 10;
        const ROWS: usize = 128 << 10;
        if size_of_val(self.coefficients.as_slice()) <= FIRST_LEVEL {
            return tile;
        }
        (ROWS / (size_of::<f32>() * self.dimension)).clamp(tile, most) / tile * tile
    }
}
