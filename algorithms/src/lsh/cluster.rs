//! Clustering by shared buckets.

use serde::{Deserialize, Serialize};

use super::{Components, Key, Tables};

/// Rows that meet in a bucket of any table hang together: what a part of the rows contributes, with a merge that is exact in
/// any order.
///
/// This is single linkage over "shares a key in at least one table" (Haveliwala, Gionis and Indyk, "Scalable techniques for
/// clustering the web", WebDB 2000). It keeps the lowest row of each bucket, by which buckets of different parts find each
/// other, and the union-find array. Takes O(rows x tables) time for a part, O(buckets + n) for a merge, and
/// memory for 4 bytes per row of the whole and one entry per bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound(serialize = "K: Serialize", deserialize = "K: Deserialize<'de>"))]
pub struct BucketPartial<K> {
    components: Components,
    /// Per table, the keys seen, ascending, with the lowest row of each.
    buckets: Vec<Vec<(K, u32)>>,
}

impl<K: Key> BucketPartial<K> {
    /// Nothing seen yet of `n` rows in `tables` tables.
    ///
    /// # Panics
    /// If there are more than 2^32 - 1 rows.
    pub fn new(n: usize, tables: usize) -> Self {
        Self { components: Components::new(n), buckets: vec![Vec::new(); tables] }
    }

    /// What a part says: tables of the rows from `first` on, of `n` in all.
    ///
    /// # Panics
    /// If the part has rows beyond `n`, or there are more than 2^32 - 1.
    pub fn of<S, L, I>(n: usize, first: u32, tables: &Tables<K, S, L, I>) -> Self
    where
        S: AsRef<[u64]> + Sync,
        L: AsRef<[K]> + Sync,
        I: AsRef<[u32]> + Sync,
    {
        assert!(first as usize + tables.len() <= n, "rows beyond the last");
        let mut partial = Self::new(n, tables.count());
        for (table, buckets) in partial.buckets.iter_mut().enumerate() {
            buckets.reserve(tables.keys_of(table).len());
            for (key, rows) in tables.buckets(table) {
                let lowest = first + rows[0];
                for row in &rows[1..] {
                    partial.components.join(lowest, first + row);
                }
                buckets.push((key, lowest));
            }
        }
        partial
    }

    /// Takes in what another part saw.
    ///
    /// # Panics
    /// If the other has another number of rows or tables.
    pub fn merge(&mut self, other: &Self) {
        assert_eq!(self.buckets.len(), other.buckets.len(), "partials of different numbers of tables");
        self.components.merge(&other.components);
        for (mine, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            let mut merged: Vec<(K, u32)> = Vec::with_capacity(mine.len() + theirs.len());
            let (mut left, mut right) = (mine.iter().peekable(), theirs.iter().peekable());
            loop {
                let next = match (left.peek(), right.peek()) {
                    (Some(a), Some(b)) if b < a => right.next(),
                    (Some(_), _) => left.next(),
                    (None, _) => right.next(),
                };
                let Some(&(key, row)) = next else { break };
                match merged.last() {
                    Some(&(last, lowest)) if last == key => self.components.join(lowest, row),
                    _ => merged.push((key, row)),
                }
            }
            *mine = merged;
        }
    }

    /// The sets of rows that hang together by what was seen.
    pub fn components(&self) -> &Components {
        &self.components
    }

    /// The cluster of each row, numbered in the order of their lowest rows, and the number of clusters.
    pub fn labels(&self) -> (Vec<u32>, usize) {
        self.components.labels()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::components::tests::naive;
    use super::*;
    use crate::lsh::{MinHashFamily, Sets, StableFamily};
    use crate::random::{Purpose, Stream};

    fn tables(keys: &[[u32; 2]]) -> Tables<u32> {
        Tables::build(keys.len(), 2, |range, out| out.copy_from_slice(keys[range].as_flattened()))
    }

    proptest! {
        #[test]
        fn parts_merge_to_the_whole(keys in prop::collection::vec([0u32..40, 0u32..25], 0..40), cuts in prop::collection::vec(any::<prop::sample::Index>(), 3), backwards: bool) {
            let n = keys.len();
            let whole = BucketPartial::of(n, 0, &tables(&keys));
            // The slow twin looks at all pairs.
            let pairs: Vec<(u32, u32)> = (0..n)
                .flat_map(|i| (0..i).map(move |j| (i, j)))
                .filter(|&(i, j)| keys[i][0] == keys[j][0] || keys[i][1] == keys[j][1])
                .map(|(i, j)| (i as u32, j as u32))
                .collect();
            prop_assert_eq!(whole.labels().0, naive(n, &pairs));

            let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(n + 1)).chain([0, n]).collect();
            ends.sort_unstable();
            let mut parts: Vec<BucketPartial<u32>> =
                ends.windows(2).map(|w| BucketPartial::of(n, w[0] as u32, &tables(&keys[w[0]..w[1]]))).collect();
            if backwards {
                parts.reverse();
            }
            let mut merged = BucketPartial::new(n, 2);
            parts.iter().for_each(|part| merged.merge(part));
            prop_assert_eq!(merged, whole);
        }
    }

    #[test]
    fn separate_blobs_and_sets_are_clusters() {
        let stream = Stream::new(2, Purpose::Generate, 0);
        let rows: Vec<f32> = (0..600u64)
            .flat_map(|i| {
                [100.0 * (i % 3) as f32, (i % 2) as f32 * 70.0]
                    .map(|c| c + stream.uniform(2 * i + u64::from(c > 50.0)) as f32)
            })
            .collect();
        let tables = Tables::of_vectors(&StableFamily::new(2, 30, 4, 8.0, 1), &rows);
        let (labels, count) = BucketPartial::of(600, 0, &tables).labels();
        assert_eq!(count, 6);
        assert!((0..600).all(|i| labels[i] as usize == i % 6));

        let ids: Vec<u32> =
            (0..30u32).flat_map(|i| (0..20).map(move |j| i % 3 * 100 + j + u32::from(j == 19) * (i / 3))).collect();
        let offsets: Vec<usize> = (0..=30).map(|i| 20 * i).collect();
        let sets = Sets::new(&offsets, &ids).unwrap();
        let (labels, count) = BucketPartial::of(30, 0, &Tables::of_sets(&MinHashFamily::new(20, 3, 1), sets)).labels();
        assert_eq!(count, 3);
        assert!((0..30).all(|i| labels[i] as usize == i % 3));
    }
}
