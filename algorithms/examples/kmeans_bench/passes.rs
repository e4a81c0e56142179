//! What comes before and after the iterations: centring, and the sums that a worker would send.

use coterie_algorithms::fixed::Scale;
use coterie_algorithms::kmeans::Partial;
use rayon::prelude::*;

const CHUNK: usize = 4096;

/// The mean of each column.
pub(crate) fn means(points: &[f32], dimension: usize) -> Vec<f64> {
    let nothing = || vec![0.0; dimension];
    let add_rows = |mut sums: Vec<f64>, rows: &[f32]| {
        for row in rows.chunks_exact(dimension) {
            sums.iter_mut().zip(row).for_each(|(sum, &value)| *sum += f64::from(value));
        }
        sums
    };
    let add = |mut a: Vec<f64>, b: Vec<f64>| {
        a.iter_mut().zip(&b).for_each(|(a, b)| *a += b);
        a
    };
    let sums = points.par_chunks(CHUNK * dimension).fold(nothing, add_rows).reduce(nothing, add);
    let rows = (points.len() / dimension) as f64;
    sums.into_iter().map(|sum| sum / rows).collect()
}

/// Adds `sign` times the means to every row.
pub(crate) fn shift(points: &mut [f32], means: &[f64], sign: f64) {
    points.par_chunks_mut(CHUNK * means.len()).for_each(|rows| {
        for row in rows.chunks_exact_mut(means.len()) {
            row.iter_mut().zip(means).for_each(|(value, mean)| *value = (f64::from(*value) + sign * mean) as f32);
        }
    });
}

/// What a worker that held all these rows would send of a pass with these labels.
pub(crate) fn sums(points: &[f32], dimension: usize, clusters: usize, labels: &[u32]) -> Partial {
    let scale = Scale::new(&largest(points, dimension), labels.len() as u64);
    let mut sums = Partial::new(clusters, dimension);
    sums.add_rows_only(&scale, points, labels);
    sums
}

/// The largest magnitude in each column.
fn largest(points: &[f32], dimension: usize) -> Vec<f32> {
    let nothing = || vec![0.0f32; dimension];
    let over_rows = |mut largest: Vec<f32>, rows: &[f32]| {
        for row in rows.chunks_exact(dimension) {
            largest.iter_mut().zip(row).for_each(|(largest, value)| *largest = largest.max(value.abs()));
        }
        largest
    };
    let over_parts = |mut a: Vec<f32>, b: Vec<f32>| {
        a.iter_mut().zip(&b).for_each(|(a, b)| *a = a.max(*b));
        a
    };
    points.par_chunks(CHUNK * dimension).fold(nothing, over_rows).reduce(nothing, over_parts)
}
