//! The silhouette coefficient.

use rayon::prelude::*;

use crate::features::normalize;
use crate::kmeans::squared_distance;
use crate::metric::Metric;

/// Silhouette coefficients of a clustering.
#[derive(Clone, Debug, PartialEq)]
pub struct Silhouette {
    /// Mean over all rows.
    pub mean: f64,
    /// Mean over the rows of each cluster; 0 for a cluster without rows.
    pub per_cluster: Vec<f64>,
    /// Coefficient of each row, -1 to 1.
    pub per_sample: Vec<f64>,
}

/// The silhouette of rows (row-major, `labels.len()` x d) in `k` clusters: for each row `(b - a) / max(a, b)`, where `a`
/// is its mean distance to the other rows of its cluster and `b` the least mean distance to the rows of another one.
///
/// A row that is alone in its cluster has coefficient 0; so have all rows if fewer than two clusters have rows. Exact:
/// all pairs are looked at, on all threads; the result does not depend on their number.
///
/// # Panics
/// If the shapes do not agree or a label is k or more.
pub fn silhouette(points: &[f32], dimension: usize, labels: &[u32], k: usize, metric: Metric) -> Silhouette {
    assert_eq!(points.len(), labels.len() * dimension, "points and labels disagree");
    let mut points = points.to_vec();
    if metric == Metric::Cosine {
        points.chunks_exact_mut(dimension).for_each(normalize);
    }
    let row = |i: usize| &points[i * dimension..][..dimension];
    let mut counts = vec![0u64; k];
    for &label in labels {
        counts[label as usize] += 1;
    }
    let per_sample: Vec<f64> = (0..labels.len())
        .into_par_iter()
        .map(|i| {
            let mut sums = vec![0.0; k];
            for (j, &label) in labels.iter().enumerate() {
                let d2 = squared_distance(row(i), row(j));
                sums[label as usize] += if metric == Metric::Cosine { d2 / 2.0 } else { d2.sqrt() };
            }
            let own = labels[i] as usize;
            if counts[own] <= 1 {
                return 0.0;
            }
            let a = sums[own] / (counts[own] - 1) as f64;
            let b = (0..k)
                .filter(|&c| c != own && counts[c] > 0)
                .map(|c| sums[c] / counts[c] as f64)
                .fold(f64::INFINITY, f64::min);
            if b.is_finite() && a.max(b) > 0.0 { (b - a) / a.max(b) } else { 0.0 }
        })
        .collect();
    let mut per_cluster = vec![0.0; k];
    for (&label, value) in labels.iter().zip(&per_sample) {
        per_cluster[label as usize] += value;
    }
    for (sum, &count) in per_cluster.iter_mut().zip(&counts) {
        *sum /= count.max(1) as f64;
    }
    let mean = per_sample.iter().sum::<f64>() / labels.len().max(1) as f64;
    Silhouette { mean, per_cluster, per_sample }
}
