//! The sums that a worker would send.

use coterie_algorithms::fixed::Scale;
use coterie_algorithms::kmeans::Partial;
use rayon::prelude::*;

const CHUNK: usize = 4096;

/// What a worker that held all these rows would send of a pass with these labels.
pub(crate) fn of_rows(points: &[f32], dimension: usize, clusters: usize, labels: &[u32]) -> Partial {
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
