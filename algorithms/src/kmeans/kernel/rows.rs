//! Loops over the columns of single rows.

use super::panels::prefetch;
use super::widened::{quantize, widened};
use crate::fixed::Scale;
use crate::kmeans::Centroids;
use crate::lanes;

/// Rows are asked for this many positions ahead, where they are scattered.
const AHEAD: usize = 6;

/// Adds a row's quantised values to sums, by `$add`.
macro_rules! columns {
    ($scale:expr, $row:expr, $sums:expr, $add:ident) => {{
        let limit = $scale.limit();
        for ((&x, &factor), sum) in $row.iter().zip($scale.factors()).zip(&mut $sums) {
            *sum = sum.$add(quantize(f64::from(x) * factor, limit));
        }
    }};
}

widened! {
    /// Adds quantised rows to their clusters' sums; gives the quantised sum of their squared distances.
    ///
    /// # Panics
    /// If a label is out of range.
    pub(crate) fn accumulate(
        centroids: &Centroids,
        scale: &Scale,
        rows: &[f32],
        labels: &[u32],
        sums: &mut [i64],
    ) -> i128 {
        let d = centroids.dimension();
        let mut inertia = 0i128;
        for (row, &label) in rows.chunks_exact(d).zip(labels) {
            columns!(scale, row, sums[label as usize * d..][..d], wrapping_add);
            let square = lanes::squared_distance(row, centroids.row(label as usize));
            inertia += i128::from(scale.quantize_distance2(square));
        }
        inertia
    }
}

widened! {
    /// Adds quantised rows to their clusters' sums.
    ///
    /// # Panics
    /// If a label is out of range.
    pub(crate) fn add(scale: &Scale, rows: &[f32], labels: &[u32], sums: &mut [i64]) {
        let d = scale.dimension();
        for (row, &label) in rows.chunks_exact(d).zip(labels) {
            columns!(scale, row, sums[label as usize * d..][..d], wrapping_add);
        }
    }
}

widened! {
    /// Takes a quantised row out of one cluster's sums and adds it to another's.
    ///
    /// # Panics
    /// If a label is out of range.
    pub(crate) fn move_row(scale: &Scale, row: &[f32], from: u32, to: u32, sums: &mut [i64]) {
        let d = scale.dimension();
        columns!(scale, row, sums[from as usize * d..][..d], wrapping_sub);
        columns!(scale, row, sums[to as usize * d..][..d], wrapping_add);
    }
}

widened! {
    /// The squared distances of some rows, given by their positions, to the centroids of their labels.
    ///
    /// # Panics
    /// If a position or a label is out of range.
    pub(crate) fn distances(
        centroids: &Centroids,
        rows: &[f32],
        labels: &[u32],
        positions: &[u32],
        squares: &mut Vec<f64>,
    ) {
        let d = centroids.dimension();
        squares.clear();
        squares.resize(positions.len(), 0.0);
        // No closures: the compiler may leave them outside, without the wide instructions.
        for (at, (&position, square)) in positions.iter().zip(squares).enumerate() {
            if let Some(&later) = positions.get(at + AHEAD) {
                prefetch(&rows[later as usize * d..][..d]);
            }
            let i = position as usize;
            *square = lanes::squared_distance(&rows[i * d..][..d], centroids.row(labels[i] as usize));
        }
    }
}

widened! {
    /// The squared distances of a row to some rows, given by their positions.
    ///
    /// # Panics
    /// If a position is out of range.
    pub(crate) fn scattered_distances(row: &[f32], rows: &[f32], positions: &[u32], squares: &mut Vec<f64>) {
        let d = row.len();
        squares.clear();
        squares.resize(positions.len(), 0.0);
        for (at, (&position, square)) in positions.iter().zip(squares).enumerate() {
            if let Some(&later) = positions.get(at + AHEAD) {
                prefetch(&rows[later as usize * d..][..d]);
            }
            *square = lanes::squared_distance(row, &rows[position as usize * d..][..d]);
        }
    }
}

widened! {
    /// Widens bounds of each column so that rows lie between them.
    pub(crate) fn widen(rows: &[f32], lower: &mut [f32], upper: &mut [f32]) {
        for row in rows.chunks_exact(lower.len()) {
            for ((&value, lower), upper) in row.iter().zip(&mut *lower).zip(&mut *upper) {
                *lower = if value < *lower { value } else { *lower };
                *upper = if value > *upper { value } else { *upper };
            }
        }
    }
}

widened! {
    /// See [`crate::features::largest_magnitude`].
    pub(crate) fn largest_magnitude(values: &[f32]) -> f32 {
        // Bits without the sign are in the order of the numbers that they stand for.
        let mut most = 0;
        for value in values {
            let bits = value.abs().to_bits();
            most = if bits > most { bits } else { most };
        }
        f32::from_bits(most)
    }
}

/// Asks for some rows, given by their positions, which are needed soon.
pub(crate) fn ask_for(rows: &[f32], d: usize, positions: &[u32]) {
    for &position in positions {
        prefetch(&rows[position as usize * d..][..d]);
    }
}

widened! {
    /// Squared distance of two rows.
    pub(crate) fn squared_distance(a: &[f32], b: &[f32]) -> f64 {
        lanes::squared_distance(a, b)
    }
}

widened! {
    /// `[a . b, a . a, b . b]`.
    pub(crate) fn inner_products(a: &[f32], b: &[f32]) -> [f64; 3] {
        lanes::inner_products(a, b)
    }
}

widened! {
    /// The principal components of rows: `components * (row - mean)`.
    pub(crate) fn project(rows: &[f32], mean: &[f32], components: &[f32], out: &mut Vec<f32>) {
        let d = mean.len();
        out.clear();
        out.reserve(rows.len() / d * (components.len() / d));
        let mut centred = vec![0.0f64; d];
        for row in rows.chunks_exact(d) {
            for ((c, &x), &m) in centred.iter_mut().zip(row).zip(mean) {
                *c = f64::from(x) - f64::from(m);
            }
            out.extend(components.chunks_exact(d).map(|component| lanes::dot(&centred, component) as f32));
        }
    }
}
