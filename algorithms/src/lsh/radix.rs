//! Sorting rows by key.

use super::Key;

/// A key and its row.
pub(super) type Pair<K> = (<K as Key>::Words, u32);

/// Most bits of a digit: as many places are written to at a time, and more would not stay in the first-level cache.
const DIGIT: u32 = 11;
/// Pairs of a part, as a power of two, that are sorted within the cache.
const PART: u32 = 9;
/// Bits that are sorted by digits, beyond those that count the keys: so few keys have all of them in common by chance.
const SPARE: u32 = 1;
/// Longest run of keys that is sorted by insertion.
const SHORT: usize = 24;

/// Keys and their rows, and memory that is used again from table to table.
#[derive(Debug, Default)]
pub(super) struct Sorter<K: Key> {
    /// Keys and rows in order of the keys' uppermost bits, and of rows within.
    pairs: Vec<Pair<K>>,
    /// Where the pairs of each value of these bits end.
    ends: Vec<u32>,
    /// Bits below.
    low: u32,
    buffer: Vec<Pair<K>>,
    counts: Vec<u32>,
}

impl<K: Key> Sorter<K> {
    /// Takes in the keys of the rows from 0 on, and divides them by their uppermost bits. O(keys).
    ///
    /// # Panics
    /// If there are more than 2^32 - 1.
    pub(super) fn load(&mut self, keys: impl ExactSizeIterator<Item = K> + Clone) {
        let n = keys.len();
        assert!(u32::try_from(n).is_ok(), "{n} keys");
        let width = keys.clone().max().map_or(0, Key::width);
        let bits = width.min(n.max(1).ilog2().saturating_sub(PART).clamp(1, DIGIT));
        self.low = width - bits;
        self.pairs.resize(n, Default::default());
        divide::<K>(keys.map(K::words).zip(0..), self.low, bits, &mut self.ends, &mut self.pairs);
    }

    /// Gives the pairs of keys and rows in order, one part after the other; equal keys come in one.
    ///
    /// A part is divided by its next bits, enough to tell about as many keys apart as there are. Keys that have these in common, usually one or two, are
    /// then sorted by what remains. Up to some 10^8 keys that takes O(keys) time where they are spread evenly or short, O(keys log keys) at worst.
    pub(super) fn each_sorted(&mut self, mut take: impl FnMut(&[Pair<K>])) {
        let mut start = 0;
        for &end in &self.ends {
            let part = &mut self.pairs[start..end as usize];
            start = end as usize;
            if part.is_sorted_by_key(|&(key, _)| key) {
                take(part);
            } else if part.len() <= SHORT {
                insert::<K>(part);
                take(part);
            } else {
                let bits = self.low.min(part.len().ilog2() + SPARE).min(DIGIT);
                let low = self.low - bits;
                self.buffer.resize(part.len().max(self.buffer.len()), Default::default());
                let sorted = &mut self.buffer[..part.len()];
                divide::<K>(part.iter().copied(), low, bits, &mut self.counts, sorted);
                if low > 0 {
                    settle::<K>(low, sorted);
                }
                take(sorted);
            }
        }
    }
}

/// Puts pairs where the bits of their keys from bit `low` on belong, in order, and writes where those of each value end.
fn divide<K: Key>(
    pairs: impl Iterator<Item = Pair<K>> + Clone,
    low: u32,
    bits: u32,
    ends: &mut Vec<u32>,
    out: &mut [Pair<K>],
) {
    let digits = 1usize << bits;
    let digit = |key| K::of_words(key).upper(low) & (digits - 1);
    ends.clear();
    ends.resize(digits, 0);
    for (key, _) in pairs.clone() {
        ends[digit(key)] += 1;
    }
    let mut start = 0;
    for end in ends.iter_mut() {
        start += std::mem::replace(end, start);
    }
    for (key, row) in pairs {
        let place = &mut ends[digit(key)];
        out[*place as usize] = (key, row);
        *place += 1;
    }
}

/// Sorts each run of keys that differ in their lowest `low` bits at most.
fn settle<K: Key>(low: u32, pairs: &mut [Pair<K>]) {
    for run in pairs.chunk_by_mut(|a, b| K::of_words(a.0).upper(low) == K::of_words(b.0).upper(low)) {
        if run.len() == 1 || run.is_sorted_by_key(|&(key, _)| key) {
            continue;
        }
        if run.len() <= SHORT {
            insert::<K>(run);
        } else {
            // Rows ascend where keys are equal, so this is their only order.
            run.sort_unstable();
        }
    }
}

/// Sorts few pairs by their keys.
fn insert<K: Key>(pairs: &mut [Pair<K>]) {
    for end in 1..pairs.len() {
        let pair = pairs[end];
        let mut place = end;
        while place > 0 && pairs[place - 1].0 > pair.0 {
            pairs[place] = pairs[place - 1];
            place -= 1;
        }
        pairs[place] = pair;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check<K: Key>(keys: Vec<K>, sorter: &mut Sorter<K>) {
        let mut expected: Vec<(K, u32)> = keys.iter().copied().zip(0..).collect();
        expected.sort();
        let mut sorted: Vec<Pair<K>> = Vec::new();
        sorter.load(keys.iter().copied());
        sorter.each_sorted(|part| {
            assert!(sorted.last().zip(part.first()).is_none_or(|(a, b)| a.0 != b.0));
            sorted.extend(part);
        });
        assert_eq!(sorted.into_iter().map(|(key, row)| (K::of_words(key), row)).collect::<Vec<_>>(), expected);
    }

    proptest! {
        #[test]
        fn same_as_sort(keys in prop::collection::vec(any::<u64>(), 0..300), shift in 0u32..64, few in 1u64..40) {
            let (mut wide, mut narrow) = (Sorter::default(), Sorter::default());
            check(keys.clone(), &mut wide);
            check(keys.iter().map(|k| k >> shift).collect(), &mut wide);
            check(keys.iter().map(|k| (k >> shift) as u32).collect(), &mut narrow);
            check(keys.iter().map(|k| (k >> shift) << (shift / 2) & 0xff00_0ff0).collect(), &mut wide);
            // Many keys that have their upper bits in common, some of them equal.
            check(keys.iter().map(|k| (k % few) | (1 << 63)).collect(), &mut wide);
            check(keys.iter().map(|k| (k % 1000) | ((k % few) << 50)).collect(), &mut wide);
            check(keys.iter().map(|k| (k % 50) as u32 | (u32::from(k % few == 0) << 31)).collect(), &mut narrow);
        }
    }

    #[test]
    fn many_keys_take_more_bits() {
        let stream = crate::random::Stream::new(2, crate::random::Purpose::Generate, 0);
        let keys: Vec<u64> = (0..(1 << 20) + 5).map(|i| stream.hash(i)).collect();
        check(keys.iter().map(|&key| key as u32).collect(), &mut Sorter::default());
        check(keys.iter().map(|key| key >> 47).collect(), &mut Sorter::default());
        check(keys, &mut Sorter::default());
    }
}
