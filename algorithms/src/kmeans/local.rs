//! K-means on rows that fit in memory, in one process.

use ndarray::ArrayView2;
use rayon::prelude::*;

use super::passes::Passes;
use super::{Centroids, Farthest, centring, kernel, relocate, squared_distance, threshold, update};
use crate::features::{Moments, normalize};
use crate::fixed::Scale;
use crate::metric::Metric;

/// Rows per unit of parallel work: a multiple of what the kernel takes together. The result does not depend on it.
pub(super) const CHUNK: usize = 4800;

/// Parameters of [`fit`].
#[derive(Clone, Debug, PartialEq)]
pub struct Params {
    /// Distance between rows.
    pub metric: Metric,
    /// Most iterations. Default 300.
    pub max_iterations: u32,
    /// Stop when the squared movement of all centroids falls to this times the mean variance of the columns. At 0 only when nothing moves; below,
    /// never. Default 1e-4.
    pub tolerance: f64,
    /// Whether to skip rows whose label provably stays. It changes no bit of the result, only the time taken, and memory:
    /// bounds take 8 bytes per row and at most half as much as the row itself, or 16 bytes. Default true.
    pub pruning: bool,
}

impl Default for Params {
    fn default() -> Self {
        Self { metric: Metric::Euclidean, max_iterations: 300, tolerance: 1e-4, pruning: true }
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
/// If `initial` has no rows or another number of columns than `points`, or the metric is [`Metric::Jaccard`].
pub fn fit(points: ArrayView2<'_, f32>, initial: ArrayView2<'_, f32>, params: &Params) -> Fit {
    let dimension = points.ncols();
    assert_eq!(initial.ncols(), dimension, "centroids of another dimension");
    let mut rows: Vec<f32> = points.iter().copied().collect();
    let mut centroids: Vec<f32> = initial.iter().copied().collect();
    assert_ne!(params.metric, Metric::Jaccard, "means are not what is nearest to sets");
    if params.metric == Metric::Cosine {
        for values in [&mut rows, &mut centroids] {
            values.par_chunks_exact_mut(dimension).for_each(normalize);
        }
        return lloyd_with(&rows, dimension, centroids, params);
    }
    let means = centring::means(&rows, dimension);
    centring::subtract(&mut rows, &means);
    centring::subtract(&mut centroids, &means);
    let mut fit = lloyd_with(&rows, dimension, centroids, params);
    centring::add(&mut fit.centroids, &means);
    fit
}

/// Lloyd's algorithm on rows as they are (row-major), from given centroids (k x d).
///
/// This is the twin of a sharded run: the same building blocks, everything at once. Rows whose label provably stays are
/// skipped where that pays, which changes no bit of the result. Rows should be centred, or of unit
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
    let params = Params { metric, max_iterations, tolerance, ..Params::default() };
    lloyd_with(points, dimension, initial, &params)
}

/// [`lloyd`] with all parameters.
///
/// # Panics
/// If the shapes do not agree.
pub fn lloyd_with(points: &[f32], dimension: usize, initial: Vec<f32>, params: &Params) -> Fit {
    // Pass follows upon pass, each divided among threads, which is quicker from one of these.
    rayon::scope(|_| iterate(points, dimension, initial, params))
}

fn iterate(points: &[f32], dimension: usize, initial: Vec<f32>, params: &Params) -> Fit {
    let Params { metric, max_iterations, tolerance, pruning } = *params;
    let n = points.len() / dimension;
    assert_eq!(points.len(), n * dimension, "points are not a whole number of rows");
    let (minimum, maximum) = bounds(points, dimension);
    let largest: Vec<f32> = minimum.iter().zip(&maximum).map(|(a, b)| a.abs().max(b.abs())).collect();
    let scale = Scale::new(&largest, n as u64);
    // A movement that is no movement needs no variance to be compared with.
    let threshold =
        if tolerance > 0.0 { threshold(tolerance, &variance(points, &minimum, &maximum)) } else { tolerance };

    let mut centroids = Centroids::new(dimension, initial);
    let mut passes = Passes::new(points, dimension, &scale, centroids.len(), pruning);
    let mut iterations = 0;
    let mut converged = false;
    while iterations < max_iterations && !converged {
        passes.pass(&centroids);
        let empty = passes.sums().empty();
        let step = if empty.is_empty() {
            update(metric, &centroids, passes.sums(), &scale)
        } else {
            let mut partial = passes.sums().clone();
            let far = farthest(&centroids, points, passes.labels(), centroids.len());
            relocate(&mut partial, &empty, &far.into_sorted(), &scale);
            update(metric, &centroids, &partial, &scale)
        };
        centroids = Centroids::new(dimension, step.centroids);
        iterations += 1;
        converged = step.shift <= threshold;
    }
    passes.pass(&centroids);
    Fit {
        centroids: centroids.values().to_vec(),
        inertia: scale.distance2(passes.inertia(&centroids)),
        labels: passes.into_labels(),
        iterations,
        converged,
    }
}

/// Least and greatest value of each column; zeros without rows.
fn bounds(points: &[f32], dimension: usize) -> (Vec<f32>, Vec<f32>) {
    let first = if points.is_empty() { vec![0.0; dimension] } else { points[..dimension].to_vec() };
    let nothing = || (first.clone(), first.clone());
    let widen = |mut bounds: (Vec<f32>, Vec<f32>), rows: &[f32]| {
        kernel::widen(rows, &mut bounds.0, &mut bounds.1);
        bounds
    };
    let merge =
        |bounds: (Vec<f32>, Vec<f32>), (lower, upper): (Vec<f32>, Vec<f32>)| widen(widen(bounds, &lower), &upper);
    points.par_chunks(CHUNK * dimension).fold(nothing, widen).reduce(nothing, merge)
}

/// The variance of each column, whose values lie within these bounds.
fn variance(points: &[f32], minimum: &[f32], maximum: &[f32]) -> Vec<f64> {
    let n = points.len() / minimum.len();
    let nothing = || Moments::new(minimum, maximum, n as u64, false);
    let add = |mut moments: Moments, rows: &[f32]| {
        moments.add_rows(rows);
        moments
    };
    let merge = |mut a: Moments, b: Moments| {
        a.merge(&b);
        a
    };
    points.par_chunks(CHUNK * minimum.len()).fold(nothing, add).reduce(nothing, merge).variance()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kmeans::{Partial, assign};
    use crate::random::{Purpose, Stream};

    /// Against the same without any memory of earlier passes; equal centroids make clusters without rows.
    #[test]
    #[cfg_attr(miri, ignore = "slow")]
    fn pruning_changes_nothing() {
        // Bounds from some pass on, and from the first.
        for (n, d, k) in [(9000, 60, 40), (3000, 210, 40)] {
            let stream = Stream::new(5, Purpose::Generate, 0);
            let number = |i: usize| (stream.uniform(i as u64) - 0.5) as f32;
            let points: Vec<f32> =
                (0..n * d).map(|i| number(i / d % 25 * d + i % d) + 1.5 * number(9999 + i)).collect();
            let initial = [&points[..(k - 2) * d], &points[..2 * d]].concat();
            let (minimum, maximum) = bounds(&points, d);
            let largest: Vec<f32> = minimum.iter().zip(&maximum).map(|(a, b)| a.abs().max(b.abs())).collect();
            let scale = Scale::new(&largest, n as u64);
            let mut centroids = Centroids::new(d, initial.clone());
            let mut labels = vec![0; n];
            for iterations in 0..25 {
                assign(&centroids, &points, &mut labels);
                let mut partial = Partial::new(k, d);
                partial.add_rows(&centroids, &scale, &points, &labels);
                if iterations % 6 == 0 {
                    for pruning in [false, true] {
                        let params =
                            Params { max_iterations: iterations, tolerance: -1.0, pruning, ..Params::default() };
                        let fit = lloyd_with(&points, d, initial.clone(), &params);
                        assert_eq!(fit.centroids, centroids.values());
                        assert_eq!(fit.labels, labels);
                        assert_eq!(fit.inertia, scale.distance2(partial.inertia));
                    }
                }
                let empty = partial.empty();
                assert_eq!(empty.is_empty(), iterations > 0);
                let far = farthest(&centroids, &points, &labels, k);
                relocate(&mut partial, &empty, &far.into_sorted(), &scale);
                centroids = Centroids::new(d, update(Metric::Euclidean, &centroids, &partial, &scale).centroids);
            }
        }
    }
}
