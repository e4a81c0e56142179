//! Looking up what is near a row, list by list.

use super::scan::{Scan, Wanted};
use super::{Breadth, Lists};
use crate::kmeans::kernel::squared_distance;
use crate::kmeans::nearest;
use crate::lsh::Neighbour;
use crate::metric::Metric;

/// Where more than one in so many centroids are wanted, all distances are taken.
const ONE_IN: usize = 4;

/// Answers queries one after the other, and keeps its buffers: once they have grown, a query allocates only for the order of the
/// centroids. Use one per thread.
#[derive(Clone, Debug, Default)]
pub struct Searcher {
    scan: Scan,
    /// For the centroids.
    guide: Scan,
}

impl Searcher {
    /// With empty buffers.
    pub fn new() -> Self {
        Self::default()
    }

    /// The `m` rows nearest to `query` among those of its nearest clusters, as far as `breadth` goes and on while there are
    /// fewer, ties by lowest place; `without` is left out.
    ///
    /// Distances are those of [`crate::lsh::brute_force`], bit for bit: in `f64`, of [`Metric::Cosine`] half the squared one,
    /// for rows of unit length; codes tell nothing of [`Metric::Jaccard`]. Takes O((k + rows in the lists) x d / 4) and little
    /// more for rows that are near; without a [`Guide`](super::Guide), O(k d) for the centroids.
    ///
    /// # Panics
    /// If the query is of another dimension.
    #[allow(clippy::too_many_arguments)] // what is searched, what for, and how
    pub fn nearest(
        &mut self,
        lists: &Lists<'_>,
        metric: Metric,
        query: &[f32],
        breadth: Breadth,
        m: usize,
        without: Option<u32>,
        found: &mut Vec<Neighbour>,
    ) {
        let wanted = Wanted { lists, query, m, without };
        self.scan.begin(wanted);
        if m > 0 {
            self.search(wanted, breadth);
        }
        self.give(metric, found);
    }

    /// As [`Searcher::nearest`], among all rows of one cluster.
    ///
    /// # Panics
    /// If the query is of another dimension or there is no such cluster.
    #[allow(clippy::too_many_arguments)] // what is searched, what for, and how
    pub fn in_cluster(
        &mut self,
        lists: &Lists<'_>,
        metric: Metric,
        query: &[f32],
        cluster: usize,
        m: usize,
        without: Option<u32>,
        found: &mut Vec<Neighbour>,
    ) {
        let near = [(cluster as u32, squared_distance(query, lists.centroids.row(cluster)))];
        self.within(lists, metric, query, &near, m, without, found);
    }

    /// As [`Searcher::nearest`], among the rows of exactly these clusters, the nearest first, given with their squared distances:
    /// see [`super::reach`].
    ///
    /// # Panics
    /// If the query is of another dimension.
    #[allow(clippy::too_many_arguments)] // what is searched, what for, and how
    pub fn within(
        &mut self,
        lists: &Lists<'_>,
        metric: Metric,
        query: &[f32],
        near: &[(u32, f64)],
        m: usize,
        without: Option<u32>,
        found: &mut Vec<Neighbour>,
    ) {
        let wanted = Wanted { lists, query, m, without };
        self.scan.begin(wanted);
        near.iter().for_each(|&near| self.scan.look(wanted, near));
        self.give(metric, found);
    }

    /// Gives what was found, the nearest first.
    fn give(&mut self, metric: Metric, found: &mut Vec<Neighbour>) {
        debug_assert!(metric != Metric::Jaccard, "lists are searched by straight-line distances");
        found.clear();
        found.extend(self.scan.drain().map(|(id, square)| Neighbour::new(metric, id, square)));
        found.sort_unstable_by(|a, b| a.distance.total_cmp(&b.distance).then(a.id.cmp(&b.id)));
    }

    fn search(&mut self, wanted: Wanted<'_>, breadth: Breadth) {
        let Wanted { lists, query, .. } = wanted;
        let near = self.centroids(lists, query, breadth.lists);
        let farthest = near.first().map_or(0.0, |(_, square)| breadth.farthest(square.sqrt()));
        for &near in &near {
            if near.1.sqrt() > farthest && self.scan.is_full(wanted) {
                break;
            }
            self.scan.look(wanted, near);
        }
        if !self.scan.is_full(wanted) {
            for near in nearest(lists.centroids, query, lists.count()).into_iter().skip(near.len()) {
                self.scan.look(wanted, near);
                if self.scan.is_full(wanted) {
                    break;
                }
            }
        }
    }

    /// The `count` nearest centroids: what [`nearest`] finds.
    pub(super) fn centroids(&mut self, lists: &Lists<'_>, query: &[f32], count: usize) -> Vec<(u32, f64)> {
        let Some(guide) = lists.guide.filter(|_| count <= lists.count() / ONE_IN) else {
            return nearest(lists.centroids, query, count);
        };
        let rows = guide.list(lists.centroids);
        let wanted = Wanted { lists: &rows, query, m: count, without: None };
        self.guide.begin(wanted);
        self.guide.look(wanted, (0, squared_distance(query, rows.centroids.row(0))));
        let mut near: Vec<(u32, f64)> = self.guide.drain().collect();
        near.sort_unstable_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
        near
    }
}
