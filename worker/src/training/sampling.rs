//! Which rows are sampled, a bounded number at a time.
//!
//! The sample is the rows with the smallest hashes. Every thread could keep so many of its own, but rows may be so wide that they
//! take a quarter of a gigabyte, per thread. So they are drawn range by range of the hashes, of which each is met by some 16 MiB
//! of all workers' rows together, hashes being spread evenly. That is one range, and no pass over the rows of its own, unless rows are
//! very wide.

use coterie_algorithms::{
    kmeans::init::Sample,
    random::{Purpose, hash},
};
use serde::{Deserialize, Serialize};

/// Most bytes of sampled rows.
const SAMPLED: usize = 256 << 20;
/// Bytes of rows in a range, about.
const PIECE: u64 = 16 << 20;

/// Rows of the sample where `asked` are asked for: no more than there is room for. Depends on nothing else, so that the same
/// rows are sampled however the run goes.
#[must_use]
pub fn sample_rows(asked: usize, dimension: usize) -> usize {
    asked.min((SAMPLED / size_of::<f32>() / dimension.max(1)).max(1))
}

/// A range of hashes; rows whose hash is in it may be sampled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draw {
    /// The least.
    first: u64,
    /// The greatest.
    last: u64,
}

impl Draw {
    /// The range behind `before`, or the first, for a sample that lacks `missing` of `population` rows of so many columns; none once
    /// nothing is missing or all rows were met.
    #[must_use]
    pub fn next(before: Option<Self>, missing: u64, population: u64, dimension: usize) -> Option<Self> {
        let first = before.map_or(Some(0), |before| before.last.checked_add(1)).filter(|_| missing > 0)?;
        // Six standard deviations more than are missing: that too few are met hardly ever happens, and costs another pass.
        let wanted = missing + 6 * missing.isqrt() + 6;
        let room = PIECE / (size_of::<f32>() as u64 * dimension.max(1) as u64);
        let width = (u128::from(wanted.min(room).max(1)) << 64) / u128::from(population.max(1));
        let last = u128::from(first) + width.max(1) - 1;
        Some(Self { first, last: u64::try_from(last).unwrap_or(u64::MAX) })
    }

    /// What a row is drawn by, if it is met. `seed` is that of the run.
    #[must_use]
    pub fn key(self, seed: u64, ordinal: u64) -> Option<u64> {
        Some(hash(seed, Purpose::Evaluation, 0, ordinal)).filter(|key| (self.first..=self.last).contains(key))
    }
}

/// Offers a row to a sample, in which its label follows it as the last value. `buffer` is scratch space.
pub fn offer(sample: &mut Sample, (key, ordinal): (u64, u64), row: &[f32], label: u32, buffer: &mut Vec<f32>) {
    if sample.admits(key, ordinal) {
        buffer.clear();
        buffer.extend_from_slice(row);
        // Labels are far below 2^24 in a sample that is scored, and restored from the bits in any case.
        buffer.push(f32::from_bits(label));
        sample.offer(key, ordinal, buffer);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Range by range the smallest hashes are found, in ranges of bounded size.
        #[test]
        fn the_smallest_hashes_are_met(population in 1u64..3_000, asked in 0u64..3_500, dimension in 1usize..200_000, seed: u64) {
            let mut hashes: Vec<u64> = (0..population).map(|row| hash(seed, Purpose::Evaluation, 0, row)).collect();
            let room = ((PIECE / 4) / dimension as u64).max(1);
            let (mut found, mut draw, mut count) = (Vec::new(), None, 0);
            while let Some(next) = Draw::next(draw, asked.saturating_sub(found.len() as u64), population, dimension) {
                let met: Vec<u64> = (0..population).filter_map(|row| next.key(seed, row)).collect();
                prop_assert!(met.len() as u64 <= room + 8 * room.isqrt() + 8);
                prop_assert!(draw.is_none_or(|draw| draw.last < next.first));
                found.extend(met);
                draw = Some(next);
                count += 1;
            }
            hashes.sort_unstable();
            found.sort_unstable();
            let least = asked.min(population) as usize;
            prop_assert_eq!(&found[..least], &hashes[..least]);
            prop_assert!(count <= 2 + 2 * asked.min(population).div_ceil(room), "{} ranges", count);
        }
    }

    #[test]
    fn one_range_is_enough_for_rows_of_usual_width() {
        let draw = Draw::next(None, 20_000, 1 << 30, 128).unwrap();
        assert!(draw.first == 0 && draw.last < u64::MAX / 50_000);
        // Fewer rows than are asked for: all of them.
        assert_eq!(Draw::next(None, 20_000, 500, 128).unwrap().last, u64::MAX);
        assert_eq!(Draw::next(None, 0, 500, 128), None);
    }

    #[test]
    fn samples_of_wide_rows_are_bounded_by_their_bytes() {
        assert_eq!(sample_rows(20_000, 3_000), 20_000);
        assert_eq!(sample_rows(20_000, 65_536), 1024);
        assert_eq!(sample_rows(1_000, 65_536), 1_000);
        assert_eq!((sample_rows(0, 65_536), sample_rows(5, usize::MAX)), (0, 1));
    }
}
