//! Smallest hashes in bands, for sets.

use crate::random::{Purpose, Stream};

/// Ids of a set's members: `u32` or `u64`.
pub trait Id: Copy + Ord + Into<u64> + Sync {}
impl Id for u32 {}
impl Id for u64 {}

/// Sets of ids, one after the other: set `i` is `ids[offsets[i]..offsets[i + 1]]`, ascending without repetition.
#[derive(Clone, Copy, Debug)]
pub struct Sets<'a, I> {
    pub(super) offsets: &'a [usize],
    pub(super) ids: &'a [I],
}

/// Why sets were refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetsError {
    /// The offsets do not cut the ids: the first must be 0, the last the number of ids, and none below its predecessor.
    #[error("offsets of sets do not go from 0 to {0} in ascending order")]
    Offsets(usize),
    /// A set is not ascending.
    #[error("ids of set {0} are not strictly ascending")]
    Order(usize),
}

impl<'a, I: Id> Sets<'a, I> {
    /// Takes sets apart by `offsets`, one more than there are sets. O(ids).
    ///
    /// # Errors
    /// If the offsets do not cut the ids, or a set is not strictly ascending.
    pub fn new(offsets: &'a [usize], ids: &'a [I]) -> Result<Self, SetsError> {
        if offsets.first() != Some(&0) || offsets.last() != Some(&ids.len()) || !offsets.is_sorted() {
            return Err(SetsError::Offsets(ids.len()));
        }
        let sets = Self { offsets, ids };
        match (0..sets.len()).find(|&i| !sets.get(i).is_sorted_by(|a, b| a < b)) {
            Some(i) => Err(SetsError::Order(i)),
            None => Ok(sets),
        }
    }

    /// Number of sets.
    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Set `i`.
    pub fn get(&self, i: usize) -> &'a [I] {
        &self.ids[self.offsets[i]..self.offsets[i + 1]]
    }
}

/// One minus the Jaccard similarity of two ascending sets, |intersection| / |union|; 0 for two empty ones. O(sum of sizes).
pub fn jaccard_distance<I: Id>(a: &[I], b: &[I]) -> f64 {
    let (mut i, mut j, mut both) = (0, 0, 0usize);
    while let (Some(x), Some(y)) = (a.get(i), b.get(j)) {
        both += usize::from(x == y);
        let (left, right) = (x <= y, y <= x);
        i += usize::from(left);
        j += usize::from(right);
    }
    let union = a.len() + b.len() - both;
    if union == 0 { 0.0 } else { (union - both) as f64 / union as f64 }
}

/// Smallest hashes of sets, in bands (Broder, "On the resemblance and containment of documents", SEQUENCES 1997; bands:
/// Cohen et al., "Finding interesting associations without support pruning", ICDE 2000).
///
/// A hash is the smallest value that a random function takes on the set; two sets share it with probability equal to their
/// Jaccard similarity. A table (band) takes `rows` of them, so a pair of similarity `s` meets in at least one table with
/// probability `1 - (1 - s^rows)^tables`. Empty sets meet each other only.
#[derive(Clone, Debug)]
pub struct MinHashFamily {
    rows: usize,
    /// One per table and hash.
    streams: Vec<Stream>,
    /// Combines the hashes of a table.
    band: Stream,
}

impl MinHashFamily {
    /// `tables` bands of `rows` hashes each.
    ///
    /// # Panics
    /// If either is zero.
    pub fn new(tables: usize, rows: usize, seed: u64) -> Self {
        assert!(tables > 0 && rows > 0, "no hashes");
        let stream = |i| Stream::new(seed, Purpose::Hashing, i);
        Self { rows, streams: (0..(tables * rows) as u64).map(stream).collect(), band: stream(u64::MAX) }
    }

    /// Number of tables (bands).
    pub fn tables(&self) -> usize {
        self.streams.len() / self.rows
    }

    /// Hashes per table.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The probability that two sets of this similarity meet in at least one table.
    pub fn collision(&self, similarity: f64) -> f64 {
        1.0 - (1.0 - similarity.powf(self.rows as f64)).powf(self.tables() as f64)
    }

    /// The keys of one set, one per table. O(ids x tables x rows).
    ///
    /// # Panics
    /// If `keys` has another number of tables.
    pub fn keys<I: Id>(&self, set: &[I], keys: &mut [u64]) {
        assert_eq!(keys.len(), self.tables(), "keys of another number of tables");
        for (streams, key) in self.streams.chunks_exact(self.rows).zip(keys) {
            *key = streams.iter().fold(0, |key, stream| {
                let least = set.iter().map(|&id| stream.hash(id.into())).min().unwrap_or(u64::MAX);
                self.band.hash(key ^ least)
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn collisions_follow_the_similarity() {
        let tables = 20_000;
        let family = MinHashFamily::new(tables, 1, 8);
        for shared in [0u32, 5, 20, 38] {
            let a: Vec<u32> = (0..40).collect();
            let b: Vec<u32> = (40 - shared..80 - shared).collect();
            let (mut left, mut right) = (vec![0; tables], vec![0; tables]);
            family.keys(&a, &mut left);
            family.keys(&b, &mut right);
            let share = left.iter().zip(&right).filter(|(a, b)| a == b).count() as f64 / tables as f64;
            let p = 1.0 - jaccard_distance(&a, &b);
            assert!((share - p).abs() <= 5.0 * (p * (1.0 - p) / tables as f64).sqrt(), "{share} for {p}");
        }
        assert!((MinHashFamily::new(20, 5, 0).collision(0.8) - 0.999_64).abs() < 1e-5);
    }

    #[test]
    fn sets_are_checked() {
        assert_eq!(Sets::new(&[0, 2, 2, 3], &[4u32, 9, 1]).unwrap().get(0), [4, 9]);
        assert_eq!(Sets::<u32>::new(&[], &[]).unwrap_err(), SetsError::Offsets(0));
        assert_eq!(Sets::new(&[0, 3, 2], &[1u64, 2]).unwrap_err(), SetsError::Offsets(2));
        assert_eq!(Sets::new(&[0, 1, 3], &[1u64, 2, 2]).unwrap_err(), SetsError::Order(1));
    }

    proptest! {
        #[test]
        fn distance_is_that_of_sets(a in prop::collection::btree_set(0u32..30, 0..20), b in prop::collection::btree_set(0u32..30, 0..20)) {
            let list = |s: &BTreeSet<u32>| s.iter().copied().collect::<Vec<_>>();
            let (both, either) = (a.intersection(&b).count(), a.union(&b).count());
            let expected = if either == 0 { 0.0 } else { 1.0 - both as f64 / either as f64 };
            prop_assert!((jaccard_distance(&list(&a), &list(&b)) - expected).abs() < 1e-15);
        }
    }
}
