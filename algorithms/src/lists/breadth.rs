//! How far a search goes from list to list, and how far a recall takes it.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{Lists, Searcher};
use crate::kmeans::{Centroids, nearest};
use crate::lsh::pick;
use crate::metric::Metric;

/// Most lists that a trial considers; a recall that takes more gets all of them.
const MOST_LISTS: usize = 4096;

/// Bounds on the ratio that a trial considers, beside none.
const RATIOS: [f64; 12] = [1.02, 1.05, 1.1, 1.15, 1.2, 1.25, 1.3, 1.4, 1.5, 1.75, 2.0, 3.0];

/// How far a search goes.
///
/// A query within a cluster finds what it looks for in one or two lists; one between clusters takes many. The bound on the
/// ratio tells them apart (Q. Chen et al., "SPANN: highly-efficient billion-scale approximate nearest neighbor search",
/// NeurIPS 2021, query-aware pruning).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Breadth {
    /// Most lists looked into.
    pub lists: usize,
    /// Only lists are looked into whose centroid is at most so many times as far away as the nearest one.
    pub ratio: Option<f64>,
}

impl Breadth {
    /// As many lists, whatever their distance.
    pub fn lists(lists: usize) -> Self {
        Self { lists, ratio: None }
    }

    /// The farthest that a list's centroid may be when the nearest is at `nearest`.
    pub(super) fn farthest(&self, nearest: f64) -> f64 {
        self.ratio.map_or(f64::INFINITY, |ratio| ratio * nearest)
    }
}

/// The lists that a search for `m` rows of such breadth looks into, the nearest first, with their squared distances: those of
/// [`Searcher::nearest`], where list `c` holds `rows(c)` rows.
///
/// Where the rows of each list are divided over several places, every place that looks into these lists ([`Searcher::within`])
/// looks at its share of what the whole would look at; so the nearest of all that they find are what the whole would find. O(k d).
///
/// # Panics
/// If the query is of another dimension.
pub fn reach(
    centroids: &Centroids,
    rows: impl Fn(u32) -> u64,
    query: &[f32],
    breadth: Breadth,
    m: usize,
) -> Vec<(u32, f64)> {
    assert_eq!(query.len(), centroids.dimension(), "a query of another dimension");
    let mut near = nearest(centroids, query, breadth.lists);
    let farthest = near.first().map_or(0.0, |(_, square)| breadth.farthest(square.sqrt()));
    let within = near.partition_point(|(_, square)| square.sqrt() <= farthest);
    let mut sum = near[..within].iter().fold(0, |sum: u64, (cluster, _)| sum.saturating_add(rows(*cluster)));
    if sum < m as u64 {
        near = nearest(centroids, query, centroids.len());
    }
    let more = near[within..].iter().take_while(|(cluster, _)| {
        let wanted = sum < m as u64;
        sum = sum.saturating_add(rows(*cluster));
        wanted
    });
    let count = within + more.count();
    near.truncate(count);
    near
}

/// The breadth with the fewest rows to look at for which the mean share found of the `neighbours` nearest rows is sure to be
/// `recall`.
///
/// The method is trial: `queries` rows, chosen by `seed`, are asked for, leaving the row itself out. Their true neighbours are
/// found by looking into all lists; for each the rank of its list says how many lists it takes to find it. A breadth will
/// do if the mean recall less its error (one-sided, 95 %) reaches `recall`. If none is sure to, all lists are taken, which is
/// exact.
///
/// Takes O(queries x n x d / 4) at worst; the result does not depend on the number of threads. `go_on` is asked before each query,
/// and there is no result once it says no.
pub fn breadth_for(
    lists: &Lists<'_>,
    metric: Metric,
    recall: f64,
    neighbours: usize,
    queries: usize,
    seed: u64,
    go_on: impl Fn() -> bool + Sync,
) -> Option<Breadth> {
    let all = Breadth::lists(lists.count());
    let neighbours = neighbours.min(lists.len().saturating_sub(1));
    if neighbours == 0 || queries == 0 {
        return Some(all);
    }
    let picked = pick(lists.len(), queries, seed);
    let trial = |(searcher, found): &mut (Searcher, Vec<_>), &row: &u32| {
        if !go_on() {
            return None;
        }
        searcher.nearest(lists, metric, lists.row(row as usize), all, neighbours, Some(row), found);
        let clusters = found.iter().map(|found| lists.cluster_of(found.id as usize) as u32).collect::<Vec<_>>();
        Some(Trial::new(lists, lists.row(row as usize), &clusters))
    };
    let trials = picked.par_iter().map_init(|| (Searcher::new(), Vec::new()), trial);
    let trials: Vec<Trial> = trials.collect::<Option<_>>()?;
    let caps = std::iter::successors(Some(1), |&cap| Some(cap + (cap / 4).max(1)))
        .take_while(|&cap| cap <= lists.count().min(MOST_LISTS));
    let caps: Vec<usize> = caps.collect();
    let cheapest = |ratio: Option<f64>| {
        let ratio = std::iter::once(ratio);
        let breadths = ratio.flat_map(|ratio| caps.iter().map(move |&lists| Breadth { lists, ratio }));
        // More lists take more rows, so the first that will do is the cheapest with this ratio.
        breadths.map(|breadth| (breadth, outcome(&trials, breadth))).find(|(_, outcome)| outcome.recall >= recall)
    };
    let ratios = RATIOS.into_iter().map(Some).chain([None]).collect::<Vec<_>>();
    let found: Vec<(Breadth, Outcome)> = ratios.into_par_iter().filter_map(cheapest).collect();
    Some(found.into_iter().min_by(|a, b| a.1.rows.total_cmp(&b.1.rows)).map_or(all, |(breadth, _)| breadth))
}

/// A query whose true neighbours are known.
struct Trial {
    /// Distances of the nearest centroids, ascending.
    distances: Vec<f64>,
    /// Rows in the lists up to and including each of these.
    rows: Vec<u64>,
    /// Place among them of the list of each true neighbour; beyond the last where it is none of them.
    places: Vec<usize>,
}

impl Trial {
    fn new(lists: &Lists<'_>, query: &[f32], clusters: &[u32]) -> Self {
        let near = nearest(lists.centroids, query, MOST_LISTS);
        let mut total = 0;
        let rows = near.iter().map(|(cluster, _)| {
            total += lists.range(*cluster as usize).len() as u64;
            total
        });
        let place = |cluster: &u32| near.iter().position(|(other, _)| other == cluster).unwrap_or(usize::MAX);
        Self {
            distances: near.iter().map(|(_, square)| square.sqrt()).collect(),
            rows: rows.collect(),
            places: clusters.iter().map(place).collect(),
        }
    }

    /// Share of the neighbours that a search of such breadth finds, and the rows that it looks at.
    fn of(&self, breadth: Breadth) -> (f64, f64) {
        let farthest = self.distances.first().map_or(0.0, |&nearest| breadth.farthest(nearest));
        let within = self.distances.partition_point(|&distance| distance <= farthest).min(breadth.lists);
        let hits = self.places.iter().filter(|&&place| place < within).count();
        let rows = within.checked_sub(1).map_or(0, |last| self.rows[last]);
        (hits as f64 / self.places.len() as f64, rows as f64)
    }
}

/// What a breadth comes to over all trials.
struct Outcome {
    /// What the mean recall is at least.
    recall: f64,
    /// Rows looked at, on average.
    rows: f64,
}

fn outcome(trials: &[Trial], breadth: Breadth) -> Outcome {
    /// One-sided, 95 %.
    const Z: f64 = 1.645;
    let n = trials.len() as f64;
    let (mut recall, mut squares, mut rows) = (0.0, 0.0, 0.0);
    for trial in trials {
        let (found, looked) = trial.of(breadth);
        recall += found / n;
        squares += found * found / n;
        rows += looked / n;
    }
    let variance = (squares - recall * recall).max(0.0);
    // The last term is Wilson's (1927) for recalls that seem not to vary at all.
    Outcome { recall: recall - Z * (variance / n).sqrt() - Z * Z / (2.0 * n), rows }
}
