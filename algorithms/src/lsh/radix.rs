//! Sorting rows by key.

use super::Key;

/// Most bits of a digit: as many places are written to at a time, and more would not stay in the first-level cache.
const DIGIT: u32 = 11;
/// Bits that are sorted by digits, beyond those that count the keys: so few keys have all of them in common by chance.
const SPARE: u32 = 2;
/// Longest run of keys that is sorted by insertion.
const SHORT: usize = 24;

/// Memory that is used again from table to table.
#[derive(Debug, Default)]
pub(super) struct Spare<K> {
    keys: Vec<K>,
    rows: Vec<u32>,
    counts: Vec<u32>,
    run: Vec<(K, u32)>,
}

/// Sorts keys, and writes where each of them was; the order of equal keys is kept.
///
/// Only as many of the upper bits as it takes to tell about as many keys apart are sorted by digits, least significant first, in an even number of
/// passes, so that they end where they began. Keys that have these bits in common, usually one or two, are then sorted by what remains.
/// O(keys) time where keys are spread evenly or short, O(keys log keys) at worst.
///
/// # Panics
/// If there are not as many rows as keys, or more than 2^32 - 1.
pub(super) fn sort<K: Key>(keys: &mut [K], rows: &mut [u32], spare: &mut Spare<K>) {
    let n = keys.len();
    assert!(n == rows.len() && u32::try_from(n).is_ok(), "keys and rows disagree");
    let width = keys.iter().max().map_or(0, |key| key.width());
    let upper = width.min(n.max(1).ilog2() + 1 + SPARE);
    let passes = 2 * upper.div_ceil(2 * DIGIT).max(1);
    let bits = upper.div_ceil(passes);
    spare.keys.resize(n, K::default());
    spare.rows.resize(n, 0);
    // The places of digits in all passes, counted in one look at the keys.
    let digits = 1usize << bits;
    let shift = |pass: u32| width - upper + pass * bits;
    spare.counts.clear();
    spare.counts.resize(digits * passes as usize, 0);
    for key in &*keys {
        for (pass, counts) in (0..).zip(spare.counts.chunks_exact_mut(digits)) {
            counts[key.upper(shift(pass)) & (digits - 1)] += 1;
        }
    }
    for (pass, counts) in (0..).zip(spare.counts.chunks_exact_mut(digits)) {
        let mut start = 0;
        for count in counts.iter_mut() {
            start += std::mem::replace(count, start);
        }
        let digit = |key: K| key.upper(shift(pass)) & (digits - 1);
        match pass {
            0 => scatter(keys.iter().copied().zip(0..), digit, counts, &mut spare.keys, &mut spare.rows),
            _ if pass % 2 == 0 => {
                let pairs = keys.iter().copied().zip(rows.iter().copied());
                scatter(pairs, digit, counts, &mut spare.keys, &mut spare.rows);
            }
            _ => {
                let pairs = spare.keys.iter().copied().zip(spare.rows.iter().copied());
                scatter(pairs, digit, counts, keys, rows);
            }
        }
    }
    if width > upper {
        settle(width - upper, keys, rows, &mut spare.run);
    }
}

/// Puts pairs where their digits belong.
fn scatter<K: Key>(
    pairs: impl Iterator<Item = (K, u32)>,
    digit: impl Fn(K) -> usize,
    starts: &mut [u32],
    keys: &mut [K],
    rows: &mut [u32],
) {
    for (key, row) in pairs {
        let start = &mut starts[digit(key)];
        keys[*start as usize] = key;
        rows[*start as usize] = row;
        *start += 1;
    }
}

/// Sorts each run of keys that differ in their lowest `low` bits at most.
fn settle<K: Key>(low: u32, keys: &mut [K], rows: &mut [u32], run: &mut Vec<(K, u32)>) {
    let mut rows = rows;
    for keys in keys.chunk_by_mut(|a, b| a.upper(low) == b.upper(low)) {
        let here;
        (here, rows) = std::mem::take(&mut rows).split_at_mut(keys.len());
        if keys.len() == 1 || keys.is_sorted() {
            continue;
        }
        if keys.len() <= SHORT {
            insert(keys, here);
            continue;
        }
        run.clear();
        run.extend(keys.iter().copied().zip(here.iter().copied()));
        run.sort_by_key(|&(key, _)| key);
        for ((key, row), &sorted) in keys.iter_mut().zip(here).zip(&*run) {
            (*key, *row) = sorted;
        }
    }
}

/// Sorts few keys, and their rows with them.
fn insert<K: Key>(keys: &mut [K], rows: &mut [u32]) {
    for end in 1..keys.len() {
        let mut place = end;
        while place > 0 && keys[place - 1] > keys[place] {
            keys.swap(place - 1, place);
            rows.swap(place - 1, place);
            place -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check<K: Key>(keys: Vec<K>, spare: &mut Spare<K>) {
        let mut expected: Vec<(K, u32)> = keys.iter().copied().zip(0..).collect();
        expected.sort();
        let (mut sorted, mut rows) = (keys.clone(), vec![7; keys.len()]);
        sort(&mut sorted, &mut rows, spare);
        assert_eq!(sorted.into_iter().zip(rows).collect::<Vec<_>>(), expected);
    }

    proptest! {
        #[test]
        fn same_as_sort(keys in prop::collection::vec(any::<u64>(), 0..300), shift in 0u32..64, few in 1u64..40) {
            let (mut wide, mut narrow) = (Spare::default(), Spare::default());
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
    fn many_keys_take_more_passes() {
        let stream = crate::random::Stream::new(2, crate::random::Purpose::Generate, 0);
        let keys: Vec<u64> = (0..(1 << 20) + 5).map(|i| stream.hash(i)).collect();
        check(keys.iter().map(|&key| key as u32).collect(), &mut Spare::default());
        check(keys.iter().map(|key| key >> 47).collect(), &mut Spare::default());
        check(keys, &mut Spare::default());
    }
}
