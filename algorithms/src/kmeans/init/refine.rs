//! A few weighted Lloyd iterations on points that fit in memory.

use rayon::prelude::*;

use crate::kmeans::{Centroids, assign};

/// Points per unit of parallel work. The result does not depend on it.
const CHUNK: usize = 256;

/// Improves `centroids` (k x d) on weighted points (row-major) by at most `iterations` rounds of Lloyd's algorithm; stops
/// early when no label changes. A centroid without points stays where it is.
///
/// # Panics
/// If the shapes do not agree.
pub fn refine(
    points: &[f32],
    dimension: usize,
    weights: Option<&[f64]>,
    centroids: Vec<f32>,
    iterations: usize,
) -> Vec<f32> {
    let n = points.len() / dimension;
    assert_eq!(points.len(), n * dimension, "points are not a whole number of rows");
    assert!(weights.is_none_or(|w| w.len() == n), "one weight per point is needed");
    let mut centroids = Centroids::new(dimension, centroids);
    let k = centroids.len();
    let mut labels = vec![0; n];
    let mut previous = vec![u32::MAX; n];
    for _ in 0..iterations {
        points
            .par_chunks(CHUNK * dimension)
            .zip(labels.par_chunks_mut(CHUNK))
            .for_each(|(points, labels)| assign(&centroids, points, labels));
        if labels == previous {
            break;
        }
        let mut sums = vec![0.0f64; k * dimension];
        let mut totals = vec![0.0f64; k];
        for (i, (point, &label)) in points.chunks_exact(dimension).zip(&labels).enumerate() {
            let label = label as usize;
            let weight = weights.map_or(1.0, |w| w[i]);
            totals[label] += weight;
            for (sum, &value) in sums[label * dimension..][..dimension].iter_mut().zip(point) {
                *sum += weight * f64::from(value);
            }
        }
        let mut values = centroids.values().to_vec();
        for (cluster, &total) in totals.iter().enumerate().filter(|&(_, &total)| total > 0.0) {
            let place = cluster * dimension..(cluster + 1) * dimension;
            for (value, sum) in values[place.clone()].iter_mut().zip(&sums[place]) {
                *value = (sum / total) as f32;
            }
        }
        centroids = Centroids::new(dimension, values);
        std::mem::swap(&mut labels, &mut previous);
    }
    centroids.values().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reaches_the_weighted_means() {
        let points = [0.0, 1.0, 10.0, 12.0];
        let refined = refine(&points, 1, Some(&[3.0, 1.0, 1.0, 1.0]), vec![1.0, 10.0], 10);
        assert_eq!(refined, [0.25, 11.0]);
        assert_eq!(refine(&points, 1, None, vec![1.0, 10.0], 10), [0.5, 11.0]);
    }

    #[test]
    fn a_centroid_without_points_stays() {
        assert_eq!(refine(&[0.0, 2.0], 1, None, vec![1.0, 100.0], 5), [1.0, 100.0]);
    }

    #[test]
    fn no_iterations_change_nothing() {
        assert_eq!(refine(&[0.0, 2.0], 1, None, vec![0.0, 100.0], 0), [0.0, 100.0]);
    }
}
