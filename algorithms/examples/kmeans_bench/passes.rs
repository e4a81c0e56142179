//! Centring, and Lloyd's iterations that look at every row every time.

use coterie_algorithms::fixed::Scale;
use coterie_algorithms::kmeans::{Centroids, Partial, assign, update};
use coterie_algorithms::metric::Metric;
use rayon::prelude::*;

const CHUNK: usize = 4096;
/// Numbers in the rows that are labelled and then summed: 128 KiB, so that they are still in the cache.
const TILE: usize = 32 * 1024;

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

/// Lloyd's iterations without any memory of the pass before. Gives the final centroids and the last pass's sums.
///
/// Clusters without rows keep their centroid: the benchmark's first centroids are rows, and each keeps at least that one.
pub(crate) fn every_row(points: &[f32], dimension: usize, initial: Vec<f32>, iterations: u32) -> (Vec<f32>, Partial) {
    let scale = Scale::new(&largest(points, dimension), (points.len() / dimension) as u64);
    let mut centroids = Centroids::new(dimension, initial);
    let mut sums = Partial::new(centroids.len(), dimension);
    for _ in 0..iterations {
        sums = pass(points, &centroids, &scale);
        centroids = Centroids::new(dimension, update(Metric::Euclidean, &centroids, &sums, &scale).centroids);
    }
    (centroids.values().to_vec(), sums)
}

fn pass(points: &[f32], centroids: &Centroids, scale: &Scale) -> Partial {
    let dimension = centroids.dimension();
    // Few partials, since each is k x d, and yet enough parts for threads that are held up.
    let parts = 4 * rayon::current_num_threads();
    let rows = (points.len() / dimension).div_ceil(parts).next_multiple_of(CHUNK);
    let nothing = || Partial::new(centroids.len(), dimension);
    let add_part = |mut partial: Partial, part: &[f32]| {
        let tile = (TILE / dimension).max(64);
        let mut labels = vec![0; tile];
        for rows in part.chunks(tile * dimension) {
            let labels = &mut labels[..rows.len() / dimension];
            assign(centroids, rows, labels);
            partial.add_rows_only(scale, rows, labels);
        }
        partial
    };
    let merge = |mut a: Partial, b: Partial| {
        a.merge(&b);
        a
    };
    points.par_chunks(rows * dimension).fold(nothing, add_part).reduce(nothing, merge)
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
