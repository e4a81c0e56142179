//! The keys of rows.

use std::cell::OnceCell;

use coterie_algorithms::{
    lsh::{Family, Members, MinHashFamily, SignFamily, StableFamily},
    random::{Purpose, hash},
};
use coterie_crds::resolved::{Lsh, Metric};
use serde::{Deserialize, Serialize};

/// Round of the seed that tables are drawn from.
const TABLES: u64 = u64::MAX - 2;

/// What the keys depend on beside the row.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hashing {
    /// Distance of rows that are to share keys.
    pub metric: Metric,
    /// Width of a cell, for straight-line distances.
    pub width: Option<f64>,
    /// Hashes that make a key.
    pub hashes: u32,
    /// Seed of the run.
    pub seed: u64,
}

/// One table.
#[derive(Clone, Debug)]
pub enum Table {
    /// Sides of planes, for angles.
    Sign(SignFamily),
    /// Cells of lines, for distances.
    Stable(StableFamily),
    /// Smallest hashes, for sets.
    MinHash(MinHashFamily),
}

/// Rows to be hashed; also as sets, once a table asks for them.
#[derive(Debug)]
pub struct Rows<'a> {
    values: &'a [f32],
    dimension: usize,
    members: OnceCell<Members>,
}

impl<'a> Rows<'a> {
    /// Row-major rows of `dimension` columns.
    #[must_use]
    pub fn new(values: &'a [f32], dimension: usize) -> Self {
        Self { values, dimension, members: OnceCell::new() }
    }

    fn len(&self) -> usize {
        self.values.len() / self.dimension
    }

    /// The rows, one by one.
    pub fn iter(&self) -> impl Iterator<Item = &'a [f32]> {
        self.values.chunks_exact(self.dimension)
    }

    fn members(&self) -> &Members {
        self.members.get_or_init(|| Members::of(self.values, self.dimension))
    }
}

impl Hashing {
    /// As a job asks for it.
    #[must_use]
    pub fn new(params: &Lsh, metric: Metric, seed: u64) -> Self {
        Self { metric, width: params.width, hashes: params.hashes, seed }
    }

    /// Whether a row is in buckets at all. A row of zeros has no direction: its cosine distance to every row is 1, to another one
    /// of zeros too, so it shares buckets with none. It lies on every plane, and would otherwise be in the one bucket of each table that is
    /// on the same side of all of them, and hang rows together there that have nothing in common.
    #[must_use]
    pub fn has_keys(&self, row: &[f32]) -> bool {
        self.metric != Metric::Cosine || row.iter().any(|value| *value != 0.0)
    }

    /// A table over rows of `dimension` columns. Each has a seed of its own, so that it can be made without those before it.
    #[must_use]
    pub fn table(&self, dimension: usize, table: u32) -> Table {
        let seed = hash(self.seed, Purpose::Hashing, TABLES, u64::from(table));
        let hashes = self.hashes as usize;
        match (self.metric, self.width) {
            (Metric::Jaccard, _) => Table::MinHash(MinHashFamily::new(1, hashes, seed)),
            (_, None) => Table::Sign(SignFamily::new(dimension, 1, self.hashes, seed)),
            (_, Some(width)) => Table::Stable(StableFamily::new(dimension, 1, hashes, width, seed)),
        }
    }
}

impl Table {
    /// Leaves the keys of rows in `keys`.
    pub fn keys(&self, rows: &Rows<'_>, keys: &mut Vec<u64>) {
        keys.clear();
        match self {
            Self::Sign(family) => {
                let mut narrow = vec![0; rows.len()];
                family.keys(rows.values, &mut narrow);
                keys.extend(narrow.into_iter().map(u64::from));
            }
            Self::Stable(family) => {
                keys.resize(rows.len(), 0);
                family.keys(rows.values, keys);
            }
            Self::MinHash(family) => {
                keys.resize(rows.len(), 0);
                let sets = rows.members().sets();
                for (at, key) in keys.iter_mut().enumerate() {
                    family.keys(sets.get(at), std::slice::from_mut(key));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_zeros_have_no_direction_and_thus_no_keys() {
        let hashing = |metric, width| Hashing { metric, width, hashes: 3, seed: 7 };
        let cosine = hashing(Metric::Cosine, None);
        assert!(!cosine.has_keys(&[0.0, -0.0]) && cosine.has_keys(&[0.0, -1e-30]));
        // A point and a set like any other.
        assert!(hashing(Metric::Euclidean, Some(1.0)).has_keys(&[0.0, 0.0]));
        assert!(hashing(Metric::Jaccard, None).has_keys(&[0.0, 0.0]));
    }

    #[test]
    fn sets_share_keys_when_they_are_equal_and_hardly_when_they_are_not() {
        let hashing = Hashing { metric: Metric::Jaccard, width: None, hashes: 3, seed: 7 };
        // Rows 0 and 3 are the same set, rows 2 and 4 are empty.
        let values = [1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0, -0.0];
        let rows = Rows::new(&values, 3);
        let mut keys = Vec::new();
        for table in 0..20 {
            hashing.table(3, table).keys(&rows, &mut keys);
            assert_eq!((keys[0], keys[2]), (keys[3], keys[4]));
            assert!(keys[0] != keys[1] && keys[0] != keys[2] && keys[1] != keys[2], "table {table}");
        }
        // Tables differ.
        let first = keys.clone();
        hashing.table(3, 0).keys(&rows, &mut keys);
        assert_ne!(keys, first);
    }
}
