//! Clustering by shared buckets.
//!
//! Rows that meet in a bucket of any table hang together; clusters are what hangs together. This is single linkage over "shares
//! a key in at least one table" (Haveliwala, Gionis and Indyk, "Scalable techniques for clustering the web", WebDB 2000).

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::Components;

/// The label of a row that belongs to no cluster.
pub const NOISE: u32 = u32::MAX;

/// Spreads keys whose low bits differ over the high ones (Fibonacci hashing; Knuth, "The art of computer programming", 6.4).
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// How the buckets of all tables are dealt into parts, each of which can be looked at without the others: first by table, then
/// by the highest bits of the spread key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deal {
    /// Number of tables.
    pub tables: u32,
    /// A table has 2 to the power of this many parts.
    pub bits: u32,
}

impl Deal {
    /// Number of parts.
    pub fn parts(self) -> u32 {
        self.tables << self.bits
    }

    /// The table that a part belongs to.
    pub fn table(self, part: u32) -> u32 {
        part >> self.bits
    }

    /// The part that a bucket belongs to.
    pub fn part(self, table: u32, key: u64) -> u32 {
        // In two steps, as nothing can be shifted by all of its bits at once.
        let high = key.wrapping_mul(SPREAD) >> 1 >> (63 - self.bits);
        table << self.bits | high as u32
    }
}

/// What some rows say of some parts of the buckets, with a merge that gives the same components in any order.
///
/// Holds for each row and table either the row, as the lowest of its bucket, by which buckets of different partials find each
/// other, or a link to a lower row: 16 or 8 bytes. Making one takes O(m log m) time for m rows and tables, a merge O(m).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketPartial {
    parts: Vec<Part>,
}

/// One part of the buckets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Part {
    /// The keys seen, ascending, with the lowest row of each.
    buckets: Vec<(u64, u32)>,
    /// Pairs of rows that share a bucket.
    links: Vec<(u32, u32)>,
}

impl BucketPartial {
    /// What rows say that have these keys, per part in any order. Parts are sorted in parallel.
    pub fn of(parts: Vec<Vec<(u64, u32)>>) -> Self {
        Self { parts: parts.into_par_iter().map(Part::of).collect() }
    }

    /// Number of parts.
    pub fn len(&self) -> usize {
        self.parts.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Takes in what other rows say of the same parts.
    ///
    /// # Panics
    /// If the other has another number of parts.
    pub fn merge(&mut self, other: Self) {
        assert_eq!(self.len(), other.len(), "partials of different numbers of parts");
        self.parts.iter_mut().zip(other.parts).for_each(|(mine, theirs)| mine.merge(theirs));
    }

    /// Cuts it between parts: merging piece by piece and then joining is merging.
    pub fn cut(self) -> Vec<Self> {
        self.parts.into_iter().map(|part| Self { parts: vec![part] }).collect()
    }

    /// What was cut into these pieces.
    pub fn join(pieces: Vec<Self>) -> Self {
        Self { parts: pieces.into_iter().flat_map(|piece| piece.parts).collect() }
    }

    /// Joins the rows that share buckets. O(links x log n) amortised.
    ///
    /// # Errors
    /// A row beyond the last: then the partial is of other rows.
    pub fn connect(&self, components: &mut Components) -> Result<(), u32> {
        for &(a, b) in self.parts.iter().flat_map(|part| &part.links) {
            if a.max(b) as usize >= components.len() {
                return Err(a.max(b));
            }
            components.join(a, b);
        }
        Ok(())
    }
}

impl Part {
    fn of(mut buckets: Vec<(u64, u32)>) -> Self {
        buckets.sort_unstable();
        let mut links = Vec::new();
        // The first of a key is its lowest row; `dedup_by` shows each entry with the last one kept.
        buckets.dedup_by(|later, lowest| {
            let shared = later.0 == lowest.0;
            if shared {
                links.push((lowest.1, later.1));
            }
            shared
        });
        Self { buckets, links }
    }

    fn merge(&mut self, other: Self) {
        self.links.extend(other.links);
        let mut merged: Vec<(u64, u32)> = Vec::with_capacity(self.buckets.len() + other.buckets.len());
        let (mut left, mut right) = (self.buckets.iter().peekable(), other.buckets.iter().peekable());
        loop {
            let next = match (left.peek(), right.peek()) {
                (Some(a), Some(b)) if b < a => right.next(),
                (Some(_), _) => left.next(),
                (None, _) => right.next(),
            };
            let Some(&(key, row)) = next else { break };
            match merged.last() {
                Some(&(last, lowest)) if last == key => self.links.push((lowest, row)),
                _ => merged.push((key, row)),
            }
        }
        self.buckets = merged;
    }
}

/// Clusters among components.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clusters {
    /// The cluster of each row, or [`NOISE`]. Clusters are numbered in the order of their lowest rows.
    pub labels: Vec<u32>,
    /// Number of clusters.
    pub count: usize,
    /// Rows that belong to none.
    pub noise: u64,
    /// Rows of the largest component, whether it is a cluster or not.
    pub largest: u64,
}

impl Clusters {
    /// Components of at least `least` rows are clusters; rows of smaller ones are noise. O(n).
    pub fn of(components: &Components, least: u64) -> Self {
        let (mut labels, count) = components.labels();
        let mut sizes = vec![0u64; count];
        labels.iter().for_each(|label| sizes[*label as usize] += 1);
        let mut next = 0;
        let numbers: Vec<u32> = sizes
            .iter()
            .map(|size| {
                let number = if *size >= least { next } else { NOISE };
                next += u32::from(*size >= least);
                number
            })
            .collect();
        labels.iter_mut().for_each(|label| *label = numbers[*label as usize]);
        let noise = sizes.iter().filter(|size| **size < least).sum();
        Self { labels, count: next as usize, noise, largest: sizes.iter().copied().max().unwrap_or(0) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::components::tests::naive;
    use super::*;
    use crate::lsh::{Family, StableFamily};
    use crate::random::{Purpose, Stream};

    /// The rows from `first` on, dealt.
    fn partial(deal: Deal, first: usize, keys: &[[u64; 2]]) -> BucketPartial {
        let mut parts = vec![Vec::new(); deal.parts() as usize];
        for (row, keys) in (first as u32..).zip(keys) {
            for (table, &key) in (0..).zip(keys) {
                parts[deal.part(table, key) as usize].push((key, row));
            }
        }
        BucketPartial::of(parts)
    }

    fn components(n: usize, partial: &BucketPartial) -> Components {
        let mut components = Components::new(n);
        partial.connect(&mut components).unwrap();
        components
    }

    proptest! {
        #[test]
        fn pieces_of_parts_merge_to_the_whole(keys in prop::collection::vec([0u64..40, 0u64..25], 0..40), cuts in prop::collection::vec(any::<prop::sample::Index>(), 3), bits in 0u32..4, backwards: bool) {
            let n = keys.len();
            let deal = Deal { tables: 2, bits };
            // The slow twin looks at all pairs.
            let pairs: Vec<(u32, u32)> = (0..n)
                .flat_map(|i| (0..i).map(move |j| (i, j)))
                .filter(|&(i, j)| keys[i][0] == keys[j][0] || keys[i][1] == keys[j][1])
                .map(|(i, j)| (i as u32, j as u32))
                .collect();
            let whole = partial(deal, 0, &keys);
            prop_assert_eq!(components(n, &whole).labels().0, naive(n, &pairs));

            let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(n + 1)).chain([0, n]).collect();
            ends.sort_unstable();
            let mut rows: Vec<BucketPartial> = ends.windows(2).map(|w| partial(deal, w[0], &keys[w[0]..w[1]])).collect();
            if backwards {
                rows.reverse();
            }
            let mut merged = partial(deal, 0, &[]).cut();
            for rows in rows {
                for (mine, theirs) in merged.iter_mut().zip(rows.cut()) {
                    mine.merge(theirs);
                }
            }
            prop_assert_eq!(components(n, &BucketPartial::join(merged)), components(n, &whole));
        }

        #[test]
        fn a_bucket_has_one_part(key: u64, table in 0u32..8, bits in 0u32..16) {
            let deal = Deal { tables: 8, bits };
            let part = deal.part(table, key);
            prop_assert!(part < deal.parts());
            prop_assert_eq!(deal.table(part), table);
        }
    }

    #[test]
    fn parts_get_about_as_many_buckets() {
        let deal = Deal { tables: 1, bits: 4 };
        let mut counts = [0; 16];
        (0..1600).for_each(|key| counts[deal.part(0, key) as usize] += 1);
        assert!(counts.iter().all(|count| (80..120).contains(count)), "{counts:?}");
    }

    #[test]
    fn rows_of_small_components_are_noise() {
        let mut components = Components::new(7);
        for (a, b) in [(1, 4), (4, 6), (2, 5)] {
            components.join(a, b);
        }
        let clusters = Clusters::of(&components, 2);
        assert_eq!(clusters.labels, [NOISE, 0, 1, NOISE, 0, 1, 0]);
        assert_eq!((clusters.count, clusters.noise, clusters.largest), (2, 2, 3));
        let none = Clusters::of(&components, 4);
        assert_eq!((none.count, none.noise, none.largest), (0, 7, 3));
        assert_eq!(Clusters::of(&components, 1).count, 4);
    }

    #[test]
    fn a_row_that_does_not_exist_is_refused() {
        let partial = BucketPartial::of(vec![vec![(5, 0), (5, 3)]]);
        assert_eq!(partial.connect(&mut Components::new(3)), Err(3));
    }

    #[test]
    fn separate_blobs_are_clusters() {
        let stream = Stream::new(2, Purpose::Generate, 0);
        let rows: Vec<f32> = (0..600u64)
            .flat_map(|i| {
                [100.0 * (i % 3) as f32, (i % 2) as f32 * 70.0]
                    .map(|c| c + stream.uniform(2 * i + u64::from(c > 50.0)) as f32)
            })
            .collect();
        let family = StableFamily::new(2, 30, 4, 8.0, 1);
        let mut keys = vec![0; 600 * 30];
        family.keys(&rows, &mut keys);
        let deal = Deal { tables: 30, bits: 0 };
        let mut parts = vec![Vec::new(); 30];
        for (row, keys) in (0..).zip(keys.chunks_exact(30)) {
            (0..).zip(keys).for_each(|(table, key)| parts[deal.part(table, *key) as usize].push((*key, row)));
        }
        let (labels, count) = components(600, &BucketPartial::of(parts)).labels();
        assert_eq!(count, 6);
        assert!((0..600).all(|i| labels[i] as usize == i % 6));
    }
}
