//! Local search: exchanges chosen points for better ones.

use rand::Rng;
use rayon::prelude::*;

use super::masses::Masses;
use super::near::{Drawn, squares};
use crate::kmeans::kernel::{self, Top, WIDTH};
use crate::kmeans::{Centroids, assign_two, squared_distance};

/// Units of parallel work, few as each has k sums, and least points of one. Part of the definition of the result, as in
/// k-means++.
const PARTS: usize = 16;
const LEAST: usize = 1024;
/// An exchange must lessen the sum by this part of a cluster's average share.
const WORTH: f64 = 0.1;
/// Draws without a worthwhile exchange, one after the other, that end the search.
const PATIENCE: usize = 6;

/// Improves a choice of points, given by their indices, by exchanges of a chosen point for another (Lattanzi & Sohler, "A
/// better k-means++ algorithm via local search", ICML 2019).
///
/// Sixteen points are drawn with probability proportional to weight times squared distance to the nearest chosen point. For
/// each, the chosen point is found whose exchange for it leaves the least sum of weighted squared distances, and those
/// exchanges are made that are worth it, best first, as long as they are apart from each other. The search ends when six
/// times in a row none lessens the sum by a tenth of a cluster's average share, after some `k` exchanges at most.
pub(super) fn exchange(
    points: &[f32],
    dimension: usize,
    weights: Option<&[f64]>,
    mut chosen: Vec<usize>,
    rng: &mut impl Rng,
) -> Vec<usize> {
    let k = chosen.len();
    if k < 2 {
        return chosen;
    }
    let row = |i: usize| &points[i * dimension..][..dimension];
    let size = (points.len() / dimension).div_ceil(PARTS).max(LEAST);
    let mut parts: Vec<Part<'_>> = points
        .chunks(size * dimension)
        .enumerate()
        .map(|(i, points)| Part::new(points, dimension, weights.map(|w| &w[i * size..]), k))
        .collect();
    let mut rows: Vec<f32> = chosen.iter().flat_map(|&i| row(i)).copied().collect();
    let centroids = Centroids::new(dimension, rows.clone());
    parts.par_iter_mut().for_each(|part| part.start(&centroids));
    let places: Vec<u32> = (0..k as u32).collect();
    let (mut apart, mut outcome) = (Vec::new(), Outcome::new(k));
    let (mut made, mut failures) = (0, 0);
    while made < k && failures < PATIENCE {
        let masses = Masses::new(parts.iter().flat_map(Part::masses));
        if masses.total() <= 0.0 {
            break;
        }
        let indices: [usize; WIDTH] = std::array::from_fn(|_| masses.pick(rng));
        let drawn = Drawn::new(dimension, &indices.iter().flat_map(|&i| row(i)).copied().collect::<Vec<_>>());
        kernel::trial_distances(&drawn.trials, &rows, &places, &mut apart);
        let reach: Vec<f32> =
            apart.iter().map(|distances| distances.iter().copied().fold(f32::INFINITY, f32::min)).collect();
        parts.par_iter_mut().for_each(|part| part.judge(&drawn, &reach));
        outcome.clear();
        parts.iter().for_each(|part| outcome.add(&part.outcome));
        let owner = |trial: usize| parts[indices[trial] / size].owners[indices[trial] % size][0] as usize;
        let exchanges = outcome.worth(WORTH * masses.total() / k as f64, owner);
        if exchanges.is_empty() {
            failures += 1;
            continue;
        }
        (made, failures) = (made + exchanges.len(), 0);
        for &(place, trial) in &exchanges {
            chosen[place] = indices[trial];
            rows[place * dimension..][..dimension].copy_from_slice(row(indices[trial]));
        }
        let centroids = Centroids::new(dimension, rows.clone());
        parts.par_iter_mut().for_each(|part| part.exchange(&centroids, &exchanges));
    }
    chosen
}

/// What exchanges would change in the sum of weighted squared distances.
struct Outcome {
    /// By how much each drawn point lessens it.
    gains: [f64; WIDTH],
    /// By how much it then grows without each of the chosen points.
    losses: Vec<[f64; WIDTH]>,
}

impl Outcome {
    fn new(k: usize) -> Self {
        Self { gains: [0.0; WIDTH], losses: vec![[0.0; WIDTH]; k] }
    }

    fn clear(&mut self) {
        self.gains = [0.0; WIDTH];
        self.losses.fill([0.0; WIDTH]);
    }

    fn add(&mut self, other: &Self) {
        let lines = self.losses.iter_mut().zip(&other.losses).chain([(&mut self.gains, &other.gains)]);
        for (ours, theirs) in lines {
            ours.iter_mut().zip(theirs).for_each(|(ours, theirs)| *ours += theirs);
        }
    }

    /// Exchanges, of which chosen for which drawn point, that each lessen the sum by more than `least`; best first, and apart
    /// from each other: `owner` gives the chosen point nearest to a drawn one, and none has part in two exchanges.
    fn worth(&self, least: f64, owner: impl Fn(usize) -> usize) -> Vec<(usize, usize)> {
        let mut best: Vec<(f64, usize, usize)> = (0..WIDTH)
            .filter_map(|trial| {
                let of = |(place, losses): (usize, &[f64; WIDTH])| (self.gains[trial] - losses[trial], place, trial);
                self.losses.iter().enumerate().map(of).reduce(|a, b| if b.0 > a.0 { b } else { a })
            })
            .filter(|&(gain, ..)| gain > least)
            .collect();
        best.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.2.cmp(&b.2)));
        let mut taken = vec![false; self.losses.len()];
        let apart = |&(_, place, trial): &(f64, usize, usize)| {
            let free = !taken[place] && !taken[owner(trial)];
            if free {
                (taken[place], taken[owner(trial)]) = (true, true);
            }
            free
        };
        best.retain(apart);
        best.into_iter().map(|(_, place, trial)| (place, trial)).collect()
    }
}

/// Some of the points, and the two chosen points that are nearest to each.
struct Part<'a> {
    points: &'a [f32],
    dimension: usize,
    weights: Option<&'a [f64]>,
    /// Squared length of each point.
    squares: Vec<f64>,
    /// Places among the chosen, nearer one first, and squared distances.
    owners: Vec<[u32; 2]>,
    distances: Vec<[f32; 2]>,
    outcome: Outcome,
    /// Points to which a drawn one may be nearer than the second chosen one, and their squared distances to the drawn.
    near: Vec<u32>,
    trials: Vec<[f32; WIDTH]>,
    tops: Vec<Top>,
}

impl<'a> Part<'a> {
    fn new(points: &'a [f32], dimension: usize, weights: Option<&'a [f64]>, k: usize) -> Self {
        let n = points.len() / dimension;
        let (owners, distances) = (vec![[0; 2]; n], vec![[0.0; 2]; n]);
        let squares = squares(points, dimension);
        let (near, trials, tops) = (Vec::new(), Vec::new(), Vec::new());
        Self { points, dimension, weights, squares, owners, distances, outcome: Outcome::new(k), near, trials, tops }
    }

    /// Weight times squared distance of each point.
    fn masses(&self) -> impl Iterator<Item = f64> {
        let weight = |i: usize| self.weights.map_or(1.0, |w| w[i]);
        self.distances.iter().enumerate().map(move |(i, distances)| weight(i) * f64::from(distances[0]))
    }

    fn start(&mut self, chosen: &Centroids) {
        let all: Vec<u32> = (0..self.owners.len() as u32).collect();
        self.find(chosen, &all);
    }

    /// Finds the two nearest chosen points of some points.
    fn find(&mut self, chosen: &Centroids, points: &[u32]) {
        let row = |i: u32| &self.points[i as usize * self.dimension..][..self.dimension];
        let rows: Vec<f32> = points.iter().flat_map(|&i| row(i)).copied().collect();
        let (mut first, mut second) = (vec![0; points.len()], vec![0; points.len()]);
        assign_two(chosen, &rows, &mut first, &mut second);
        for (&i, owners) in points.iter().zip(first.into_iter().zip(second)) {
            let owners = [owners.0, owners.1];
            let distances = owners.map(|owner| squared_distance(row(i), chosen.row(owner as usize)) as f32);
            let [near, far] = if distances[1] < distances[0] { [1, 0] } else { [0, 1] };
            self.owners[i as usize] = [owners[near], owners[far]];
            self.distances[i as usize] = [distances[near], distances[far]];
        }
    }

    /// Finds out what exchanges for the drawn points would change. `reach` is the squared distance of each chosen point to the nearest
    /// drawn one.
    fn judge(&mut self, drawn: &Drawn, reach: &[f32]) {
        // By the triangle inequality: farther from our chosen point than we are plus the second chosen one.
        let may = |(owners, distances): (&[u32; 2], &[f32; 2])| {
            let sum = distances[0].sqrt() + distances[1].sqrt();
            reach[owners[0] as usize] < sum * sum
        };
        let all = (0u32..).zip(self.owners.iter().zip(&self.distances));
        self.near.clear();
        self.near.extend(all.filter(|&(_, known)| may(known)).map(|(i, _)| i));
        drawn.keep(self.points, &self.squares, |i| self.distances[i][1], &mut self.near, &mut self.tops);
        kernel::trial_distances(&drawn.trials, self.points, &self.near, &mut self.trials);
        self.outcome.clear();
        let weight = |i: usize| self.weights.map_or(1.0, |w| w[i]);
        let Outcome { gains, losses } = &mut self.outcome;
        for (i, (owners, &[first, second])) in self.owners.iter().zip(&self.distances).enumerate() {
            let loss = weight(i) * f64::from(second - first);
            losses[owners[0] as usize].iter_mut().for_each(|sum| *sum += loss);
        }
        for (&i, trials) in self.near.iter().zip(&self.trials) {
            let i = i as usize;
            let (weight, [first, second]) = (weight(i), self.distances[i]);
            let losses = &mut losses[self.owners[i][0] as usize];
            for ((gain, loss), &trial) in gains.iter_mut().zip(losses).zip(trials) {
                let nearer = first - first.min(trial);
                *gain += weight * f64::from(nearer);
                // Without its own chosen point, it would go to the drawn one if that is nearer than the second.
                *loss += weight * (f64::from(nearer) - f64::from(second - second.min(trial)));
            }
        }
    }

    /// Notes that chosen points, by their places, gave way to drawn ones.
    fn exchange(&mut self, chosen: &Centroids, exchanges: &[(usize, usize)]) {
        let comes = |i: u32, trials: &[f32; WIDTH]| {
            let second = self.distances[i as usize][1];
            exchanges.iter().any(|&(_, trial)| trials[trial] < second)
        };
        let near = self.near.iter().zip(&self.trials);
        let mut touched: Vec<u32> = near.filter(|(i, trials)| comes(**i, trials)).map(|(&i, _)| i).collect();
        let goes = |owner: &u32| exchanges.iter().any(|&(place, _)| place == *owner as usize);
        touched.extend((0u32..).zip(&self.owners).filter(|(_, owners)| owners.iter().any(goes)).map(|(i, _)| i));
        touched.sort_unstable();
        touched.dedup();
        self.find(chosen, &touched);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::random::{Purpose, rng};

    /// The sum of weighted squared distances to the nearest chosen point.
    fn sum(points: &[f32], d: usize, weights: &[f64], chosen: &[f32]) -> f64 {
        let nearest = |point: &[f32]| {
            chosen.chunks_exact(d).map(|row| squared_distance(point, row)).fold(f64::INFINITY, f64::min)
        };
        points.chunks_exact(d).zip(weights).map(|(point, weight)| weight * nearest(point)).sum()
    }

    proptest! {
        /// Against sums made afresh, before and after an exchange.
        #[test]
        #[cfg_attr(miri, ignore = "slow")]
        fn outcomes_equal_sums_made_afresh(
            d in 1usize..20, k in 2usize..20, n in 20usize..200, seed: u64, steps in 1usize..4,
        ) {
            let stream = crate::random::Stream::new(seed, Purpose::Generate, 0);
            let points: Vec<f32> = (0..n * d).map(|i| (stream.uniform(i as u64) - 0.5) as f32).collect();
            let weights: Vec<f64> = (0..n).map(|i| (i % 4) as f64).collect();
            let row = |i: usize| &points[i * d..][..d];
            let mut rows = points[..k * d].to_vec();
            let mut part = Part::new(&points, d, Some(&weights), k);
            part.start(&Centroids::new(d, rows.clone()));
            for step in 0..steps {
                let drawn: [usize; WIDTH] = std::array::from_fn(|lane| (lane * 7 + step * 3 + k) % n);
                let packed = Drawn::new(d, &drawn.iter().flat_map(|&i| row(i)).copied().collect::<Vec<_>>());
                let nearest = |chosen: &[f32]| {
                    let distance = |&i: &usize| squared_distance(row(i), chosen) as f32;
                    drawn.iter().map(distance).fold(f32::INFINITY, f32::min)
                };
                let reach: Vec<f32> = rows.chunks_exact(d).map(nearest).collect();
                part.judge(&packed, &reach);
                let outcome = &part.outcome;
                let before = sum(&points, d, &weights, &rows);
                for place in 0..k {
                    for (trial, &point) in drawn.iter().enumerate() {
                        let mut other = rows.clone();
                        other[place * d..][..d].copy_from_slice(row(point));
                        let gain = before - sum(&points, d, &weights, &other);
                        let ours = outcome.gains[trial] - outcome.losses[place][trial];
                        prop_assert!((ours - gain).abs() <= 1e-5 * (before + gain.abs()), "{ours} is not {gain}");
                    }
                }
                let owner = |trial: usize| part.owners[drawn[trial]][0] as usize;
                let exchanges = outcome.worth(f64::NEG_INFINITY, owner);
                for &(place, trial) in &exchanges {
                    rows[place * d..][..d].copy_from_slice(row(drawn[trial]));
                }
                part.exchange(&Centroids::new(d, rows.clone()), &exchanges);
                let after: f64 = part.masses().sum();
                let afresh = sum(&points, d, &weights, &rows);
                prop_assert!((after - afresh).abs() <= 1e-5 * (before + afresh), "{after} is not {afresh}");
            }
        }
    }

    #[test]
    fn a_group_without_a_point_takes_one_from_a_group_with_two() {
        let points: Vec<f32> = (0..90).map(|i| (i % 3) as f32 * 100.0 + (i / 3) as f32 * 0.1).collect();
        for seed in 0..20 {
            let mut chosen = exchange(&points, 1, None, vec![0, 1, 3], &mut rng(seed, Purpose::Seeding, 0));
            chosen.iter_mut().for_each(|i| *i %= 3);
            chosen.sort_unstable();
            assert_eq!(chosen, [0, 1, 2]);
        }
    }

    #[test]
    fn nothing_is_exchanged_where_all_points_are_chosen() {
        let chosen = exchange(&[1.0, 2.0, 2.0], 1, None, vec![0, 1, 2], &mut rng(0, Purpose::Seeding, 0));
        assert_eq!(chosen, [0, 1, 2]);
        assert_eq!(exchange(&[1.0, 2.0], 1, None, vec![1], &mut rng(0, Purpose::Seeding, 0)), [1]);
    }
}
