//! Looking up what is near a row, list by list.

use std::collections::BinaryHeap;

use super::code::{Query, above};
use super::{Breadth, Lists};
use crate::kmeans::kernel::{code_bounds, code_dots, squared_distance};
use crate::kmeans::nearest;
use crate::lsh::Neighbour;
use crate::metric::Metric;

/// Share by which `f32` products, of the magnitudes that are added, may be too large.
const SLACK: f32 = 1.0 / (1 << 19) as f32;

/// Share by which a limit is widened, so that rounding excludes no row.
const WIDER: f64 = 1.0 + 1.0 / (1u64 << 30) as f64;

/// Takes the place of a bound, which is always less, once its row has been looked at.
const SEEN: f32 = f32::INFINITY;

/// Answers queries one after the other, and keeps its buffers: once they have grown, a query allocates only for the order of the
/// centroids. Use one per thread.
#[derive(Clone, Debug, Default)]
pub struct Searcher {
    query: Query,
    dots: Vec<i32>,
    bounds: Vec<f32>,
    /// Places in a list by their bounds.
    order: Vec<u32>,
    /// The nearest so far, the farthest of them on top.
    found: BinaryHeap<Found>,
}

/// A row by its squared distance.
#[derive(Clone, Copy, Debug)]
struct Found {
    square: f64,
    id: u32,
}

impl Ord for Found {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.square.total_cmp(&other.square).then(self.id.cmp(&other.id))
    }
}

impl PartialOrd for Found {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Found {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Found {}

impl Searcher {
    /// With empty buffers.
    pub fn new() -> Self {
        Self::default()
    }

    /// The `m` rows nearest to `query` among those of its nearest clusters, as far as `breadth` goes and on while there are
    /// fewer, ties by lowest place; `without` is left out.
    ///
    /// Distances are those of [`crate::lsh::brute_force`], bit for bit: in `f64`, of [`Metric::Cosine`] half the squared one,
    /// for rows of unit length; codes tell nothing of [`Metric::Jaccard`]. Takes O(k d + rows in the lists x d / 4) and little more
    /// for rows that are near.
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
        assert_eq!(query.len(), lists.centroids.dimension(), "a query of another dimension");
        self.search(lists, query, breadth, m, without);
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
        assert_eq!(query.len(), lists.centroids.dimension(), "a query of another dimension");
        self.found.clear();
        if m > 0 {
            self.look(lists, query, cluster, m, without);
        }
        self.give(metric, found);
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
        assert_eq!(query.len(), lists.centroids.dimension(), "a query of another dimension");
        self.found.clear();
        if m > 0 {
            self.look_into(lists, query, near, f64::INFINITY, m, without);
        }
        self.give(metric, found);
    }

    /// Gives what was found, the nearest first.
    fn give(&mut self, metric: Metric, found: &mut Vec<Neighbour>) {
        found.clear();
        found.extend(self.found.drain().map(|Found { square, id }| Neighbour::new(metric, id, square)));
        found.sort_unstable_by(|a, b| a.distance.total_cmp(&b.distance).then(a.id.cmp(&b.id)));
    }

    fn search(&mut self, lists: &Lists<'_>, query: &[f32], breadth: Breadth, m: usize, without: Option<u32>) {
        self.found.clear();
        if m == 0 {
            return;
        }
        let near = nearest(lists.centroids, query, breadth.lists);
        let farthest = near.first().map_or(0.0, |(_, square)| breadth.farthest(square.sqrt()));
        let asked = near.len();
        self.look_into(lists, query, &near, farthest, m, without);
        if self.found.len() < m {
            for (cluster, _) in nearest(lists.centroids, query, lists.count()).into_iter().skip(asked) {
                self.look(lists, query, cluster as usize, m, without);
                if self.found.len() == m {
                    break;
                }
            }
        }
    }

    /// Looks at the rows of clusters, given with their squared distances, up to the distance `farthest` and on while there are
    /// fewer than `m`.
    fn look_into(
        &mut self,
        lists: &Lists<'_>,
        query: &[f32],
        near: &[(u32, f64)],
        farthest: f64,
        m: usize,
        without: Option<u32>,
    ) {
        for &(cluster, square) in near {
            let distance = square.sqrt();
            if distance > farthest && self.found.len() == m {
                break;
            }
            // No row of the list is nearer than this.
            let least = distance - f64::from(lists.radii[cluster as usize]);
            if least <= self.limit(m) {
                self.look(lists, query, cluster as usize, m, without);
            }
        }
    }

    /// How far away a row may be and still be among the `m` nearest.
    fn limit(&self, m: usize) -> f64 {
        match self.found.peek() {
            Some(last) if self.found.len() == m => last.square.sqrt() * WIDER,
            _ => f64::INFINITY,
        }
    }

    /// Looks at the rows of one cluster.
    fn look(&mut self, lists: &Lists<'_>, query: &[f32], cluster: usize, m: usize, without: Option<u32>) {
        let range = lists.range(cluster);
        self.query.set(query, lists.centroids.row(cluster));
        let length = self.query.code.len();
        self.dots.resize(range.len(), 0);
        code_dots(&self.query.code, &lists.codes[range.start * length..range.end * length], &mut self.dots);
        self.bound(lists, range.clone());
        if self.found.len() < m {
            self.begin(lists, query, range.start, m, without);
        }

        let errors = &lists.terms.errors[range.clone()];
        let mut limit = above(self.limit(m) + self.query.error);
        for (place, (id, &error)) in (range.start as u32..).zip(errors).enumerate() {
            let (bound, reach) = (self.bounds[place], limit + error);
            // Where the sum overflows nothing is known, and the row is looked at.
            if bound > reach * reach || bound == SEEN || Some(id) == without {
                continue;
            }
            self.take(lists, query, id, m);
            limit = above(self.limit(m) + self.query.error);
        }
    }

    /// Looks at as many rows as are missing, those that seem nearest, so that their distances exclude most others.
    fn begin(&mut self, lists: &Lists<'_>, query: &[f32], first: usize, m: usize, without: Option<u32>) {
        let missing = m - self.found.len();
        if missing >= self.bounds.len() {
            return;
        }
        self.order.clear();
        self.order.extend(0..self.bounds.len() as u32);
        let bounds = &self.bounds;
        self.order.select_nth_unstable_by(missing, |&a, &b| bounds[a as usize].total_cmp(&bounds[b as usize]));
        for i in 0..missing {
            let place = self.order[i] as usize;
            let id = (first + place) as u32;
            if Some(id) != without {
                self.take(lists, query, id, m);
                self.bounds[place] = SEEN;
            }
        }
    }

    /// Puts a row among the nearest so far if it belongs there.
    fn take(&mut self, lists: &Lists<'_>, query: &[f32], id: u32, m: usize) {
        let found = Found { square: squared_distance(query, lists.row(id as usize)), id };
        if self.found.len() < m {
            self.found.push(found);
        } else if let Some(mut last) = self.found.peek_mut()
            && found < *last
        {
            *last = found;
        }
    }

    /// What the squared distance between the codes' rows and the query's is at least.
    fn bound(&mut self, lists: &Lists<'_>, range: std::ops::Range<usize>) {
        let square = self.query.square as f32;
        let twice = (2.0 * self.query.step) as f32;
        self.bounds.resize(range.len(), 0.0);
        let (scales, squares) = (&lists.terms.scales[range.clone()], &lists.terms.squares[range]);
        code_bounds(scales, squares, &self.dots, square, twice, SLACK, &mut self.bounds);
    }
}
