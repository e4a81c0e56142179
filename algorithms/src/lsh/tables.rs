//! Buckets as flat arrays.

use std::marker::PhantomData;
use std::ops::Range;

use rayon::prelude::*;

use super::directory::Directory;
use super::parts::{Filling, compact, hashed, split};
use super::radix::Sorter;
use super::{Family, Id, Key, MinHashFamily, Sets};

/// Which rows share a key, per table: sorted keys, offsets and rows, and nothing else.
///
/// The arrays hold the tables one after the other and can lie in memory or in a mapped file.
///
/// | array | length | contents |
/// |---|---|---|
/// | `starts` | tables + 1 | where each table's keys begin in `keys`; from 0 to the number of keys |
/// | `keys` | buckets | the keys of each table's buckets, ascending within a table |
/// | `offsets` | buckets + tables | per table, where each bucket's rows begin; one more than keys, from 0 to n |
/// | `rows` | tables x n | per table, all rows in order of (key, row) |
///
/// Beside them a directory of the keys is kept in memory, 4 bytes per bucket, so that finding a bucket takes O(1) where keys are
/// spread evenly, O(log buckets) at worst.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tables<K, S = Vec<u64>, L = Vec<K>, I = Vec<u32>> {
    len: usize,
    starts: S,
    keys: L,
    offsets: I,
    rows: I,
    directories: Vec<Directory>,
    key: PhantomData<K>,
}

/// Why arrays are no tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TablesError {
    /// There is no table, or more rows than ids.
    #[error("tables of {rows} rows with {starts} starts: expected at least two starts and at most 4294967295 rows")]
    Shape {
        /// Number of rows.
        rows: usize,
        /// Length of the array.
        starts: usize,
    },
    /// An array is of another length than the others say.
    #[error("the array of {array} has length {found}, expected {expected}")]
    Length {
        /// Its name.
        array: &'static str,
        /// Its length.
        found: usize,
        /// What its length must be.
        expected: usize,
    },
    /// The starts are not ascending from 0 to the number of keys.
    #[error("starts do not ascend from 0 to the number of keys at table {0}")]
    Starts(usize),
    /// The keys of a table are not strictly ascending.
    #[error("keys of table {0} are not strictly ascending")]
    Keys(usize),
    /// The offsets of a table are not strictly ascending from 0 to the number of rows.
    #[error("offsets of table {0} do not ascend from 0 to the number of rows")]
    Offsets(usize),
    /// The rows of a bucket are not strictly ascending, or there is no such row.
    #[error("table {table} has row {row} out of order or out of range")]
    Row {
        /// The table.
        table: usize,
        /// What is in its array.
        row: u32,
    },
}

impl<K: Key> Tables<K> {
    /// Tables of `n` rows, whose keys `hash` writes for a range of rows, row-major: rows x tables.
    ///
    /// Rows are hashed and tables sorted in parallel; the result is the same with any number of threads. Beside the hashing takes
    /// O(n x tables) time where keys are spread evenly or short, O(n log n x tables) at worst. Room: 8 bytes per row and table (4 where
    /// keys have 32 bits) and the buckets, and 24 bytes per row and thread.
    ///
    /// # Panics
    /// If there are no tables, or more than 2^32 - 1 rows.
    pub fn build(n: usize, tables: usize, hash: impl Fn(Range<usize>, &mut [K]) + Sync) -> Self {
        assert!(tables > 0, "no tables");
        assert!(u32::try_from(n).is_ok(), "{n} rows: expected at most 4294967295");
        // The first touch of fresh memory costs more than sorting what is in it, and what is never touched costs nothing. So the keys of rows lie where
        // offsets and rows will be, and only those of buckets go to an array of their own.
        let (mut keys, mut offsets, mut rows) =
            (vec![K::default(); tables * n], vec![0; tables * (n + 1)], vec![0; tables * n]);
        hashed(split(&mut offsets, n + 1, tables).zip(split(&mut rows, n, tables)).collect(), n, hash);
        let parts =
            split(&mut keys, n, tables).zip(split(&mut offsets, n + 1, tables)).zip(split(&mut rows, n, tables));
        let parts: Vec<_> = parts.collect();
        let made = parts.into_par_iter().map_init(Sorter::default, |sorter, ((keys, offsets), rows)| {
            sorter.load(offsets.iter().zip(&*rows).map(|(&upper, &lower)| K::of_halves(upper, lower)));
            let mut table = Filling { keys, offsets, rows, buckets: 0, filled: 0 };
            sorter.each_sorted(|pairs| table.add(pairs));
            let Filling { keys, offsets, buckets, filled, .. } = table;
            offsets[buckets] = filled as u32;
            (buckets, Directory::new(&keys[..buckets]))
        });
        let (counts, directories): (Vec<usize>, Vec<Directory>) = made.unzip();
        compact(&mut keys, n, &counts);
        let ends: Vec<usize> = counts.iter().map(|count| count + 1).collect();
        compact(&mut offsets, n + 1, &ends);
        let mut starts = vec![0];
        starts.extend(counts.iter().scan(0, |sum, &count| {
            *sum += count as u64;
            Some(*sum)
        }));
        Self { len: n, starts, keys, offsets, rows, directories, key: PhantomData }
    }

    /// Tables of vectors, row-major: n x dimension.
    ///
    /// # Panics
    /// If `rows` is not a whole number of rows, or there are more than 2^32 - 1.
    pub fn of_vectors<F: Family<Key = K>>(family: &F, rows: &[f32]) -> Self {
        let d = family.dimension();
        assert_eq!(rows.len() % d, 0, "rows of another dimension");
        Self::build(rows.len() / d, family.tables(), |range, keys| {
            family.keys(&rows[range.start * d..range.end * d], keys);
        })
    }
}

impl Tables<u64> {
    /// Tables of sets.
    ///
    /// # Panics
    /// If there are more than 2^32 - 1.
    pub fn of_sets<I: Id>(family: &MinHashFamily, sets: Sets<'_, I>) -> Self {
        let tables = family.tables();
        Self::build(sets.len(), tables, |range, keys| {
            for (set, keys) in range.zip(keys.chunks_exact_mut(tables)) {
                family.keys(sets.get(set), keys);
            }
        })
    }
}

impl<K: Key, S: AsRef<[u64]> + Sync, L: AsRef<[K]> + Sync, I: AsRef<[u32]> + Sync> Tables<K, S, L, I> {
    /// Tables of `len` rows from arrays of unknown origin, for example a mapped file. O(all arrays).
    ///
    /// # Errors
    /// If the arrays do not fit each other or are out of order, so that every lookup in accepted tables is in range.
    pub fn from_parts(len: usize, starts: S, keys: L, offsets: I, rows: I) -> Result<Self, TablesError> {
        let mut tables = Self { len, starts, keys, offsets, rows, directories: Vec::new(), key: PhantomData };
        tables.check()?;
        tables.directories =
            (0..tables.count()).into_par_iter().map(|table| Directory::new(tables.keys_of(table))).collect();
        Ok(tables)
    }

    fn check(&self) -> Result<(), TablesError> {
        let (starts, keys) = (self.starts.as_ref(), self.keys.as_ref());
        if starts.len() < 2 || u32::try_from(self.len).is_err() {
            return Err(TablesError::Shape { rows: self.len, starts: starts.len() });
        }
        let count = starts.len() - 1;
        let lengths = [
            ("offsets", self.offsets.as_ref().len(), keys.len().saturating_add(count)),
            ("rows", self.rows.as_ref().len(), self.len.saturating_mul(count)),
        ];
        for (array, found, expected) in lengths {
            if found != expected {
                return Err(TablesError::Length { array, found, expected });
            }
        }
        if starts[0] != 0 {
            return Err(TablesError::Starts(0));
        }
        if let Some(table) = (0..count).find(|&t| starts[t] > starts[t + 1]) {
            return Err(TablesError::Starts(table));
        }
        if starts[count] != keys.len() as u64 {
            return Err(TablesError::Starts(count));
        }
        (0..count).into_par_iter().map(|table| self.check_table(table)).find_first(Result::is_err).unwrap_or(Ok(()))
    }

    fn check_table(&self, table: usize) -> Result<(), TablesError> {
        if !self.keys_of(table).is_sorted_by(|a, b| a < b) {
            return Err(TablesError::Keys(table));
        }
        let offsets = self.offsets_of(table);
        let ends = (offsets.first().copied(), offsets.last().copied());
        if ends != (Some(0), Some(self.len as u32)) || !offsets.is_sorted_by(|a, b| a < b) {
            return Err(TablesError::Offsets(table));
        }
        let rows = self.rows_of(table);
        for bucket in offsets.windows(2) {
            let mut next = 0;
            for &row in &rows[bucket[0] as usize..bucket[1] as usize] {
                if row < next || row as usize >= self.len {
                    return Err(TablesError::Row { table, row });
                }
                next = row + 1;
            }
        }
        Ok(())
    }

    /// Number of tables.
    pub fn count(&self) -> usize {
        self.starts.as_ref().len() - 1
    }

    /// Number of rows, n.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The arrays, in the order of the struct's description.
    pub fn parts(&self) -> (&[u64], &[K], &[u32], &[u32]) {
        (self.starts.as_ref(), self.keys.as_ref(), self.offsets.as_ref(), self.rows.as_ref())
    }

    /// The keys of a table's buckets, ascending.
    ///
    /// # Panics
    /// If there is no such table.
    pub fn keys_of(&self, table: usize) -> &[K] {
        let starts = self.starts.as_ref();
        &self.keys.as_ref()[starts[table] as usize..starts[table + 1] as usize]
    }

    /// The rows in a table that have this key, ascending; none if there is no such bucket.
    ///
    /// # Panics
    /// If there is no such table.
    pub fn bucket(&self, table: usize, key: K) -> &[u32] {
        match self.directories[table].find(self.keys_of(table), key) {
            Some(bucket) => self.rows_at(table, bucket),
            None => &[],
        }
    }

    /// All buckets of a table in order of their keys.
    ///
    /// # Panics
    /// If there is no such table.
    pub fn buckets(&self, table: usize) -> impl Iterator<Item = (K, &[u32])> {
        self.keys_of(table).iter().enumerate().map(move |(bucket, &key)| (key, self.rows_at(table, bucket)))
    }

    fn rows_at(&self, table: usize, bucket: usize) -> &[u32] {
        let offsets = self.offsets_of(table);
        &self.rows_of(table)[offsets[bucket] as usize..offsets[bucket + 1] as usize]
    }

    fn offsets_of(&self, table: usize) -> &[u32] {
        let starts = self.starts.as_ref();
        &self.offsets.as_ref()[starts[table] as usize + table..starts[table + 1] as usize + table + 1]
    }

    fn rows_of(&self, table: usize) -> &[u32] {
        &self.rows.as_ref()[table * self.len..][..self.len]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;
    use crate::lsh::{SignFamily, StableFamily};

    /// The slow twin.
    fn naive<K: Key>(tables: usize, keys: &[K]) -> Vec<HashMap<K, Vec<u32>>> {
        let mut maps = vec![HashMap::<K, Vec<u32>>::new(); tables];
        for (row, keys) in (0..).zip(keys.chunks_exact(tables)) {
            for (map, &key) in maps.iter_mut().zip(keys) {
                map.entry(key).or_default().push(row);
            }
        }
        maps
    }

    fn check<K: Key>(tables: &Tables<K>, keys: &[K]) {
        let maps = naive(tables.count(), keys);
        for (table, map) in maps.iter().enumerate() {
            let flat: HashMap<K, Vec<u32>> = tables.buckets(table).map(|(key, rows)| (key, rows.to_vec())).collect();
            assert_eq!(&flat, map);
            assert!(map.iter().all(|(&key, rows)| tables.bucket(table, key) == rows));
            let mixed = keys.iter().zip(keys.iter().skip(1)).map(|(a, b)| a.step(*b));
            for key in mixed {
                assert_eq!(tables.bucket(table, key), map.get(&key).map_or(&[][..], Vec::as_slice));
            }
            assert!(map.contains_key(&K::default()) || tables.bucket(table, K::default()).is_empty());
        }
        let (starts, all, offsets, rows) = tables.parts();
        let mapped = Tables::from_parts(tables.len(), starts, all, offsets, rows).unwrap();
        assert_eq!(mapped.directories, tables.directories);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn same_as_a_map(n in 0usize..3000, count in 1usize..4, modulus in 1u64..5000, salt in any::<u64>()) {
            let stream = crate::random::Stream::new(salt, crate::random::Purpose::Generate, 0);
            let keys: Vec<u64> = (0..(n * count) as u64).map(|i| stream.hash(i) % modulus * 0x1_0001_0001).collect();
            let build = || Tables::build(n, count, |range, out: &mut [u64]| {
                out.copy_from_slice(&keys[range.start * count..range.end * count]);
            });
            let tables = build();
            check(&tables, &keys);
            let alone = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap().install(build);
            prop_assert_eq!(alone, tables);
        }

        /// Whatever single number is changed, lookups in what is accepted stay in range.
        #[test]
        fn damage_is_refused_or_harmless(which in 0usize..4, place in any::<prop::sample::Index>(), value in 0u32..40) {
            let tables = Tables::build(12, 2, |range, out: &mut [u32]| {
                for (row, keys) in range.zip(out.chunks_exact_mut(2)) {
                    keys.copy_from_slice(&[row as u32 % 5, row as u32 / 4]);
                }
            });
            let mut parts = (tables.starts.clone(), tables.keys.clone(), tables.offsets.clone(), tables.rows.clone());
            match which {
                0 => *place.get_mut(&mut parts.0) = value.into(),
                1 => *place.get_mut(&mut parts.1) = value,
                2 => *place.get_mut(&mut parts.2) = value,
                _ => *place.get_mut(&mut parts.3) = value,
            }
            if let Ok(tables) = Tables::from_parts(12, parts.0, parts.1, parts.2, parts.3) {
                for table in 0..2 {
                    for (_, rows) in tables.buckets(table) {
                        prop_assert!(!rows.is_empty() && rows.iter().all(|&row| row < 12));
                    }
                }
            }
        }
    }

    #[test]
    fn families_fill_tables() {
        let stream = crate::random::Stream::new(4, crate::random::Purpose::Generate, 0);
        let rows: Vec<f32> = (0..2500 * 6).map(|i| (stream.uniform(i) - 0.5) as f32).collect();
        let sign = SignFamily::new(6, 3, 5, 1);
        let mut keys = vec![0; 2500 * 3];
        sign.keys(&rows, &mut keys);
        check(&Tables::of_vectors(&sign, &rows), &keys);
        let stable = StableFamily::new(6, 3, 3, 0.8, 1);
        let mut keys = vec![0; 2500 * 3];
        stable.keys(&rows, &mut keys);
        check(&Tables::of_vectors(&stable, &rows), &keys);
        let offsets = [0, 2, 2, 4, 4];
        let sets = Sets::new(&offsets, &[1u32, 7, 1, 7]).unwrap();
        let tables = Tables::of_sets(&MinHashFamily::new(2, 3, 1), sets);
        assert!((0..2).all(|table| tables.buckets(table).all(|(_, rows)| rows == [0, 2] || rows == [1, 3])));
    }

    #[test]
    fn damage_is_named() {
        let parts = |len, starts: &[u64], keys: &[u32], offsets: &[u32], rows: &[u32]| {
            Tables::from_parts(len, starts.to_vec(), keys.to_vec(), offsets.to_vec(), rows.to_vec()).map(|_| ())
        };
        assert_eq!(parts(2, &[0, 2], &[1, 4], &[0, 1, 2], &[1, 0]), Ok(()));
        assert_eq!(parts(0, &[0, 0], &[], &[0], &[]), Ok(()));
        assert_eq!(parts(2, &[0], &[], &[], &[]), Err(TablesError::Shape { rows: 2, starts: 1 }));
        assert_eq!(
            parts(2, &[0, 2], &[1, 4], &[0, 2], &[1, 0]),
            Err(TablesError::Length { array: "offsets", found: 2, expected: 3 })
        );
        assert_eq!(parts(2, &[0, u64::MAX], &[1, 4], &[0, 1, 2], &[1, 0]), Err(TablesError::Starts(1)));
        assert_eq!(parts(2, &[0, 2], &[4, 4], &[0, 1, 2], &[1, 0]), Err(TablesError::Keys(0)));
        assert_eq!(parts(2, &[0, 2], &[1, 4], &[0, 2, 2], &[1, 0]), Err(TablesError::Offsets(0)));
        assert_eq!(parts(2, &[0, 2], &[1, 4], &[0, 1, 2], &[1, 2]), Err(TablesError::Row { table: 0, row: 2 }));
        assert_eq!(parts(2, &[0, 1], &[1], &[0, 2], &[1, 0]), Err(TablesError::Row { table: 0, row: 0 }));
    }
}
