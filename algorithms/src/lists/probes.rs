//! How many lists a recall takes.

use rayon::prelude::*;

use super::{Lists, Searcher};
use crate::kmeans::nearest;
use crate::lsh::{pick, sure};
use crate::metric::Metric;

/// The fewest lists to look into so that the mean share found of the `neighbours` nearest rows is sure to be `recall`.
///
/// The method is trial: `queries` rows, chosen by `seed`, are asked for, leaving the row itself out. Their true neighbours are
/// found by looking into all lists; for each the rank of its list says how many lists it takes to find it. A number will do if
/// the lower end of the mean recall's confidence interval (Wilson 1927; one-sided, 95 %) reaches `recall`. If none is sure to,
/// all lists are taken, which is exact.
///
/// Takes O(queries x n x d / 4); the result does not depend on the number of threads.
pub fn probes_for(
    lists: &Lists<'_>,
    metric: Metric,
    recall: f64,
    neighbours: usize,
    queries: usize,
    seed: u64,
) -> usize {
    let k = lists.count();
    let neighbours = neighbours.min(lists.len().saturating_sub(1));
    if neighbours == 0 || queries == 0 {
        return k;
    }
    let picked = pick(lists.len(), queries, seed);
    let ranks = picked.par_iter().map_init(
        || (Searcher::new(), Vec::new()),
        |(searcher, found), &row| {
            let query = lists.row(row as usize);
            searcher.nearest(lists, metric, query, k, neighbours, Some(row), found);
            let mut ranks = vec![0; k];
            for (rank, (cluster, _)) in nearest(lists.centroids, query, k).into_iter().enumerate() {
                ranks[cluster as usize] = rank;
            }
            found.iter().map(|found| ranks[lists.cluster_of(found.id as usize)]).collect::<Vec<usize>>()
        },
    );
    // How many neighbours lie in the list of each rank.
    let mut counts = vec![0u64; k];
    for rank in ranks.collect::<Vec<_>>().into_iter().flatten() {
        counts[rank] += 1;
    }
    let all = (picked.len() * neighbours) as f64;
    let mut within = 0;
    let enough = counts.iter().position(|count| {
        within += count;
        sure(within as f64 / all, picked.len()) >= recall
    });
    enough.map_or(k, |rank| rank + 1)
}
