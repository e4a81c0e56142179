//! Where in sorted keys to look.

use super::Key;

/// For each value of the keys' upper bits, where such keys begin: a bucket is found with one look here and a search among
/// the few keys that share them.
///
/// Has about as many entries as there are keys, 4 bytes each; made in O(keys).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Directory {
    shift: u32,
    heads: Vec<u32>,
}

impl Directory {
    /// For keys in ascending order, fewer than 2^32.
    pub(super) fn new<K: Key>(keys: &[K]) -> Self {
        let Some(last) = keys.last() else {
            return Self { shift: 0, heads: Vec::new() };
        };
        let width = last.width();
        let shift = (width - keys.len().ilog2().min(width)).min(K::BITS - 1);
        let mut heads = vec![0u32; last.upper(shift) + 2];
        for key in keys {
            heads[key.upper(shift) + 1] += 1;
        }
        let mut sum = 0;
        for head in &mut heads {
            sum += *head;
            *head = sum;
        }
        Self { shift, heads }
    }

    /// The place of a key among those the directory was made for, if it is there.
    #[inline]
    pub(super) fn find<K: Key>(&self, keys: &[K], key: K) -> Option<usize> {
        let upper = key.upper(self.shift);
        let (&from, &to) = (self.heads.get(upper)?, self.heads.get(upper + 1)?);
        keys[from as usize..to as usize].binary_search(&key).ok().map(|place| from as usize + place)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check<K: Key>(mut keys: Vec<K>, others: &[K]) {
        keys.sort_unstable();
        keys.dedup();
        let directory = Directory::new(&keys);
        for &key in keys.iter().chain(others) {
            assert_eq!(directory.find(&keys, key), keys.binary_search(&key).ok());
        }
    }

    proptest! {
        #[test]
        fn same_as_searching(keys in prop::collection::vec(any::<u64>(), 0..200), others in prop::collection::vec(any::<u64>(), 20), shift in 0u32..64) {
            let narrow = |keys: &[u64]| keys.iter().map(|key| (key >> shift) as u32).collect::<Vec<_>>();
            check(narrow(&keys), &narrow(&others));
            check(narrow(&keys), &[0, 1, u32::MAX]);
            check(keys.iter().map(|key| key >> shift).collect(), &others);
            check(keys, &[0, 1, u64::MAX]);
        }
    }
}
