//! Which hash tables are built: chosen for a recall, or given and tried.

use coterie_algorithms::lsh::{
    Effort, Family, Goal, SetFamily, SignFamily, StableFamily, Trial, choose, set_families, sign_families,
    stable_families,
};
use coterie_algorithms::metric::Metric;

use super::stop::{Stop, Stoppable};
use super::tables::Hashing;

/// Most tables that are chosen, and most buckets that a query then tries.
const MOST_CHOSEN_TABLES: usize = 16;
const MOST_CHOSEN_PROBES: usize = 4096;
/// Rows on which parameters are tried, and most bytes of them.
const SAMPLE: usize = 20_000;
const SAMPLE_BYTES: usize = 256 << 20;
/// Rows of the sample that are asked for.
const QUERIES: usize = 200;
/// Items below which no tables are built: looking at all of them is faster, and a trial says nothing.
pub(super) const FEWEST: u64 = 100;
/// Neighbours whose recall counts.
pub(super) const NEIGHBOURS: usize = 10;

/// All rows of an index, row-major, and what they are compared by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rows<'a> {
    pub(super) values: &'a [f32],
    pub(super) dimension: usize,
    pub(super) metric: Metric,
}

/// Parameters of tables, and what they do on a sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Setting {
    pub(super) hashing: Hashing,
    pub(super) effort: Effort,
    /// Recall on the sample.
    pub(super) recall: f64,
    pub(super) seed: u64,
}

/// The cheapest parameters for a recall; where it is out of reach, those that come nearest.
///
/// Of a cosine model near means a small angle, which planes through the origin tell; of sets, many members in common, which the
/// smallest hashes tell; otherwise a small distance, which cells tell. `distance` is how far apart near rows typically are.
/// Once it is asked to stop, what is chosen is worth nothing.
pub(super) fn chosen(rows: Rows<'_>, (recall, distance): (f64, f64), seed: u64, stop: &Stop) -> Setting {
    let Rows { dimension, metric, .. } = rows;
    let (sample, n) = (rows.sample(), rows.len());
    let goal = Goal {
        recall,
        neighbours: NEIGHBOURS,
        queries: QUERIES,
        most_tables: MOST_CHOSEN_TABLES,
        most_probes: MOST_CHOSEN_PROBES,
        rows: n,
    };
    let setting = |(hashing, effort, recall)| Setting { hashing, effort, recall, seed };
    setting(match metric {
        Metric::Cosine => {
            let families = sign_families(dimension, n, MOST_CHOSEN_TABLES, seed);
            best(families, |family| Hashing::Sign { bits: family.bits() }, &sample, metric, (goal, seed), stop)
        }
        Metric::Jaccard => {
            let families = set_families(dimension, MOST_CHOSEN_TABLES, seed);
            best(families, |family| Hashing::MinHash { hashes: family.hashes() }, &sample, metric, (goal, seed), stop)
        }
        Metric::Euclidean => {
            let families = stable_families(dimension, distance, MOST_CHOSEN_TABLES, seed);
            let cells = |family: &StableFamily| Hashing::Stable { hashes: family.hashes(), width: family.width() };
            best(families, cells, &sample, metric, (goal, seed), stop)
        }
    })
}

fn best<F: Family>(
    families: Vec<(F, usize)>,
    hashing: impl Fn(&F) -> Hashing,
    sample: &[f32],
    metric: Metric,
    (goal, seed): (Goal, u64),
    stop: &Stop,
) -> (Hashing, Effort, f64) {
    let families: Vec<_> = families.into_iter().map(|(family, hashes)| (Stoppable(family, stop), hashes)).collect();
    let choice = choose(&families, sample, metric, goal, seed).unwrap_or_else(|error| error.best);
    (hashing(&families[choice.family].0.0), choice.effort, choice.recall)
}

/// Given parameters, tried. Once it is asked to stop, the recall is worth nothing.
pub(super) fn given(rows: Rows<'_>, (hashing, effort): (Hashing, Effort), seed: u64, stop: &Stop) -> Setting {
    let Rows { dimension: d, metric, .. } = rows;
    let sample = rows.sample();
    let trial = Trial::new(&sample, d, metric, (NEIGHBOURS, QUERIES, rows.len()), seed);
    let recall = match hashing {
        Hashing::Sign { bits } => trial.recall(&Stoppable(SignFamily::new(d, effort.tables, bits, seed), stop), effort),
        Hashing::Stable { hashes, width } => {
            trial.recall(&Stoppable(StableFamily::new(d, effort.tables, hashes, width, seed), stop), effort)
        }
        Hashing::MinHash { hashes } => {
            trial.recall(&Stoppable(SetFamily::new(d, effort.tables, hashes, seed), stop), effort)
        }
    };
    Setting { hashing, effort, recall, seed }
}

impl Rows<'_> {
    fn len(&self) -> usize {
        self.values.len() / self.dimension
    }

    /// Rows spread evenly over all, which lie in order of their clusters.
    fn sample(&self) -> Vec<f32> {
        let (n, d) = (self.len(), self.dimension);
        let count = sampled(n, d);
        (0..count).flat_map(|i| self.values[i * n / count * d..][..d].iter().copied()).collect()
    }
}

/// Rows of a sample of `n`: of wide ones fewer, but enough for a trial.
fn sampled(n: usize, dimension: usize) -> usize {
    let room = SAMPLE_BYTES / size_of::<f32>() / dimension.max(1);
    n.min(SAMPLE).min(room.max(FEWEST as usize))
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
        let values: Vec<f32> = (0..60u8).map(f32::from).collect();
        let rows = Rows { values: &values, dimension: 3, metric: Metric::Euclidean };
        assert_eq!(rows.sample(), values);
    }

    #[test]
    fn given_tables_of_all_rows_find_all() {
        let values: Vec<f32> = (0..400u16).map(|i| f32::from(i) / 400.0).collect();
        let rows = Rows { values: &values, dimension: 2, metric: Metric::Euclidean };
        let effort = Effort { tables: 3, probes: 3 };
        let wide = given(rows, (Hashing::Stable { hashes: 1, width: 1e6 }, effort), 4, &Stop::default());
        let narrow = given(rows, (Hashing::Stable { hashes: 8, width: 1e-3 }, effort), 4, &Stop::default());
        assert!(wide.recall == 1.0 && narrow.recall < 0.5, "{wide:?} {narrow:?}");
    }
}
