//! The keys of rows.

use coterie_algorithms::{
    lsh::{Family, SignFamily, StableFamily},
    random::{Purpose, hash},
};
use coterie_crds::resolved::Lsh;
use serde::{Deserialize, Serialize};

/// Round of the seed that tables are drawn from.
const TABLES: u64 = u64::MAX - 2;

/// What the keys depend on beside the row.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hashing {
    /// Width of a cell for distances; `None`: planes, for angles.
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
}

impl Hashing {
    /// As a job asks for it.
    #[must_use]
    pub fn new(params: &Lsh, seed: u64) -> Self {
        Self { width: params.width, hashes: params.hashes, seed }
    }

    /// A table over rows of `dimension` columns. Each has a seed of its own, so that it can be made without those before it.
    #[must_use]
    pub fn table(&self, dimension: usize, table: u32) -> Table {
        let seed = hash(self.seed, Purpose::Hashing, TABLES, u64::from(table));
        match self.width {
            None => Table::Sign(SignFamily::new(dimension, 1, self.hashes, seed)),
            Some(width) => Table::Stable(StableFamily::new(dimension, 1, self.hashes as usize, width, seed)),
        }
    }
}

impl Table {
    /// Leaves the keys of rows in `keys`.
    pub fn keys(&self, rows: &[f32], keys: &mut Vec<u64>) {
        keys.clear();
        match self {
            Self::Sign(family) => {
                let mut narrow = vec![0; rows.len() / family.dimension()];
                family.keys(rows, &mut narrow);
                keys.extend(narrow.into_iter().map(u64::from));
            }
            Self::Stable(family) => {
                keys.resize(rows.len() / family.dimension(), 0);
                family.keys(rows, keys);
            }
        }
    }
}
