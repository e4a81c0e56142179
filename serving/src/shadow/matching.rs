//! The one-to-one matching of the clusters of two models that keeps most rows together: an assignment problem.

use std::collections::{BTreeMap, BTreeSet};

/// Clusters of either model up to which the best matching is found; it takes some ten milliseconds for so many.
const EXACT: usize = 256;

/// Rows that stay together when each cluster is matched with at most one of the other model. With more clusters than are matched exactly, pairs are taken
/// by their counts: that is at least half of the best, and nearly all of it for models that are alike.
pub(super) fn weight(pairs: &[(u32, u32, u64)]) -> u64 {
    let number = |clusters: BTreeSet<u32>| clusters.into_iter().zip(0..).collect::<BTreeMap<u32, usize>>();
    let ones = number(pairs.iter().map(|pair| pair.0).collect());
    let others = number(pairs.iter().map(|pair| pair.1).collect());
    if ones.len().max(others.len()) > EXACT {
        return greedy(pairs);
    }
    let size = ones.len().max(others.len());
    let mut gains = vec![vec![0; size]; size];
    for (one, other, count) in pairs {
        let place = ones.get(one).zip(others.get(other));
        if let Some(gain) = place.and_then(|(one, other)| gains.get_mut(*one)?.get_mut(*other)) {
            *gain += i64::try_from(*count).unwrap_or(i64::MAX);
        }
    }
    u64::try_from(best(&gains)).unwrap_or_default()
}

/// Takes the pair with the greatest count of those whose clusters are free, again and again.
fn greedy(pairs: &[(u32, u32, u64)]) -> u64 {
    let mut pairs = pairs.to_vec();
    pairs.sort_unstable_by_key(|&(one, other, count)| (std::cmp::Reverse(count), one, other));
    let (mut ones, mut others) = (BTreeSet::new(), BTreeSet::new());
    let mut weight = 0;
    for (one, other, count) in pairs {
        if !ones.contains(&one) && !others.contains(&other) {
            ones.insert(one);
            others.insert(other);
            weight += count;
        }
    }
    weight
}

/// Greatest sum of a square matrix with one entry from each row and column: the Hungarian method with potentials, row by row
/// (Kuhn 1955, Munkres 1957), in O(n^3).
#[allow(clippy::indexing_slicing)] // all indices are below the matrix's size, or that plus one
fn best(gains: &[Vec<i64>]) -> i64 {
    let n = gains.len();
    // Places count from 1; column 0 holds the row that is being placed.
    let (mut of_row, mut of_column) = (vec![0_i64; n + 1], vec![0_i64; n + 1]);
    let mut row_at = vec![0_usize; n + 1];
    for row in 1..=n {
        row_at[0] = row;
        let mut column = 0;
        let mut slack = vec![i64::MAX; n + 1];
        let mut from = vec![0_usize; n + 1];
        let mut seen = vec![false; n + 1];
        // The shortest path to a free column.
        while row_at[column] != 0 {
            seen[column] = true;
            let (at, mut least, mut next) = (row_at[column], i64::MAX, 0);
            for other in (1..=n).filter(|other| !seen[*other]) {
                // Costs are negative gains.
                let reduced = -gains[at - 1][other - 1] - of_row[at] - of_column[other];
                if reduced < slack[other] {
                    (slack[other], from[other]) = (reduced, column);
                }
                if slack[other] < least {
                    (least, next) = (slack[other], other);
                }
            }
            for other in 0..=n {
                if seen[other] {
                    of_row[row_at[other]] += least;
                    of_column[other] -= least;
                } else if slack[other] != i64::MAX {
                    slack[other] -= least;
                }
            }
            column = next;
        }
        // Rows along the path move over.
        while column != 0 {
            let before = from[column];
            row_at[column] = row_at[before];
            column = before;
        }
    }
    (1..=n).map(|column| gains[row_at[column] - 1][column - 1]).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// All permutations.
    fn slow(gains: &[Vec<i64>], row: usize, taken: &mut Vec<bool>) -> i64 {
        if row == gains.len() {
            return 0;
        }
        let mut most = 0;
        for column in 0..gains.len() {
            if !taken[column] {
                taken[column] = true;
                most = most.max(gains[row][column] + slow(gains, row + 1, taken));
                taken[column] = false;
            }
        }
        most
    }

    fn square() -> impl Strategy<Value = Vec<Vec<i64>>> {
        (0_usize..7).prop_flat_map(|n| prop::collection::vec(prop::collection::vec(0_i64..20, n), n))
    }

    fn pairs() -> impl Strategy<Value = Vec<(u32, u32, u64)>> {
        prop::collection::btree_map((0_u32..9, 0_u32..9), 1_u64..50, 0..30)
            .prop_map(|counts| counts.into_iter().map(|((one, other), count)| (one, other, count)).collect())
    }

    proptest! {
        #[test]
        fn the_best_matching_is_that_of_all_permutations(gains in square()) {
            prop_assert_eq!(best(&gains), slow(&gains, 0, &mut vec![false; gains.len()]));
        }

        #[test]
        fn taking_the_greatest_first_is_at_most_and_at_least_half_of_the_best(pairs in pairs()) {
            let (greedy, best) = (greedy(&pairs), weight(&pairs));
            prop_assert!(greedy <= best && 2 * greedy >= best, "{} of {}", greedy, best);
        }
    }

    #[test]
    fn nothing_has_no_weight() {
        assert_eq!(weight(&[]), 0);
    }

    #[test]
    fn clusters_of_different_number_are_matched() {
        // Cluster 0 is split; 7 is matched with what is left.
        assert_eq!(weight(&[(0, 5, 30), (0, 6, 20), (7, 6, 4), (7, 5, 9)]), 34);
    }

    #[test]
    fn many_clusters_are_matched_too() {
        let pairs: Vec<_> = (0..1000).map(|cluster| (cluster, 999 - cluster, 3)).collect();
        assert_eq!(weight(&pairs), 3000);
    }
}
