//! K-means on rows that fit in memory, in one process.

use ndarray::{ArrayView2, Axis};
use rayon::prelude::*;

use super::{Centroids, Farthest, Partial, PruneBuffers, Pruner, RowBounds};
use super::{assign, relocate, squared_distance, threshold, update};
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
    let n = points.len() / dimension;
    assert_eq!(points.len(), n * dimension, "points are not a whole number of rows");
    let (minimum, maximum) = bounds(points, dimension);
    let largest: Vec<f32> = minimum.iter().zip(&maximum).map(|(a, b)| a.abs().max(b.abs())).collect();
    let scale = Scale::new(&largest, n as u64);
    let mut moments = Moments::new(&minimum, &maximum, n as u64, false);
    moments.add_rows(points);
    let threshold = threshold(tolerance, &moments.variance());

    let mut centroids = Centroids::new(dimension, initial);
    let mut passes = Passes::new(points, dimension, centroids.len());
    let mut iterations = 0;
    let mut converged = false;
    while iterations < max_iterations && !converged {
        passes.assign(&centroids);
        passes.sum(&scale);
        let empty = passes.sums.empty();
        let step = if empty.is_empty() {
            update(metric, &centroids, &passes.sums, &scale)
        } else {
            let far = farthest(&centroids, points, &passes.labels, centroids.len());
            let mut partial = passes.sums.clone();
            relocate(&mut partial, &empty, &far.into_sorted(), &scale);
            update(metric, &centroids, &partial, &scale)
        };
        centroids = Centroids::new(dimension, step.centroids);
        iterations += 1;
        converged = step.shift <= threshold;
    }
    passes.assign(&centroids);
    Fit {
        centroids: centroids.values().to_vec(),
        inertia: scale.distance2(passes.inertia(&centroids, &scale)),
        labels: passes.labels,
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

/// The passes over all rows, each of which knows what the one before found out.
struct Passes<'a> {
    points: &'a [f32],
    dimension: usize,
    labels: Vec<u32>,
    upper: Vec<f32>,
    lower: Vec<f32>,
    /// Those of the last pass.
    centroids: Option<Centroids>,
    /// What changed in each chunk in the last pass: positions in the chunk and old labels.
    changes: Vec<Vec<(u32, u32)>>,
    /// Sums and counts under the labels; the inertia is not kept.
    sums: Partial,
}

impl<'a> Passes<'a> {
    fn new(points: &'a [f32], dimension: usize, k: usize) -> Self {
        let n = points.len() / dimension;
        Self {
            points,
            dimension,
            labels: vec![0; n],
            upper: vec![0.0; n],
            lower: vec![0.0; n],
            centroids: None,
            changes: Vec::new(),
            sums: Partial::new(k, dimension),
        }
    }

    /// Labels all rows.
    fn assign(&mut self, centroids: &Centroids) {
        let (n, k, d) = (self.labels.len(), centroids.len(), self.dimension);
        // With few rows for each centroid, the distances between centroids would cost more than they spare; and small
        // centroids are quicker to look at than bounds.
        if n < 16 * k || k * d < 2048 {
            let chunks = self.points.par_chunks(CHUNK * d).zip(self.labels.par_chunks_mut(CHUNK));
            chunks.for_each(|(rows, labels)| assign(centroids, rows, labels));
            return;
        }
        let previous = self.centroids.replace(centroids.clone());
        let pruner = Pruner::new(centroids.clone(), previous.as_ref());
        let bounds = self.labels.par_chunks_mut(CHUNK).zip(self.upper.par_chunks_mut(CHUNK));
        let bounds = bounds.zip(self.lower.par_chunks_mut(CHUNK));
        let chunks = self.points.par_chunks(CHUNK * d).zip(bounds);
        let work = |(buffers, survivors): &mut (PruneBuffers, Vec<u32>), (rows, ((labels, upper), lower))| {
            let mut bounds = RowBounds { labels, upper, lower };
            let mut changes = Vec::new();
            if previous.is_some() {
                pruner.drift(&mut bounds, survivors);
                pruner.settle(rows, &mut bounds, survivors, &mut changes, buffers);
            } else {
                pruner.fresh(rows, &mut bounds, buffers);
            }
            changes
        };
        let changes: Vec<_> = chunks.map_init(Default::default, work).collect();
        self.changes = if previous.is_some() { changes } else { Vec::new() };
    }

    /// Brings the sums up to date with the labels. Once per [`Self::assign`].
    fn sum(&mut self, scale: &Scale) {
        let d = self.dimension;
        let count: usize = self.changes.iter().map(Vec::len).sum();
        if self.changes.is_empty() || count > self.labels.len() / 16 {
            let nothing = || Partial::new(self.sums.counts.len(), d);
            let add = |mut partial: Partial, (rows, labels): (&[f32], &[u32])| {
                partial.add_rows_only(scale, rows, labels);
                partial
            };
            let chunks = self.points.par_chunks(CHUNK * d).zip(self.labels.par_chunks(CHUNK));
            self.sums = chunks.fold(nothing, add).reduce(nothing, merged);
            return;
        }
        for (chunk, changes) in self.changes.iter().enumerate() {
            for &(position, old) in changes {
                let i = chunk * CHUNK + position as usize;
                self.sums.move_row(scale, &self.points[i * d..][..d], old, self.labels[i]);
            }
        }
    }

    /// The sum of the squared distances of all rows to their centroids, in the scale's units.
    fn inertia(&self, centroids: &Centroids, scale: &Scale) -> i128 {
        let d = self.dimension;
        let nothing = || Partial::new(centroids.len(), d);
        let add = |mut partial: Partial, (rows, labels): (&[f32], &[u32])| {
            partial.add_rows(centroids, scale, rows, labels);
            partial
        };
        let chunks = self.points.par_chunks(CHUNK * d).zip(self.labels.par_chunks(CHUNK));
        chunks.fold(nothing, add).reduce(nothing, merged).inertia
    }
}

fn merged(mut a: Partial, b: Partial) -> Partial {
    a.merge(&b);
    a
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
    use crate::random::{Purpose, Stream};

    /// Against the same without any memory of earlier passes; equal centroids make clusters without rows.
    #[test]
    #[cfg_attr(miri, ignore = "slow")]
    fn pruning_changes_nothing() {
        let (n, d, k) = (9000, 60, 40);
        let stream = Stream::new(5, Purpose::Generate, 0);
        let number = |i: usize| (stream.uniform(i as u64) - 0.5) as f32;
        let points: Vec<f32> = (0..n * d).map(|i| number(i / d % 25 * d + i % d) + 1.5 * number(9999 + i)).collect();
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
                let fit = lloyd(&points, d, initial.clone(), Metric::Euclidean, iterations, -1.0);
                assert_eq!(fit.centroids, centroids.values());
                assert_eq!(fit.labels, labels);
                assert_eq!(fit.inertia, scale.distance2(partial.inertia));
            }
            let empty = partial.empty();
            assert_eq!(empty.is_empty(), iterations > 0);
            let far = farthest(&centroids, &points, &labels, k);
            relocate(&mut partial, &empty, &far.into_sorted(), &scale);
            centroids = Centroids::new(d, update(Metric::Euclidean, &centroids, &partial, &scale).centroids);
        }
    }
}
