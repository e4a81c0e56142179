//! The inner loops, for whatever vector unit the machine has.
//!
//! The assignment step does two floating-point operations for each row, centroid and column: nearly all the time of
//! k-means. A matrix of all distances would be larger than the data, and reading it back slower than computing it, so
//! tiles of rows x centroids stay in registers while the columns are summed, and only the best score so far of each row
//! is remembered.
//!
//! Every path gives the same bits. The score of a row for a centroid is ONE chain of fused multiply-adds over the
//! columns in order; vector units only do several such chains side by side.
//!
//! This is the only module with `unsafe` code.
#![allow(unsafe_code)]

mod portable;

use crate::fixed::Scale;
use crate::kmeans::Centroids;
use crate::kmeans::centroids::bias;
use crate::lanes;

/// Centroids per panel.
pub(crate) const WIDTH: usize = 16;

/// One number for each centroid of a panel.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct Lane(pub(crate) [f32; WIDTH]);

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
        Self {
            len,
            dimension,
            coefficients,
            bias: biases,
        }
    }
}

/// See [`crate::kmeans::assign`].
pub(crate) fn assign(panels: &Panels, rows: &[f32], labels: &mut [u32]) {
    assert_eq!(
        rows.len(),
        labels.len() * panels.dimension,
        "rows and labels disagree"
    );
    portable::assign(panels, rows, labels);
}

/// See [`crate::kmeans::assign_two`].
pub(crate) fn assign_two(panels: &Panels, rows: &[f32], best: &mut [u32], second: &mut [u32]) {
    assert_eq!(
        rows.len(),
        best.len() * panels.dimension,
        "rows and labels disagree"
    );
    assert_eq!(best.len(), second.len(), "labels of different lengths");
    portable::assign_two(panels, rows, best, second);
}

/// Adds quantised rows to their clusters' sums; gives the quantised sum of their squared distances.
pub(crate) fn accumulate(
    centroids: &Centroids,
    scale: &Scale,
    rows: &[f32],
    labels: &[u32],
    sums: &mut [i64],
) -> i128 {
    let d = centroids.dimension();
    let mut inertia = 0;
    for (row, &label) in rows.chunks_exact(d).zip(labels) {
        for (j, (sum, &value)) in sums[label as usize * d..][..d]
            .iter_mut()
            .zip(row)
            .enumerate()
        {
            *sum += scale.quantize(j, value);
        }
        inertia += i128::from(
            scale.quantize_distance2(lanes::squared_distance(row, centroids.row(label as usize))),
        );
    }
    inertia
}

/// Squared distance of two rows.
pub(crate) fn squared_distance(a: &[f32], b: &[f32]) -> f64 {
    lanes::squared_distance(a, b)
}

/// The principal components of rows: `components * (row - mean)`.
pub(crate) fn project(rows: &[f32], mean: &[f32], components: &[f32], out: &mut Vec<f32>) {
    let d = mean.len();
    out.clear();
    let mut centred = vec![0.0f64; d];
    for row in rows.chunks_exact(d) {
        for ((c, &x), &m) in centred.iter_mut().zip(row).zip(mean) {
            *c = f64::from(x) - f64::from(m);
        }
        out.extend(
            components
                .chunks_exact(d)
                .map(|component| lanes::dot(&centred, component) as f32),
        );
    }
}
