//! How many different rows are there?
//!
//! Asking for more clusters than there are different rows has no answer, and counting all different rows takes memory
//! that grows with them. Keeping the smallest hashes only (a "k minimum values" sketch) is exact up to the size of the
//! sketch, which is all that is needed to compare with k.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

/// Counts different rows, exactly while there are fewer than a given number.
///
/// Rows are compared by 64-bit hashes of their values; `-0.0` equals `0.0`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Distinct {
    cap: usize,
    hashes: BTreeSet<u64>,
}

impl Distinct {
    /// Counts up to `cap`.
    pub fn new(cap: usize) -> Self {
        Self { cap, hashes: BTreeSet::new() }
    }

    /// Looks at a row.
    pub fn add_row(&mut self, row: &[f32]) {
        self.add_hash(hash_row(row));
    }

    /// Takes in what another counter with the same cap saw.
    pub fn merge(&mut self, other: &Self) {
        for &hash in &other.hashes {
            self.add_hash(hash);
        }
    }

    /// Number of different rows; the cap stands for "at least so many".
    pub fn count(&self) -> usize {
        self.hashes.len()
    }

    fn add_hash(&mut self, hash: u64) {
        if self.hashes.len() < self.cap {
            self.hashes.insert(hash);
        } else if self.hashes.last().is_some_and(|&largest| hash < largest) && self.hashes.insert(hash) {
            self.hashes.pop_last();
        }
    }
}

/// A hash of the row's values that is the same on every machine.
fn hash_row(row: &[f32]) -> u64 {
    const CHUNK: usize = 256;
    let mut bytes = [0u8; 4 * CHUNK];
    let fill = |values: &[f32], bytes: &mut [u8]| {
        for (value, place) in values.iter().zip(bytes.chunks_exact_mut(4)) {
            // Adding zero turns -0.0 into 0.0 and changes nothing else.
            place.copy_from_slice(&(value + 0.0).to_le_bytes());
        }
    };
    if row.len() <= CHUNK {
        let bytes = &mut bytes[..4 * row.len()];
        fill(row, bytes);
        return xxhash_rust::xxh3::xxh3_64(bytes);
    }
    let mut hasher = Xxh3::new();
    for values in row.chunks(CHUNK) {
        let bytes = &mut bytes[..4 * values.len()];
        fill(values, bytes);
        hasher.update(bytes);
    }
    hasher.digest()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_exactly_below_the_cap_and_stops_there() {
        let mut distinct = Distinct::new(5);
        for value in [1.0, 2.0, 1.0, 3.0, 2.0] {
            distinct.add_row(&[value, 0.0]);
        }
        assert_eq!(distinct.count(), 3);
        for value in 0..100 {
            distinct.add_row(&[value as f32, 1.0]);
        }
        assert_eq!(distinct.count(), 5);
    }

    #[test]
    fn signs_of_zero_are_equal_and_position_matters() {
        let mut distinct = Distinct::new(10);
        distinct.add_row(&[0.0, -0.0]);
        distinct.add_row(&[-0.0, 0.0]);
        assert_eq!(distinct.count(), 1);
        distinct.add_row(&[1.0, 0.0]);
        distinct.add_row(&[0.0, 1.0]);
        assert_eq!(distinct.count(), 3);
    }

    #[test]
    fn long_rows_differ_in_their_last_value() {
        let mut row = vec![0.5f32; 1000];
        let mut distinct = Distinct::new(10);
        distinct.add_row(&row);
        row[999] = 0.25;
        distinct.add_row(&row);
        assert_eq!(distinct.count(), 2);
    }

    #[test]
    fn merging_equals_the_whole() {
        let rows: Vec<[f32; 2]> = (0..500).map(|i| [(i * 7 % 100) as f32, (i % 3) as f32]).collect();
        for cap in [1, 10, 99, 300, 1000] {
            let mut whole = Distinct::new(cap);
            let (mut even, mut odd) = (Distinct::new(cap), Distinct::new(cap));
            for (i, row) in rows.iter().enumerate() {
                whole.add_row(row);
                if i % 2 == 0 { even.add_row(row) } else { odd.add_row(row) }
            }
            odd.merge(&even);
            assert_eq!(odd, whole);
            assert_eq!(whole.count(), 300.min(cap));
        }
    }
}
