//! Hash tables over the items.

use coterie_algorithms::lsh::{Effort, Neighbour, Searcher, SetFamily, SignFamily, StableFamily, Tables};
use coterie_algorithms::metric::Metric;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::ops::Range;
use std::sync::Arc;

use super::column::Column;
use super::file::Allotter;
use super::parameters::{MOST_HASHES, MOST_TABLES};
use super::setting::{Rows, Setting};
use super::stop::{Stop, Stoppable};
use memmap2::Mmap;

/// How the tables were made, and where they lie.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TablesInfo {
    pub(super) hashing: Hashing,
    /// Tables, all of which are used.
    pub(super) tables: usize,
    /// Buckets tried.
    pub(super) probes: usize,
    pub(super) seed: u64,
    /// Recall on the sample.
    pub(super) recall: f64,
    pub(super) starts: Range<u64>,
    pub(super) keys: Range<u64>,
    pub(super) offsets: Range<u64>,
    pub(super) rows: Range<u64>,
}

/// The family of the hashes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Hashing {
    /// Sides of random planes.
    Sign { bits: u32 },
    /// Cells of random lines.
    Stable { hashes: usize, width: f64 },
    /// Smallest hashes of sets.
    MinHash { hashes: usize },
}

/// Hash tables of the items: what shares a bucket with a query is near it.
#[derive(Debug)]
pub struct ItemTables {
    kind: Kind,
    effort: Effort,
    recall: f64,
}

type Mapped<K> = Tables<K, Column<u64>, Column<K>, Column<u32>>;

#[derive(Debug)]
enum Kind {
    Sign(SignFamily, Mapped<u32>),
    Stable(StableFamily, Mapped<u64>),
    Sets(SetFamily, Mapped<u64>),
}

/// Buffers of a thread that asks.
#[derive(Debug, Default)]
pub struct TablesSearcher {
    narrow: Searcher<u32>,
    wide: Searcher<u64>,
}

/// Builds tables and writes them. Once it is asked to stop, what is built is worth nothing.
pub(super) fn build(
    file: &File,
    room: &mut Allotter,
    Rows { values, dimension: d, .. }: Rows<'_>,
    setting: Setting,
    stop: &Stop,
) -> std::io::Result<TablesInfo> {
    let Setting { hashing, effort, recall: _, seed } = setting;
    match hashing {
        Hashing::Sign { bits } => {
            let family = SignFamily::new(d, effort.tables, bits, seed);
            store(file, room, &Tables::of_vectors(&Stoppable(family, stop), values), setting)
        }
        Hashing::Stable { hashes, width } => {
            let family = StableFamily::new(d, effort.tables, hashes, width, seed);
            store(file, room, &Tables::of_vectors(&Stoppable(family, stop), values), setting)
        }
        Hashing::MinHash { hashes } => {
            let family = SetFamily::new(d, effort.tables, hashes, seed);
            store(file, room, &Tables::of_vectors(&Stoppable(family, stop), values), setting)
        }
    }
}

fn store<K: coterie_algorithms::lsh::Key + bytemuck::NoUninit>(
    file: &File,
    room: &mut Allotter,
    tables: &Tables<K>,
    Setting { hashing, effort, recall, seed }: Setting,
) -> std::io::Result<TablesInfo> {
    let (starts, keys, offsets, rows) = tables.parts();
    Ok(TablesInfo {
        hashing,
        tables: effort.tables,
        probes: effort.probes,
        seed,
        recall,
        starts: room.append(file, starts)?,
        keys: room.append(file, keys)?,
        offsets: room.append(file, offsets)?,
        rows: room.append(file, rows)?,
    })
}

impl ItemTables {
    /// The tables in a mapped file, of `n` rows.
    pub(super) fn open(map: &Arc<Mmap>, info: &TablesInfo, n: usize, dimension: usize) -> Result<Self, String> {
        let effort = Effort { tables: info.tables, probes: info.probes };
        let starts = column(map, &info.starts)?;
        let (offsets, rows) = (column(map, &info.offsets)?, column(map, &info.rows)?);
        let possible = (1..=MOST_TABLES).contains(&info.tables) && dimension > 0;
        let few = |hashes: usize| (1..=MOST_HASHES).contains(&hashes);
        let kind = match info.hashing {
            Hashing::Sign { bits } if possible && few(bits as usize) => {
                let family = SignFamily::new(dimension, info.tables, bits, info.seed);
                let tables = Tables::from_parts(n, starts, column(map, &info.keys)?, offsets, rows);
                Kind::Sign(family, tables.map_err(|error| error.to_string())?)
            }
            Hashing::Stable { hashes, width } if possible && few(hashes) && width.is_finite() && width > 0.0 => {
                let family = StableFamily::new(dimension, info.tables, hashes, width, info.seed);
                let tables = Tables::from_parts(n, starts, column(map, &info.keys)?, offsets, rows);
                Kind::Stable(family, tables.map_err(|error| error.to_string())?)
            }
            Hashing::MinHash { hashes } if possible && few(hashes) => {
                let family = SetFamily::new(dimension, info.tables, hashes, info.seed);
                let tables = Tables::from_parts(n, starts, column(map, &info.keys)?, offsets, rows);
                Kind::Sets(family, tables.map_err(|error| error.to_string())?)
            }
            Hashing::Sign { .. } | Hashing::Stable { .. } | Hashing::MinHash { .. } => {
                return Err("it has impossible hash tables".to_owned());
            }
        };
        let tables = Self { kind, effort, recall: info.recall };
        if tables.count() == info.tables { Ok(tables) } else { Err("it lacks hash tables".to_owned()) }
    }

    /// Number of tables.
    pub fn count(&self) -> usize {
        match &self.kind {
            Kind::Sign(_, tables) => tables.count(),
            Kind::Stable(_, tables) | Kind::Sets(_, tables) => tables.count(),
        }
    }

    /// Buckets that a query tries.
    pub fn probes(&self) -> usize {
        self.effort.probes
    }

    /// Recall of the ten nearest on a sample, when the tables were built.
    pub fn recall(&self) -> f64 {
        self.recall
    }

    /// The `m` items nearest to `query` of those that share a bucket with it, by exact distance. `rows` are all items.
    ///
    /// # Panics
    /// If the query is of another dimension.
    pub fn nearest(
        &self,
        searcher: &mut TablesSearcher,
        rows: &[f32],
        metric: Metric,
        query: &[f32],
        m: usize,
        found: &mut Vec<Neighbour>,
    ) {
        match &self.kind {
            Kind::Sign(family, tables) => {
                searcher.narrow.nearest(family, tables, rows, metric, query, self.effort, m, found);
            }
            Kind::Stable(family, tables) => {
                searcher.wide.nearest(family, tables, rows, metric, query, self.effort, m, found);
            }
            Kind::Sets(family, tables) => {
                searcher.wide.nearest(family, tables, rows, metric, query, self.effort, m, found);
            }
        }
    }
}

/// Numbers in a mapped file.
pub(super) fn column<T: bytemuck::AnyBitPattern>(map: &Arc<Mmap>, range: &Range<u64>) -> Result<Column<T>, String> {
    let bytes = usize::try_from(range.start).ok().zip(usize::try_from(range.end).ok());
    bytes.and_then(|(start, end)| Column::new(map, start..end)).ok_or_else(|| "an array lies beyond its end".to_owned())
}
