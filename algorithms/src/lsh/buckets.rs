//! Which rows share buckets, part by part of the buckets.

use serde::{Deserialize, Serialize};

use super::Components;
use super::links::{Links, LinksError};

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
/// Holds of each bucket its key and lowest row, by which buckets of different partials find each other, in 16 bytes, and links
/// from it to the other rows: some 8 bytes each where rows are scattered over many buckets, a byte or less where a bucket holds
/// many of all. [`Collector`] makes one. A merge takes O(buckets + links).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketPartial {
    parts: Vec<Part>,
}

/// One part of the buckets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Part {
    /// The keys seen, ascending, with the lowest row of each.
    buckets: Vec<(u64, u32)>,
    /// The other rows of their buckets.
    links: Links,
}

impl BucketPartial {
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
    /// [`LinksError`] when the partial is of other rows.
    pub fn connect(&self, components: &mut Components) -> Result<(), LinksError> {
        self.parts.iter().try_for_each(|part| part.links.connect(components))
    }
}

/// Collects the keys of rows, in memory that a bucket of many rows does not fill: 16 bytes per bucket, as much again or
/// its room for those that were not looked at yet, and links.
#[derive(Clone, Debug)]
pub struct Collector {
    parts: Vec<Part>,
    /// Keys and rows, per part, that are no part of it yet, and their number.
    pending: Vec<Vec<(u64, u32)>>,
    held: usize,
    /// How many may be held, at least and now.
    least: usize,
    room: usize,
}

impl Collector {
    /// Nothing yet, for so many parts. `room` rows and keys, of 16 bytes each, are held before they are sorted into buckets, or as many as there are
    /// buckets.
    pub fn new(parts: usize, room: usize) -> Self {
        Self { parts: vec![Part::default(); parts], pending: vec![Vec::new(); parts], held: 0, least: room, room }
    }

    /// Takes in that a row has this key, in this part. O(log m) amortised for m rows.
    ///
    /// # Panics
    /// If there is no such part.
    pub fn push(&mut self, part: usize, key: u64, row: u32) {
        self.pending[part].push((key, row));
        self.held += 1;
        if self.held >= self.room {
            self.fold();
        }
    }

    /// What the rows say.
    pub fn finish(mut self) -> BucketPartial {
        self.fold();
        BucketPartial { parts: self.parts }
    }

    fn fold(&mut self) {
        for (part, pending) in self.parts.iter_mut().zip(&mut self.pending) {
            if !pending.is_empty() {
                part.merge(Part::of(std::mem::take(pending)));
            }
        }
        self.held = 0;
        // As many as there are buckets, so that merging them takes no longer than sorting.
        self.room = self.parts.iter().map(|part| part.buckets.len()).sum::<usize>().max(self.least);
    }
}

impl Part {
    fn of(mut keys: Vec<(u64, u32)>) -> Self {
        keys.sort_unstable();
        let mut part = Self::default();
        for bucket in keys.chunk_by(|a, b| a.0 == b.0) {
            if let [lowest, others @ ..] = bucket {
                part.buckets.push(*lowest);
                part.links.push(lowest.1, others.iter().map(|other| other.1));
            }
        }
        part
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
                Some(&(last, lowest)) if last == key => self.links.push(lowest, std::iter::once(row)),
                _ => merged.push((key, row)),
            }
        }
        self.buckets = merged;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::components::tests::naive;
    use super::*;
    use crate::lsh::{Family, StableFamily};
    use crate::random::{Purpose, Stream};

    const ROOM: usize = 1 << 18;

    /// The rows from `first` on, dealt.
    fn partial(deal: Deal, first: usize, keys: &[[u64; 2]]) -> BucketPartial {
        let mut collector = Collector::new(deal.parts() as usize, 7);
        for (row, keys) in (first as u32..).zip(keys) {
            for (table, &key) in (0..).zip(keys) {
                collector.push(deal.part(table, key) as usize, key, row);
                // Few rows, and folded all the same.
                collector.room = 7;
            }
        }
        collector.finish()
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
    fn a_bucket_of_most_rows_takes_little_memory() {
        let mut collector = Collector::new(1, ROOM);
        let rows = 4 * ROOM as u32;
        for row in 0..rows {
            // One in ten is alone.
            let key = if row % 10 == 3 { u64::from(row) } else { 0 };
            collector.push(0, key, row);
            assert!(collector.held < collector.room && collector.room == ROOM);
        }
        let partial = collector.finish();
        let part = &partial.parts[0];
        assert!(part.links.size() < rows as usize / 4, "{} bytes", part.links.size());
        let clusters = super::super::Clusters::of(&components(rows as usize, &partial), 2);
        assert_eq!((clusters.count, clusters.noise), (1, (u64::from(rows) + 6) / 10));
    }

    #[test]
    fn a_row_that_does_not_exist_is_refused() {
        let mut collector = Collector::new(1, ROOM);
        [0, 3].into_iter().for_each(|row| collector.push(0, 5, row));
        let refused = Err(LinksError::Row { row: 3, rows: 3 });
        assert_eq!(collector.finish().connect(&mut Components::new(3)), refused);
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
        let mut collector = Collector::new(30, ROOM);
        for (row, keys) in (0..).zip(keys.chunks_exact(30)) {
            (0..).zip(keys).for_each(|(table, key)| collector.push(deal.part(table, *key) as usize, *key, row));
        }
        let (labels, count) = components(600, &collector.finish()).labels();
        assert_eq!(count, 6);
        assert!((0..600).all(|i| labels[i] as usize == i % 6));
    }
}
