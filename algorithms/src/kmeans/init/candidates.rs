//! Which candidate of k-means|| is nearest to each row.

use crate::kmeans::{Centroids, assign, squared_distance};

/// Lets rows (row-major) go to the nearest candidate of another batch, where that is nearer than the nearest one so far.
///
/// `owners` are numbers of candidates and `distances` the squared distances to them, infinite before the first batch; `first` is the
/// number of the batch's first candidate. At equal distances a row stays with the earlier candidate. So the owners after the
/// last batch tell how many rows each candidate stands for, without another look at the rows. `labels` is memory that is used
/// again from call to call. O(rows x batch x d).
///
/// # Panics
/// If the shapes do not agree.
pub fn lower(
    batch: &Centroids,
    first: u32,
    rows: &[f32],
    distances: &mut [f32],
    owners: &mut [u32],
    labels: &mut Vec<u32>,
) {
    assert!(distances.len() == owners.len(), "distances and owners disagree");
    labels.resize(owners.len(), 0);
    assign(batch, rows, labels);
    let known = distances.iter_mut().zip(owners);
    for ((row, (distance, owner)), &label) in rows.chunks_exact(batch.dimension()).zip(known).zip(&*labels) {
        let found = squared_distance(row, batch.row(label as usize)) as f32;
        if found < *distance {
            (*distance, *owner) = (found, first + label);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::random::{Purpose, Stream};

    proptest! {
        /// Against all candidates, one by one; batches of any size.
        #[test]
        #[cfg_attr(miri, ignore = "slow")]
        fn the_nearest_of_all_batches_is_kept(
            d in 1usize..20, n in 1usize..100, sizes in prop::collection::vec(1usize..20, 1..5), seed: u64,
        ) {
            let stream = Stream::new(seed, Purpose::Generate, 0);
            let number = |i: usize| (stream.uniform(i as u64) - 0.5) as f32;
            let rows: Vec<f32> = (0..n * d).map(number).collect();
            let m: usize = sizes.iter().sum();
            let candidates: Vec<f32> = (0..m * d).map(|i| number(n * d + i)).collect();
            let (mut distances, mut owners, mut labels) = (vec![f32::INFINITY; n], vec![0; n], Vec::new());
            let mut first = 0;
            for size in sizes {
                let batch = Centroids::new(d, candidates[first * d..(first + size) * d].to_vec());
                lower(&batch, first as u32, &rows, &mut distances, &mut owners, &mut labels);
                first += size;
            }
            for (row, (&distance, &owner)) in rows.chunks_exact(d).zip(distances.iter().zip(&owners)) {
                let all: Vec<f64> = candidates.chunks_exact(d).map(|c| squared_distance(row, c)).collect();
                let least = all.iter().copied().fold(f64::INFINITY, f64::min);
                prop_assert_eq!(distance, all[owner as usize] as f32);
                prop_assert!(all[owner as usize] <= least + 1e-5 * (1.0 + least));
            }
        }
    }

    #[test]
    fn the_earlier_of_equal_candidates_keeps_a_row() {
        let (mut distances, mut owners) = ([f32::INFINITY], [0]);
        for (first, at) in [(0, 5.0), (1, 2.0), (2, 2.0), (3, -2.0)] {
            lower(&Centroids::new(1, vec![at]), first, &[0.0], &mut distances, &mut owners, &mut Vec::new());
        }
        assert_eq!((distances, owners), ([4.0], [1]));
    }
}
