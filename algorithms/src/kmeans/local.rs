//! K-means on rows that fit in memory, in one process.

use ndarray::{ArrayView2, Axis};
use rayon::prelude::*;

use super::{Centroids, Farthest, Partial, assign, relocate, squared_distance, threshold, update};
use crate::features::Moments;
use crate::fixed::Scale;
use crate::metric::Metric;

/// Rows per unit of parallel work. The result does not depend on it.
const CHUNK: usize = 4096;

/// Parameters of [`fit`].
#[derive(Clone, Debug, PartialEq)]
pub struct Params {
    /// Distance between rows.
    pub metric: Metric,
    /// Most iterations. Default 300.
    pub max_iterations: u32,
    /// Stop when the squared movement of all centroids falls to this times the mean variance of the columns. Default 1e-4.
    pub tolerance: f64,
}

impl Default for Params {
    fn default() -> Self {
        Self { metric: Metric::Euclidean, max_iterations: 300, tolerance: 1e-4 }
    }
}

/// A clustering.
#[derive(Clone, Debug, PartialEq)]
pub struct Fit {
    /// k x d, row-major.
    pub centroids: Vec<f32>,
    /// Cluster of each row.
    pub labels: Vec<u32>,
    /// Sum of the squared distances of rows to their centroid.
    pub inertia: f64,
    /// Iterations done.
    pub iterations: u32,
    /// Whether the tolerance was reached.
    pub converged: bool,
}

/// Lloyd's algorithm on the rows of an array, from given centroids (k x d).
///
/// For [`Metric::Euclidean`] the rows are centred while they are clustered, which keeps the assignment precise; for
/// [`Metric::Cosine`] they are brought to unit length, and so are the centroids.
///
/// # Panics
/// If `initial` has no rows or another number of columns than `points`.
pub fn fit(points: ArrayView2<'_, f32>, initial: ArrayView2<'_, f32>, params: &Params) -> Fit {
    let dimension = points.ncols();
    assert_eq!(initial.ncols(), dimension, "centroids of another dimension");
    let mut rows: Vec<f32> = points.iter().copied().collect();
    let mut centroids: Vec<f32> = initial.iter().copied().collect();
    let Params { metric, max_iterations, tolerance } = *params;
    let mean: Vec<f64> = match metric {
        Metric::Euclidean if points.nrows() > 0 => {
            let rows = points.nrows() as f64;
            points.axis_iter(Axis(1)).map(|column| column.iter().map(|&v| f64::from(v)).sum::<f64>() / rows).collect()
        }
        Metric::Euclidean | Metric::Cosine => vec![0.0; dimension],
    };
    for values in [&mut rows, &mut centroids] {
        for row in values.chunks_exact_mut(dimension) {
            match metric {
                Metric::Euclidean => {
                    for (value, mean) in row.iter_mut().zip(&mean) {
                        *value = (f64::from(*value) - mean) as f32;
                    }
                }
                Metric::Cosine => crate::features::normalize(row),
            }
        }
    }
    let mut fit = lloyd(&rows, dimension, centroids, metric, max_iterations, tolerance);
    for centroid in fit.centroids.chunks_exact_mut(dimension) {
        for (value, mean) in centroid.iter_mut().zip(&mean) {
            *value = (f64::from(*value) + mean) as f32;
        }
    }
    fit
}

/// Lloyd's algorithm on rows as they are (row-major), from given centroids (k x d).
///
/// This is the twin of a sharded run: the same building blocks, everything at once. Rows should be centred, or of unit
/// length for [`Metric::Cosine`]. Convergence is judged as scikit-learn does: the centroids' squared movement is at most
/// `tolerance` times the mean variance of the columns. The labels and inertia belong to the final centroids.
///
/// # Panics
/// If the shapes do not agree.
pub fn lloyd(
    points: &[f32],
    dimension: usize,
    initial: Vec<f32>,
    metric: Metric,
    max_iterations: u32,
    tolerance: f64,
) -> Fit {
    let n = points.len() / dimension;
    assert_eq!(points.len(), n * dimension, "points are not a whole number of rows");
    let (minimum, maximum) = bounds(points, dimension);
    let largest: Vec<f32> = minimum.iter().zip(&maximum).map(|(a, b)| a.abs().max(b.abs())).collect();
    let scale = Scale::new(&largest, n as u64);
    let mut moments = Moments::new(&minimum, &maximum, n as u64, false);
    moments.add_rows(points);
    let threshold = threshold(tolerance, &moments.variance());

    let mut centroids = Centroids::new(dimension, initial);
    let mut labels = vec![0; n];
    let mut iterations = 0;
    let mut converged = false;
    while iterations < max_iterations && !converged {
        let mut partial = pass(&centroids, &scale, points, &mut labels);
        let empty = partial.empty();
        if !empty.is_empty() {
            let far = farthest(&centroids, points, &labels, centroids.len());
            relocate(&mut partial, &empty, &far.into_sorted(), &scale);
        }
        let step = update(metric, &centroids, &partial, &scale);
        centroids = Centroids::new(dimension, step.centroids);
        iterations += 1;
        converged = step.shift <= threshold;
    }
    let last = pass(&centroids, &scale, points, &mut labels);
    Fit {
        centroids: centroids.values().to_vec(),
        labels,
        inertia: scale.distance2(last.inertia),
        iterations,
        converged,
    }
}

/// Least and greatest value of each column; zeros without rows.
fn bounds(points: &[f32], dimension: usize) -> (Vec<f32>, Vec<f32>) {
    let first = if points.is_empty() { vec![0.0; dimension] } else { points[..dimension].to_vec() };
    let mut bounds = (first.clone(), first);
    for row in points.chunks_exact(dimension) {
        for (j, &value) in row.iter().enumerate() {
            bounds.0[j] = bounds.0[j].min(value);
            bounds.1[j] = bounds.1[j].max(value);
        }
    }
    bounds
}

/// Assigns all rows and sums them up.
fn pass(centroids: &Centroids, scale: &Scale, points: &[f32], labels: &mut [u32]) -> Partial {
    let d = centroids.dimension();
    let nothing = || Partial::new(centroids.len(), d);
    points
        .par_chunks(CHUNK * d)
        .zip(labels.par_chunks_mut(CHUNK))
        .fold(nothing, |mut partial, (rows, labels)| {
            assign(centroids, rows, labels);
            partial.add_rows(centroids, scale, rows, labels);
            partial
        })
        .reduce(nothing, |mut a, b| {
            a.merge(&b);
            a
        })
}

/// The `m` rows farthest from their centroids.
fn farthest(centroids: &Centroids, points: &[f32], labels: &[u32], m: usize) -> Farthest {
    let d = centroids.dimension();
    let mut far = Farthest::new(m, d);
    for ((ordinal, row), &label) in (0u64..).zip(points.chunks_exact(d)).zip(labels) {
        let distance2 = squared_distance(row, centroids.row(label as usize));
        if far.admits(distance2, ordinal) {
            far.offer(distance2, ordinal, label, row);
        }
    }
    far
}
