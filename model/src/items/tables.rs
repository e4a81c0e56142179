//! Hash tables over the items.

use coterie_algorithms::lsh::{
    Effort, Family, Goal, Neighbour, Searcher, SetFamily, SignFamily, StableFamily, Tables, choose, set_families,
    sign_families, stable_families,
};
use coterie_algorithms::metric::Metric;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::ops::Range;
use std::sync::Arc;

use super::column::Column;
use super::file::Allotter;
use super::stop::{Stop, Stoppable};
use memmap2::Mmap;

/// Most tables that are built, and most buckets that a query tries.
const MOST_TABLES: usize = 16;
const MOST_PROBES: usize = 4096;
/// Rows on which the parameters are tried, and most bytes of them.
const SAMPLE: usize = 20_000;
const SAMPLE_BYTES: usize = 256 << 20;
/// Rows of the sample that are asked for.
const QUERIES: usize = 200;
/// Items below which no tables are built: looking at all of them is faster, and a trial says nothing.
pub(super) const FEWEST: u64 = 100;
/// Neighbours whose recall counts.
pub(super) const NEIGHBOURS: usize = 10;

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

/// Chooses parameters for a recall, builds the tables and writes them.
///
/// Of a cosine model near means a small angle, which planes through the origin tell; of sets, many members in common, which the
/// smallest hashes tell; otherwise a small distance, which cells tell. `distance` is how far apart near rows typically are.
/// Where the recall is out of reach, what comes nearest is built. Once it is asked to stop, what is built is worth nothing.
pub(super) fn build(
    file: &File,
    room: &mut Allotter,
    (rows, dimension): (&[f32], usize),
    metric: Metric,
    (recall, distance, seed): (f64, f64, u64),
    stop: &Stop,
) -> std::io::Result<TablesInfo> {
    let n = rows.len() / dimension;
    let sample = sample(rows, dimension);
    let goal = Goal {
        recall,
        neighbours: NEIGHBOURS,
        queries: QUERIES,
        most_tables: MOST_TABLES,
        most_probes: MOST_PROBES,
        rows: n,
    };
    match metric {
        Metric::Cosine => {
            let families = stoppable(sign_families(dimension, n, MOST_TABLES, seed), stop);
            let (family, effort, recall) = chosen(&families, &sample, metric, goal, seed);
            let hashing = Hashing::Sign { bits: families[family].0.0.bits() };
            let family = SignFamily::new(dimension, effort.tables, families[family].0.0.bits(), seed);
            store(file, room, &Tables::of_vectors(&Stoppable(family, stop), rows), hashing, effort, (recall, seed))
        }
        Metric::Jaccard => {
            let families = stoppable(set_families(dimension, MOST_TABLES, seed), stop);
            let (family, effort, recall) = chosen(&families, &sample, metric, goal, seed);
            let hashes = families[family].0.0.hashes();
            let family = SetFamily::new(dimension, effort.tables, hashes, seed);
            store(
                file,
                room,
                &Tables::of_vectors(&Stoppable(family, stop), rows),
                Hashing::MinHash { hashes },
                effort,
                (recall, seed),
            )
        }
        Metric::Euclidean => {
            let families = stoppable(stable_families(dimension, distance, MOST_TABLES, seed), stop);
            let (family, effort, recall) = chosen(&families, &sample, metric, goal, seed);
            let (hashes, width) = (families[family].0.0.hashes(), families[family].0.0.width());
            let family = StableFamily::new(dimension, effort.tables, hashes, width, seed);
            let hashing = Hashing::Stable { hashes, width };
            store(file, room, &Tables::of_vectors(&Stoppable(family, stop), rows), hashing, effort, (recall, seed))
        }
    }
}

fn stoppable<F>(families: Vec<(F, usize)>, stop: &Stop) -> Vec<(Stoppable<'_, F>, usize)> {
    families.into_iter().map(|(family, hashes)| (Stoppable(family, stop), hashes)).collect()
}

/// Rows spread evenly over all, which lie in order of their clusters.
fn sample(rows: &[f32], dimension: usize) -> Vec<f32> {
    let n = rows.len() / dimension;
    let count = sampled(n, dimension);
    (0..count).flat_map(|i| rows[i * n / count * dimension..][..dimension].iter().copied()).collect()
}

/// Rows of a sample of `n`: of wide ones fewer, but enough for a trial.
fn sampled(n: usize, dimension: usize) -> usize {
    let room = SAMPLE_BYTES / size_of::<f32>() / dimension.max(1);
    n.min(SAMPLE).min(room.max(FEWEST as usize))
}

fn chosen<F: Family>(
    families: &[(F, usize)],
    sample: &[f32],
    metric: Metric,
    goal: Goal,
    seed: u64,
) -> (usize, Effort, f64) {
    let choice = choose(families, sample, metric, goal, seed).unwrap_or_else(|error| error.best);
    (choice.family, choice.effort, choice.recall)
}

fn store<K: coterie_algorithms::lsh::Key + bytemuck::NoUninit>(
    file: &File,
    room: &mut Allotter,
    tables: &Tables<K>,
    hashing: Hashing,
    effort: Effort,
    (recall, seed): (f64, u64),
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
        let kind = match info.hashing {
            Hashing::Sign { bits } if possible && (1..=32).contains(&bits) => {
                let family = SignFamily::new(dimension, info.tables, bits, info.seed);
                let tables = Tables::from_parts(n, starts, column(map, &info.keys)?, offsets, rows);
                Kind::Sign(family, tables.map_err(|error| error.to_string())?)
            }
            Hashing::Stable { hashes, width }
                if possible && (1..=32).contains(&hashes) && width.is_finite() && width > 0.0 =>
            {
                let family = StableFamily::new(dimension, info.tables, hashes, width, info.seed);
                let tables = Tables::from_parts(n, starts, column(map, &info.keys)?, offsets, rows);
                Kind::Stable(family, tables.map_err(|error| error.to_string())?)
            }
            Hashing::MinHash { hashes } if possible && (1..=32).contains(&hashes) => {
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

    /// Recall of the ten nearest on a sample, when the parameters were chosen.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_wide_rows_are_bounded_by_their_bytes() {
        assert_eq!(sampled(500, 8), 500);
        assert_eq!(sampled(1 << 30, 8), SAMPLE);
        assert_eq!(sampled(1 << 30, 65_536), 1024);
        assert_eq!(sampled(1 << 30, 1 << 30), 100);
        let rows: Vec<f32> = (0..60u8).map(f32::from).collect();
        assert_eq!(sample(&rows, 3), rows);
    }
}
