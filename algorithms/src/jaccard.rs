//! Distances of sets, as rows of zeros and ones with a column per possible member.
//!
//! A centroid of such rows is the share of them that have each member, so distances are taken in a form that knows weights
//! between 0 and 1 as well. Straight-line distances say nothing about them: here all centroids are looked at, in the columns
//! of the row's members only.

use crate::kmeans::{Centroids, keep_nearest};
use crate::lanes;

/// The weighted Jaccard distance of two rows without negative values, 1 - sum(min) / sum(max); 0 for two rows of zeros.
///
/// For rows of zeros and ones it is the Jaccard distance, the share of the members of two sets that only one of them has
/// (Jaccard, "The distribution of the flora in the alpine zone", New Phytologist 11, 1912); with weights it goes by the
/// name of Ruzicka (Biologia Bratislava 13, 1958). It is a metric, from 0 to 1. Sums are in `f64` in a fixed order; of
/// zeros and ones they are exact. O(d).
///
/// # Panics
/// If the rows are of different dimensions.
pub fn distance(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len(), "rows of different dimensions");
    of_sums(lanes::overlap(a, b), lanes::total(a), lanes::total(b))
}

/// The distance of rows with these sums, the first of their lesser values.
fn of_sums(both: f64, a: f64, b: f64) -> f64 {
    // The greater value of two is their sum without the lesser.
    let either = a + b - both;
    if either > 0.0 { ((either - both) / either).clamp(0.0, 1.0) } else { 0.0 }
}

/// Finds the centroids nearest to sets. It keeps the sum of each centroid, and is asked with the centroids it was made of.
#[derive(Clone, Debug)]
pub struct SetFinder {
    totals: Vec<f64>,
}

/// A row by its columns that are not 0, ascending.
struct Sparse {
    weights: Vec<(usize, f32)>,
    total: f64,
}

impl Sparse {
    fn of(row: &[f32]) -> Self {
        let weights = row.iter().copied().enumerate().filter(|&(_, value)| value != 0.0).collect();
        Self { weights, total: lanes::total(row) }
    }

    /// As [`lanes::overlap`] of whole rows, which adds zeros elsewhere: the same bits.
    fn overlap(&self, other: &[f32]) -> f64 {
        let mut sums = [0.0; lanes::LANES];
        for &(column, value) in &self.weights {
            let there = other[column];
            sums[column % lanes::LANES] += f64::from(if value < there { value } else { there });
        }
        lanes::fold(sums)
    }
}

impl SetFinder {
    /// Prepares to look at these centroids, which have no negative values. O(k d).
    pub fn new(centroids: &Centroids) -> Self {
        Self { totals: (0..centroids.len()).map(|i| lanes::total(centroids.row(i))).collect() }
    }

    /// The [`distance`] of a row to each centroid.
    fn distances(&self, centroids: &Centroids, row: &[f32]) -> impl Iterator<Item = f64> {
        assert_eq!(row.len(), centroids.dimension(), "a row of another dimension");
        assert_eq!(self.totals.len(), centroids.len(), "other centroids");
        let row = Sparse::of(row);
        let totals = self.totals.iter().enumerate();
        totals.map(move |(i, &total)| of_sums(row.overlap(centroids.row(i)), row.total, total))
    }

    /// The `count` nearest centroids and their distances, ordered by (distance, index). O(d + k members).
    ///
    /// # Panics
    /// If `row` is of another dimension, or there are not as many centroids as this was made of.
    pub fn nearest(&self, centroids: &Centroids, row: &[f32], count: usize) -> Vec<(u32, f64)> {
        let mut all: Vec<(u32, f64)> = (0..).zip(self.distances(centroids, row)).collect();
        keep_nearest(&mut all, count);
        all
    }

    /// Of each row (row-major) the index of the nearest centroid, ties to the lower one.
    ///
    /// # Panics
    /// If the shapes do not agree.
    pub fn assign(&self, centroids: &Centroids, rows: &[f32], best: &mut [u32]) {
        self.assign_two(centroids, rows, best, &mut vec![0; best.len()]);
    }

    /// Of each row (row-major) the index of the nearest centroid and of the second nearest, `u32::MAX` if there is only one;
    /// ties go to the lower index.
    ///
    /// # Panics
    /// If the shapes do not agree.
    pub fn assign_two(&self, centroids: &Centroids, rows: &[f32], best: &mut [u32], second: &mut [u32]) {
        let d = centroids.dimension();
        assert!(rows.len() == best.len() * d && best.len() == second.len(), "rows and labels disagree");
        for ((row, best), second) in rows.chunks_exact(d).zip(best).zip(second) {
            let mut nearest = [(f64::INFINITY, u32::MAX); 2];
            for (i, distance) in (0..).zip(self.distances(centroids, row)) {
                if distance < nearest[0].0 {
                    nearest = [(distance, i), nearest[0]];
                } else if distance < nearest[1].0 {
                    nearest[1] = (distance, i);
                }
            }
            (*best, *second) = (nearest[0].1, nearest[1].1);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::lsh::jaccard_distance;
    use crate::random::{Purpose, Stream};

    /// The definition, column by column.
    fn naive(a: &[f32], b: &[f32]) -> f64 {
        let sum = |term: fn(f64, f64) -> f64| a.iter().zip(b).map(|(&a, &b)| term(a.into(), b.into())).sum::<f64>();
        let either = sum(f64::max);
        if either == 0.0 { 0.0 } else { 1.0 - sum(f64::min) / either }
    }

    fn row(set: &BTreeSet<u32>, d: usize) -> Vec<f32> {
        (0..d as u32).map(|member| f32::from(u8::from(set.contains(&member)))).collect()
    }

    /// Shares, of which some are 0 or 1, in rows that are empty now and then.
    fn shares(salt: u64, n: usize, d: usize) -> Vec<f32> {
        let stream = Stream::new(salt, Purpose::Generate, 0);
        let value = |i: usize| match stream.hash(i as u64) % 6 {
            0..3 => 0.0,
            3 => 1.0,
            _ => stream.uniform((1 << 40) + i as u64) as f32,
        };
        (0..n * d)
            .map(|i| if stream.hash((1 << 50) + (i / d) as u64).is_multiple_of(7) { 0.0 } else { value(i) })
            .collect()
    }

    proptest! {
        #[test]
        fn of_zeros_and_ones_it_is_that_of_sets(
            a in prop::collection::btree_set(0u32..40, 0..25), b in prop::collection::btree_set(0u32..40, 0..25), d in 40usize..60,
        ) {
            let ids = |set: &BTreeSet<u32>| set.iter().copied().collect::<Vec<_>>();
            let found = distance(&row(&a, d), &row(&b, d));
            prop_assert_eq!(found, jaccard_distance(&ids(&a), &ids(&b)));
            let (both, either) = (a.intersection(&b).count(), a.union(&b).count());
            let expected = if either == 0 { 0.0 } else { 1.0 - both as f64 / either as f64 };
            prop_assert!((found - expected).abs() < 1e-15);
        }

        #[test]
        fn of_weights_it_is_the_definition_and_a_metric(d in 1usize..50, salt: u64) {
            let rows = shares(salt, 3, d);
            let [a, b, c] = [&rows[..d], &rows[d..2 * d], &rows[2 * d..]];
            prop_assert!((distance(a, b) - naive(a, b)).abs() < 1e-12);
            prop_assert_eq!(distance(a, b), distance(b, a));
            prop_assert_eq!(distance(a, a), 0.0);
            prop_assert!(distance(a, c) <= distance(a, b) + distance(b, c) + 1e-12);
        }

        #[test]
        fn a_finder_finds_what_all_distances_say(k in 1usize..30, d in 1usize..40, n in 1usize..12, count in 0usize..35, salt: u64) {
            let centroids = Centroids::new(d, shares(salt, k, d));
            let rows = shares(!salt, n, d);
            let finder = SetFinder::new(&centroids);
            let (mut best, mut second) = (vec![0; n], vec![0; n]);
            finder.assign_two(&centroids, &rows, &mut best, &mut second);
            for (i, row) in rows.chunks_exact(d).enumerate() {
                let mut all: Vec<(u32, f64)> = (0..k).map(|i| (i as u32, distance(row, centroids.row(i)))).collect();
                all.sort_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
                let mut alone = [0];
                finder.assign(&centroids, row, &mut alone);
                prop_assert_eq!(alone[0], best[i]);
                prop_assert_eq!((best[i], second[i]), (all[0].0, all.get(1).map_or(u32::MAX, |second| second.0)));
                all.truncate(count);
                prop_assert_eq!(finder.nearest(&centroids, row, count), all);
            }
        }
    }

    #[test]
    fn a_centroid_is_nearer_to_a_row_with_the_members_that_most_of_its_rows_have() {
        let share = [1.0, 1.0, 0.5, 0.0];
        assert_eq!(distance(&[1.0, 1.0, 0.0, 0.0], &share), 0.2);
        assert_eq!(distance(&[1.0, 1.0, 1.0, 0.0], &share), 0.5 / 3.0);
        assert_eq!(distance(&[0.0, 0.0, 0.0, 1.0], &share), 1.0);
        assert_eq!(distance(&[0.0; 4], &share), 1.0);
        assert_eq!(distance(&[0.0; 4], &[0.0; 4]), 0.0);
    }
}
