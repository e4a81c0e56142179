//! Greedy k-means++.

use rand::Rng;
use rayon::prelude::*;

use super::exchange::exchange;
use super::masses::Masses;
use super::near::{Drawn, squares};
use crate::kmeans::kernel::{self, Top, WIDTH};

/// Points per unit of parallel work. Part of the definition of the result: sums are added chunk by chunk, so that they do
/// not depend on the number of threads.
const CHUNK: usize = 1024;

/// Chooses `k` of the points (row-major) as first centroids and gives their indices.
///
/// The first point is drawn by weight (uniformly without weights). Each further one is the best of `2 + floor(ln k)`
/// points (at most 16) drawn with probability proportional to weight times squared distance to the nearest chosen point:
/// the one that leaves the least sum of weighted squared distances. This is scikit-learn's greedy variant of Arthur &
/// Vassilvitskii (2007). Chosen points are then exchanged for better ones while that pays, which finds groups that got no
/// point because another got two (Lattanzi & Sohler 2019). If fewer than `k` points are different, equal points are chosen
/// for the rest.
///
/// Takes O(n k d log k) time at worst; points much nearer to their chosen point than that is to the drawn ones are passed
/// over. The result does not depend on the number of threads.
///
/// # Panics
/// If there are no points, `points` is not a whole number of rows, or the weights are of another number.
pub fn k_means_plus_plus(
    points: &[f32],
    dimension: usize,
    weights: Option<&[f64]>,
    k: usize,
    rng: &mut (impl Rng + Send),
) -> Vec<usize> {
    let n = points.len() / dimension;
    assert!(n > 0 && points.len() == n * dimension, "points are not a whole number of rows");
    assert!(weights.is_none_or(|w| w.len() == n), "one weight per point is needed");
    if k == 0 {
        return Vec::new();
    }
    // Step follows upon step, each divided among threads, which is quicker from one of these.
    rayon::scope(|_| spread(points, dimension, weights, k, rng))
}

/// [`k_means_plus_plus`] of at least one point.
fn spread(points: &[f32], dimension: usize, weights: Option<&[f64]>, k: usize, rng: &mut impl Rng) -> Vec<usize> {
    let n = points.len() / dimension;
    let number = (2 + (k as f64).ln() as usize).min(WIDTH);
    let row = |i: usize| &points[i * dimension..][..dimension];

    let first = Masses::new((0..n).map(|i| weights.map_or(1.0, |w| w[i]))).pick(rng);
    let mut chosen = vec![first];
    let mut chosen_rows = row(first).to_vec();
    let mut chunks: Vec<Chunk<'_>> = points
        .chunks(CHUNK * dimension)
        .enumerate()
        .map(|(i, points)| Chunk::new(points, dimension, weights.map(|w| &w[i * CHUNK..])))
        .collect();
    let drawn = Drawn::new(dimension, row(first));
    chunks.par_iter_mut().for_each(|chunk| chunk.start(&drawn));
    let mut places: Vec<u32> = vec![0];
    let mut apart = Vec::new();
    while chosen.len() < k {
        let masses = Masses::new(chunks.iter().flat_map(Chunk::masses));
        let indices: Vec<usize> = (0..number).map(|_| masses.pick(rng)).collect();
        let drawn = Drawn::new(dimension, &indices.iter().flat_map(|&i| row(i)).copied().collect::<Vec<_>>());
        kernel::trial_distances(&drawn.trials, &chosen_rows, &places, &mut apart);
        let reach: Vec<f32> =
            apart.iter().map(|distances| distances.iter().copied().fold(f32::INFINITY, f32::min)).collect();
        let gains: Vec<[f64; WIDTH]> = chunks.par_iter_mut().map(|chunk| chunk.gains(&drawn, &reach)).collect();
        let mut best = 0;
        let gain = |trial: usize| gains.iter().map(|gains| gains[trial]).sum::<f64>();
        for trial in 1..number {
            if gain(trial) > gain(best) {
                best = trial;
            }
        }
        let place = chosen.len() as u32;
        chunks.par_iter_mut().for_each(|chunk| chunk.choose(best, place));
        places.push(place);
        chosen.push(indices[best]);
        chosen_rows.extend_from_slice(row(indices[best]));
    }
    exchange(points, dimension, weights, chosen, rng)
}

/// Some of the points, and what is known of them.
struct Chunk<'a> {
    points: &'a [f32],
    weights: Option<&'a [f64]>,
    /// Squared length of each point.
    squares: Vec<f64>,
    /// Squared distance of each point to the nearest chosen one.
    nearest: Vec<f32>,
    /// Which that is, as a place among the chosen.
    owner: Vec<u32>,
    /// Points to which one of the drawn may be nearer, and their squared distances to the drawn.
    near: Vec<u32>,
    distances: Vec<[f32; WIDTH]>,
    tops: Vec<Top>,
}

impl<'a> Chunk<'a> {
    fn new(points: &'a [f32], dimension: usize, weights: Option<&'a [f64]>) -> Self {
        let n = points.len() / dimension;
        Self {
            points,
            weights,
            squares: squares(points, dimension),
            nearest: vec![f32::INFINITY; n],
            owner: vec![0; n],
            near: (0..n as u32).collect(),
            distances: Vec::new(),
            tops: Vec::new(),
        }
    }

    fn weight(&self, i: usize) -> f64 {
        self.weights.map_or(1.0, |w| w[i])
    }

    /// Weight times squared distance of each point.
    fn masses(&self) -> impl Iterator<Item = f64> {
        self.nearest.iter().enumerate().map(|(i, &distance2)| self.weight(i) * f64::from(distance2))
    }

    /// Takes the first lane as the first chosen point.
    fn start(&mut self, drawn: &Drawn) {
        kernel::trial_distances(&drawn.trials, self.points, &self.near, &mut self.distances);
        for (nearest, distances) in self.nearest.iter_mut().zip(&self.distances) {
            *nearest = distances[0];
        }
    }

    /// By how much each drawn point would lessen the sum of weighted squared distances. `reach` is the squared distance of
    /// each chosen point to the nearest drawn one.
    fn gains(&mut self, drawn: &Drawn, reach: &[f32]) -> [f64; WIDTH] {
        // By the triangle inequality a point at least twice as far from our chosen point as we are cannot be nearer.
        let near = (0u32..).zip(self.nearest.iter().zip(&self.owner));
        self.near.clear();
        self.near.extend(near.filter(|&(_, (&d2, &owner))| reach[owner as usize] < 4.0 * d2).map(|(i, _)| i));
        drawn.keep(self.points, &self.squares, |i| self.nearest[i], &mut self.near, &mut self.tops);
        kernel::trial_distances(&drawn.trials, self.points, &self.near, &mut self.distances);
        let mut gains = [0.0; WIDTH];
        for (&i, distances) in self.near.iter().zip(&self.distances) {
            let (weight, nearest) = (self.weight(i as usize), self.nearest[i as usize]);
            for (gain, &distance2) in gains.iter_mut().zip(distances) {
                *gain += weight * f64::from(nearest - nearest.min(distance2));
            }
        }
        gains
    }

    /// Notes that a drawn point was chosen in `place`.
    fn choose(&mut self, trial: usize, place: u32) {
        for (&i, distances) in self.near.iter().zip(&self.distances) {
            if distances[trial] < self.nearest[i as usize] {
                self.nearest[i as usize] = distances[trial];
                self.owner[i as usize] = place;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, rng};

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
