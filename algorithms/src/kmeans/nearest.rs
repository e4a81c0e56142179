//! The nearest few centroids of one row.

use super::bounds::{rounding, slack};
use super::{Centroids, kernel, squared_distance};

/// Of fewer centroids, or more than one in so many of them, all distances are taken at once.
const FEW: usize = 32;
const ONE_IN: usize = 4;

/// The `count` nearest centroids and their squared distances, ordered by (distance, index).
///
/// Distances are in `f64`; where two centroids are equally far to within the rounding of `f32`, the first of them may
/// differ from [`assign`](super::assign)'s label.
///
/// # Panics
/// If `row` is of another dimension.
pub fn nearest(centroids: &Centroids, row: &[f32], count: usize) -> Vec<(u32, f64)> {
    let k = centroids.len();
    let possible = if k < FEW || count > k / ONE_IN { None } else { possible(centroids, row, count) };
    let among = possible.unwrap_or_else(|| (0..k as u32).collect());
    let mut all: Vec<(u32, f64)> =
        among.into_iter().map(|i| (i, squared_distance(row, centroids.row(i as usize)))).collect();
    keep_nearest(&mut all, count);
    all
}

/// Keeps the `count` nearest, ordered by (distance, index). O(length + count log count).
pub(crate) fn keep_nearest(all: &mut Vec<(u32, f64)>, count: usize) {
    let order = |a: &(u32, f64), b: &(u32, f64)| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0));
    if count < all.len() {
        if count > 0 {
            all.select_nth_unstable_by(count - 1, order);
        }
        all.truncate(count);
    }
    all.sort_unstable_by(order);
}

/// The centroids that may be among the `count` nearest, by the kernel's scores, which are four times as fast as distances; `None` where
/// these say nothing.
fn possible(centroids: &Centroids, row: &[f32], count: usize) -> Option<Vec<u32>> {
    let (k, d) = (centroids.len(), centroids.dimension());
    let mut scores = vec![0.0; centroids.panels().count() * kernel::WIDTH];
    kernel::scores(centroids.panels(), row, &mut scores);
    scores.truncate(k);
    if !scores.iter().all(|score| score.is_finite()) {
        return None;
    }
    let longest = centroids.panels().longest();
    let length = squared_distance(row, &vec![0.0; d]).sqrt() * (1.0 + slack(d));
    // E of the documentation of `bounds`, and how far distances themselves may be off.
    let score = rounding(d) * longest * (length + 0.5 * longest) + (d + 2) as f64 * f64::from(f32::from_bits(1));
    let distance = slack(d) * (length + longest).powi(2);
    let last = count.checked_sub(1)?;
    let mut sorted = scores.clone();
    let (_, cut, _) = sorted.select_nth_unstable_by(last, |a, b| b.total_cmp(a));
    let least = f64::from(*cut) - 2.0 * (score + distance);
    // Not so where something overflowed.
    least.is_finite().then(|| (0u32..).zip(scores).filter(|&(_, s)| f64::from(s) >= least).map(|(i, _)| i).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::random::{Purpose, Stream};

    #[test]
    fn nearest_is_ordered_by_distance_then_index() {
        let centroids = Centroids::new(1, vec![4.0, 0.0, -2.0, 2.0, 4.0]);
        assert_eq!(nearest(&centroids, &[3.0], 3), [(0, 1.0), (3, 1.0), (4, 1.0)]);
        assert_eq!(nearest(&centroids, &[0.5], 9).iter().map(|&(i, _)| i).collect::<Vec<_>>(), [1, 3, 2, 0, 4]);
        assert_eq!(nearest(&centroids, &[3.0], 1), [(0, 1.0)]);
        assert_eq!(nearest(&centroids, &[3.0], 0), []);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn same_as_taking_all_distances(
            k in 1usize..200, d in 1usize..40, count in 0usize..30, salt: u64, exponent in -25i32..19, away in 0i32..12, whole: bool,
        ) {
            let stream = Stream::new(salt, Purpose::Generate, 0);
            let number = |i: usize| if whole {
                (stream.hash(i as u64) % 3) as f32 - 1.0
            } else {
                (stream.uniform(i as u64) as f32 - 0.5) * 10f32.powi(exponent)
            };
            let centroids = Centroids::new(d, (0..k * d).map(number).collect());
            let row: Vec<f32> = (0..d).map(|j| number((1 << 30) + j) * 10f32.powi(away)).collect();
            let mut all: Vec<(u32, f64)> =
                (0..k).map(|i| (i as u32, squared_distance(&row, centroids.row(i)))).collect();
            all.sort_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
            all.truncate(count);
            prop_assert_eq!(nearest(&centroids, &row, count), all);
        }
    }
}
