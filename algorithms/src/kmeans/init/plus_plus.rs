//! Greedy k-means++.

use rand::Rng;
use rayon::prelude::*;

use crate::kmeans::kernel;
use crate::random::unit;

/// Points per unit of parallel work. Part of the definition of the result: sums are added chunk by chunk, so that they do
/// not depend on the number of threads.
const CHUNK: usize = 1024;

/// Chooses `k` of the points (row-major) as first centroids and gives their indices.
///
/// The first point is drawn by weight (uniformly without weights). Each further one is the best of `2 + floor(ln k)`
/// points drawn with probability proportional to weight times squared distance to the nearest chosen point: the one that
/// leaves the least sum of weighted squared distances. This is scikit-learn's greedy variant of Arthur & Vassilvitskii
/// (2007). If fewer than `k` points are different, equal points are chosen for the rest.
///
/// # Panics
/// If there are no points, `points` is not a whole number of rows, or the weights are of another number.
pub fn k_means_plus_plus(
    points: &[f32],
    dimension: usize,
    weights: Option<&[f64]>,
    k: usize,
    rng: &mut impl Rng,
) -> Vec<usize> {
    let n = points.len() / dimension;
    assert!(n > 0 && points.len() == n * dimension, "points are not a whole number of rows");
    assert!(weights.is_none_or(|w| w.len() == n), "one weight per point is needed");
    let mut chosen = Vec::with_capacity(k);
    if k == 0 {
        return chosen;
    }
    let trials = 2 + (k as f64).ln() as usize;
    let row = |i: usize| &points[i * dimension..][..dimension];
    let weight = |i: usize| weights.map_or(1.0, |w| w[i]);

    let first = Masses::new(n, weight).pick(rng);
    chosen.push(first);
    let mut nearest: Vec<Nearest> = (0..n).map(|_| Nearest { distance2: f64::INFINITY, chosen: 0 }).collect();
    take_nearer(points, dimension, row(first), &[0.0], 0, &mut nearest);
    while chosen.len() < k {
        let masses = Masses::new(n, |i| weight(i) * nearest[i].distance2);
        let mut best: Option<(f64, usize, Vec<f64>)> = None;
        for _ in 0..trials {
            let candidate = masses.pick(rng);
            let apart: Vec<f64> = chosen.iter().map(|&c| kernel::squared_distance(row(c), row(candidate))).collect();
            let left = potential(points, dimension, row(candidate), &apart, &nearest, weights);
            if best.as_ref().is_none_or(|(least, ..)| left < *least) {
                best = Some((left, candidate, apart));
            }
        }
        let Some((_, candidate, apart)) = best else {
            break;
        };
        take_nearer(points, dimension, row(candidate), &apart, chosen.len() as u32, &mut nearest);
        chosen.push(candidate);
    }
    chosen
}

/// A point's nearest chosen point.
struct Nearest {
    distance2: f64,
    /// Place among the chosen ones.
    chosen: u32,
}

impl Nearest {
    /// The squared distance to `candidate` if that is nearer; `apart` are the candidate's squared distances to the chosen.
    #[inline(always)]
    fn nearer(&self, point: &[f32], candidate: &[f32], apart: &[f64]) -> Option<f64> {
        // By the triangle inequality a candidate at least twice as far from our chosen point as we are cannot be nearer.
        if apart[self.chosen as usize] >= 4.0 * self.distance2 {
            return None;
        }
        Some(kernel::squared_distance(point, candidate)).filter(|&distance2| distance2 < self.distance2)
    }
}

/// The sum of weighted squared distances if `candidate` were chosen.
fn potential(
    points: &[f32],
    dimension: usize,
    candidate: &[f32],
    apart: &[f64],
    nearest: &[Nearest],
    weights: Option<&[f64]>,
) -> f64 {
    let sums: Vec<f64> = points
        .par_chunks(CHUNK * dimension)
        .zip(nearest.par_chunks(CHUNK))
        .enumerate()
        .map(|(chunk, (points, nearest))| {
            let mut sum = 0.0;
            for (i, (point, nearest)) in points.chunks_exact(dimension).zip(nearest).enumerate() {
                let distance2 = nearest.nearer(point, candidate, apart).unwrap_or(nearest.distance2);
                sum += weights.map_or(1.0, |w| w[chunk * CHUNK + i]) * distance2;
            }
            sum
        })
        .collect();
    sums.iter().sum()
}

/// Notes `candidate`, now chosen in place `chosen`, for all points to which it is nearer.
fn take_nearer(
    points: &[f32],
    dimension: usize,
    candidate: &[f32],
    apart: &[f64],
    chosen: u32,
    nearest: &mut [Nearest],
) {
    points.par_chunks(CHUNK * dimension).zip(nearest.par_chunks_mut(CHUNK)).for_each(|(points, nearest)| {
        for (point, nearest) in points.chunks_exact(dimension).zip(nearest) {
            if let Some(distance2) = nearest.nearer(point, candidate, apart) {
                *nearest = Nearest { distance2, chosen };
            }
        }
    });
}

/// Cumulated masses, for drawing indices in proportion to mass.
struct Masses(Vec<f64>);

impl Masses {
    fn new(n: usize, mass: impl Fn(usize) -> f64) -> Self {
        let mut total = 0.0;
        Self(
            (0..n)
                .map(|i| {
                    total += mass(i);
                    total
                })
                .collect(),
        )
    }

    /// An index with positive mass; any index, uniformly, if all masses are zero.
    fn pick(&self, rng: &mut impl Rng) -> usize {
        let n = self.0.len();
        let u = unit(rng.next_u64());
        let total = self.0[n - 1];
        if total > 0.0 {
            let target = u * total;
            // Rounding may lift the target to the total: then the last index with mass.
            let past = self.0.partition_point(|&sum| sum <= target);
            if past < n { past } else { self.0.partition_point(|&sum| sum < total) }
        } else {
            ((u * n as f64) as usize).min(n - 1)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, rng};

    #[test]
    fn picks_follow_the_masses() {
        let mut rng = rng(1, Purpose::Seeding, 0);
        let masses = Masses::new(5, |i| [0.0, 1.0, 0.0, 3.0, 0.0][i]);
        let mut counts = [0; 5];
        for _ in 0..4000 {
            counts[masses.pick(&mut rng)] += 1;
        }
        assert_eq!(counts[0] + counts[2] + counts[4], 0);
        // Five standard deviations: sqrt(4000 * 3 / 16) = 27.
        assert!((counts[1] - 1000i32).abs() < 140, "{counts:?}");
    }

    #[test]
    fn far_groups_get_one_centroid_each() {
        let points: Vec<f32> = (0..300).flat_map(|i| [(i % 5) as f32 * 1000.0, (i / 5) as f32 * 0.01]).collect();
        for seed in 0..20 {
            let mut groups: Vec<usize> = k_means_plus_plus(&points, 2, None, 5, &mut rng(seed, Purpose::Seeding, 0))
                .into_iter()
                .map(|i| i % 5)
                .collect();
            groups.sort_unstable();
            assert_eq!(groups, [0, 1, 2, 3, 4]);
        }
    }

    #[test]
    fn weightless_points_are_never_chosen_while_others_remain() {
        let points: Vec<f32> = (0..40).map(|i| i as f32).collect();
        let weights: Vec<f64> = (0..40).map(|i| if i % 4 == 0 { 2.0 } else { 0.0 }).collect();
        let chosen = k_means_plus_plus(&points, 1, Some(&weights), 10, &mut rng(3, Purpose::Candidates, 0));
        let mut sorted = chosen.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..40).step_by(4).collect::<Vec<_>>());
    }

    #[test]
    fn more_centroids_than_different_points() {
        let chosen = k_means_plus_plus(&[1.0, 1.0, 2.0], 1, None, 5, &mut rng(0, Purpose::Seeding, 0));
        assert_eq!(chosen.len(), 5);
        assert!(chosen.contains(&2));
    }

    #[test]
    fn the_number_of_threads_does_not_matter() {
        let points: Vec<f32> = (0..6000).map(|i| (i * 7919 % 1009) as f32 / 10.0).collect();
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| k_means_plus_plus(&points, 2, None, 20, &mut rng(9, Purpose::Seeding, 0)))
        };
        assert_eq!(run(1), run(3));
    }
}
