//! Sorting rows by key.

use super::Key;

/// Sorts pairs by key and keeps the order of equal keys: by (key, row) where rows came in order.
///
/// Least significant digit first, eight bits at a time; digits that are the same everywhere cost nothing but a look.
/// O(pairs x bytes of a key) time.
pub(super) fn sort<K: Key>(pairs: &mut Vec<(K, u32)>) {
    let digits = (K::BITS / 8) as usize;
    let mut counts = vec![[0usize; 256]; digits];
    for &(key, _) in pairs.iter() {
        for (digit, counts) in counts.iter_mut().enumerate() {
            counts[key.digit(8 * digit as u32)] += 1;
        }
    }
    let mut other = vec![(K::default(), 0u32); pairs.len()];
    for (digit, counts) in counts.iter_mut().enumerate() {
        if counts.contains(&pairs.len()) {
            continue;
        }
        let mut start = 0;
        for count in counts.iter_mut() {
            start += std::mem::replace(count, start);
        }
        for &pair in pairs.iter() {
            let place = &mut counts[pair.0.digit(8 * digit as u32)];
            other[*place] = pair;
            *place += 1;
        }
        std::mem::swap(pairs, &mut other);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check<K: Key>(keys: Vec<K>) {
        let mut pairs: Vec<(K, u32)> = keys.into_iter().zip(0..).collect();
        let mut expected = pairs.clone();
        expected.sort();
        sort(&mut pairs);
        assert_eq!(pairs, expected);
    }

    proptest! {
        #[test]
        fn same_as_sort(keys in prop::collection::vec(any::<u64>(), 0..300), shift in 0u32..64) {
            check(keys.iter().map(|k| k >> shift).collect());
            check(keys.iter().map(|k| (k >> shift) as u32).collect());
            check(keys.iter().map(|k| (k >> shift) << (shift / 2) & 0xff00_0ff0).collect());
        }
    }
}
