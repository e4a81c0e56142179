//! Scores from centroids and sums of squares.

use crate::metric::Metric;

/// The Davies-Bouldin index: for each cluster the worst ratio of spreads to separation, averaged. Lower is better, 0 is
/// the least.
///
/// `centroids` is k x d; `mean_distance[i]` is the mean distance of cluster i's rows to its centroid, and both are of the kind
/// whose square is [`Metric::square`]. Give only clusters with rows. Centroids that coincide are taken as infinitely far apart,
/// as scikit-learn does; one cluster scores 0.
///
/// # Panics
/// If the shapes do not agree.
pub fn davies_bouldin(centroids: &[f32], dimension: usize, mean_distance: &[f64], metric: Metric) -> f64 {
    let k = mean_distance.len();
    assert_eq!(centroids.len(), k * dimension, "one mean distance per centroid is needed");
    let row = |i: usize| &centroids[i * dimension..][..dimension];
    let mut total = 0.0;
    for i in 0..k {
        let mut worst = 0.0f64;
        for j in (0..k).filter(|&j| j != i) {
            let separation = metric.square(row(i), row(j)).sqrt();
            if separation > 0.0 {
                worst = worst.max((mean_distance[i] + mean_distance[j]) / separation);
            }
        }
        total += worst;
    }
    if k == 0 { 0.0 } else { total / k as f64 }
}

/// The Calinski-Harabasz index: spread between clusters over spread within them, per degree of freedom. Higher is better.
///
/// `n` rows in `k` clusters; `total_ss` is the sum of squared distances to the mean of all rows, `within_ss` that to the
/// rows' own centroids (the inertia). Without any spread within clusters the index is 1, as in scikit-learn; it is 0
/// when there is one cluster or as many clusters as rows.
pub fn calinski_harabasz(n: u64, k: u64, total_ss: f64, within_ss: f64) -> f64 {
    if within_ss == 0.0 {
        return 1.0;
    }
    if k < 2 || n <= k {
        return 0.0;
    }
    let between = (total_ss - within_ss).max(0.0);
    between * (n - k) as f64 / (within_ss * (k - 1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        // Clusters {0, 2} and {10, 12}: mean distances 1, centroids 10 apart.
        assert_eq!(davies_bouldin(&[1.0, 11.0], 1, &[1.0, 1.0], Metric::Euclidean), 0.2);
        // Total 104, within 4, between 100.
        assert_eq!(calinski_harabasz(4, 2, 104.0, 4.0), 50.0);
    }

    #[test]
    fn edge_cases() {
        assert_eq!(davies_bouldin(&[1.0], 1, &[1.0], Metric::Euclidean), 0.0);
        assert_eq!(davies_bouldin(&[1.0, 1.0], 1, &[1.0, 1.0], Metric::Euclidean), 0.0);
        assert_eq!(davies_bouldin(&[], 1, &[], Metric::Euclidean), 0.0);
        assert_eq!(calinski_harabasz(4, 2, 104.0, 0.0), 1.0);
        assert_eq!(calinski_harabasz(4, 1, 104.0, 104.0), 0.0);
        assert_eq!(calinski_harabasz(4, 4, 104.0, 1.0), 0.0);
    }
}
