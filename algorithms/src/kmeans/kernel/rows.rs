//! Loops over the columns of single rows.

use super::widened::{quantize, widened};
use crate::fixed::Scale;
use crate::kmeans::Centroids;
use crate::lanes::{self, LANES};

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
        let limit = scale.limit();
        let factors = scale.factors();
        let (whole_factors, rest_factors) = factors.as_chunks::<LANES>();
        let mut inertia = 0i128;
        for (row, &label) in rows.chunks_exact(d).zip(labels) {
            let centroid = centroids.row(label as usize);
            let sums = &mut sums[label as usize * d..][..d];
            let (whole_row, rest_row) = row.as_chunks::<LANES>();
            let (whole_centroid, rest_centroid) = centroid.as_chunks::<LANES>();
            let (whole_sums, rest_sums) = sums.as_chunks_mut::<LANES>();
            let mut squares = [0.0f64; LANES];
            for (((x, c), f), s) in whole_row.iter().zip(whole_centroid).zip(whole_factors).zip(whole_sums) {
                for lane in 0..LANES {
                    let value = f64::from(x[lane]);
                    let difference = value - f64::from(c[lane]);
                    squares[lane] += difference * difference;
                    s[lane] = s[lane].wrapping_add(quantize(value * f[lane], limit));
                }
            }
            let mut rest_squares = [0.0f64; LANES];
            // Straight-line code for the rest: a loop would be vectorised with masked stores, which some machines do slowly.
            for (lane, square) in rest_squares.iter_mut().enumerate() {
                let (Some(&x), Some(&c), Some(&f), Some(s)) =
                    (rest_row.get(lane), rest_centroid.get(lane), rest_factors.get(lane), rest_sums.get_mut(lane))
                else {
                    break;
                };
                let value = f64::from(x);
                let difference = value - f64::from(c);
                *square = difference * difference;
                *s = s.wrapping_add(quantize(value * f, limit));
            }
            if !rest_row.is_empty() {
                for (square, rest) in squares.iter_mut().zip(rest_squares) {
                    *square += rest;
                }
            }
            inertia += i128::from(scale.quantize_distance2(lanes::fold(squares)));
        }
        inertia
    }
}

/// Adds a row's quantised values to sums, by `$add`.
macro_rules! columns {
    ($factors:expr, $limit:expr, $row:expr, $sums:expr, $add:ident) => {{
        let (whole_factors, rest_factors) = $factors.as_chunks::<LANES>();
        let (whole_row, rest_row) = $row.as_chunks::<LANES>();
        let (whole_sums, rest_sums) = $sums.as_chunks_mut::<LANES>();
        for ((x, f), s) in whole_row.iter().zip(whole_factors).zip(whole_sums) {
            for lane in 0..LANES {
                s[lane] = s[lane].$add(quantize(f64::from(x[lane]) * f[lane], $limit));
            }
        }
        // Straight-line code, as in `accumulate`.
        for lane in 0..LANES {
            let (Some(&x), Some(&f), Some(s)) = (rest_row.get(lane), rest_factors.get(lane), rest_sums.get_mut(lane))
            else {
                break;
            };
            *s = s.$add(quantize(f64::from(x) * f, $limit));
        }
    }};
}

widened! {
    /// Adds quantised rows to their clusters' sums.
    ///
    /// # Panics
    /// If a label is out of range.
    pub(crate) fn add(scale: &Scale, rows: &[f32], labels: &[u32], sums: &mut [i64]) {
        let factors = scale.factors();
        let (d, limit) = (factors.len(), scale.limit());
        for (row, &label) in rows.chunks_exact(d).zip(labels) {
            columns!(factors, limit, row, sums[label as usize * d..][..d], wrapping_add);
        }
    }
}

widened! {
    /// Takes a quantised row out of one cluster's sums and adds it to another's.
    ///
    /// # Panics
    /// If a label is out of range.
    pub(crate) fn move_row(scale: &Scale, row: &[f32], from: u32, to: u32, sums: &mut [i64]) {
        let factors = scale.factors();
        let (d, limit) = (factors.len(), scale.limit());
        columns!(factors, limit, row, sums[from as usize * d..][..d], wrapping_sub);
        columns!(factors, limit, row, sums[to as usize * d..][..d], wrapping_add);
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
        squares.extend(positions.iter().map(|&position| {
            let i = position as usize;
            lanes::squared_distance(&rows[i * d..][..d], centroids.row(labels[i] as usize))
        }));
    }
}

widened! {
    /// Squared distance of two rows.
    pub(crate) fn squared_distance(a: &[f32], b: &[f32]) -> f64 {
        lanes::squared_distance(a, b)
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
