//! The update step.

use rayon::prelude::*;

use super::centroids::least_for_a_thread;
use super::{Centroids, Partial, squared_distance};
use crate::features::normalize;
use crate::fixed::Scale;
use crate::metric::Metric;

/// The result of an update step.
#[derive(Clone, Debug, PartialEq)]
pub struct Update {
    /// The new centroids, k x d. A cluster without rows keeps its centroid.
    pub centroids: Vec<f32>,
    /// Sum over all centroids of the squared distance moved.
    pub shift: f64,
    /// Clusters without rows, ascending.
    pub empty: Vec<u32>,
}

/// Moves each centroid to the mean of its rows; for [`Metric::Cosine`] the mean is brought back to unit length, and for
/// [`Metric::Jaccard`] it is the share of the rows that have each member.
///
/// # Panics
/// If the shapes do not agree.
pub fn update(metric: Metric, previous: &Centroids, partial: &Partial, scale: &Scale) -> Update {
    let d = previous.dimension();
    assert_eq!(partial.dimension as usize, d, "partial of another dimension");
    assert_eq!(partial.counts.len(), previous.len(), "another number of clusters");
    let mut centroids = previous.values().to_vec();
    let least = least_for_a_thread(centroids.len());
    let clusters = centroids.par_chunks_exact_mut(d).zip(partial.sums.par_chunks_exact(d)).zip(&partial.counts);
    let moved = clusters.enumerate().with_min_len(least).map(|(cluster, ((centroid, sums), &count))| {
        if count == 0 {
            return 0.0;
        }
        for (column, (value, &sum)) in centroid.iter_mut().zip(sums).enumerate() {
            *value = scale.mean(column, sum, count);
        }
        match metric {
            Metric::Euclidean | Metric::Jaccard => {}
            // Rows that cancel out have no mean direction: the centroid stays.
            Metric::Cosine if centroid.iter().all(|&v| v == 0.0) => centroid.copy_from_slice(previous.row(cluster)),
            Metric::Cosine => normalize(centroid),
        }
        squared_distance(centroid, previous.row(cluster))
    });
    // Added in their order, whichever thread found them.
    let shift = moved.collect::<Vec<f64>>().iter().sum();
    Update { centroids, shift, empty: partial.empty() }
}

/// The shift at or below which k-means has converged: `tolerance` times the mean variance of the columns, as
/// scikit-learn defines it.
pub fn threshold(tolerance: f64, variance: &[f64]) -> f64 {
    tolerance * variance.iter().sum::<f64>() / variance.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partial(centroids: &Centroids, scale: &Scale, rows: &[f32], labels: &[u32]) -> Partial {
        let mut partial = Partial::new(centroids.len(), centroids.dimension());
        partial.add_rows(centroids, scale, rows, labels);
        partial
    }

    #[test]
    fn means_movement_and_empty_clusters() {
        let previous = Centroids::new(2, vec![0.0, 0.0, 5.0, 5.0, 9.0, 9.0]);
        let scale = Scale::new(&[8.0, 8.0], 3);
        let partial = partial(&previous, &scale, &[1.0, 2.0, 3.0, 4.0, 6.0, 8.0], &[0, 0, 2]);
        assert_eq!(scale.distance2(partial.inertia), 5.0 + 25.0 + 10.0);
        assert_eq!(partial.rows(), 3);
        let update = update(Metric::Euclidean, &previous, &partial, &scale);
        assert_eq!(update.centroids, [2.0, 3.0, 5.0, 5.0, 6.0, 8.0]);
        assert_eq!(update.shift, 13.0 + 10.0);
        assert_eq!(update.empty, [1]);
    }

    #[test]
    fn cosine_means_have_unit_length() {
        let previous = Centroids::new(2, vec![1.0, 0.0, 0.0, 1.0]);
        let scale = Scale::new(&[1.0, 1.0], 4);
        let rows = [1.0, 0.0, 0.0, 1.0, 1.0, 0.0, -1.0, 0.0];
        let partial = partial(&previous, &scale, &rows, &[0, 0, 1, 1]);
        let update = update(Metric::Cosine, &previous, &partial, &scale);
        let half = 0.5f32.sqrt();
        // The rows of cluster 1 cancel out: it has no direction to turn to.
        assert_eq!(update.centroids, [half, half, 0.0, 1.0]);
        assert_eq!(update.empty, [0u32; 0]);
    }

    #[test]
    fn threshold_is_relative_to_the_mean_variance() {
        assert_eq!(threshold(0.5, &[1.0, 3.0]), 1.0);
        assert_eq!(threshold(0.5, &[]), 0.0);
    }
}
