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
