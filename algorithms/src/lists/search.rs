//! Looking up what is near a row, list by list.

use std::collections::BinaryHeap;

use super::code::{Query, above, origin};
use super::{Breadth, Lists};
use crate::kmeans::kernel::{code_bounds, code_dots, squared_distance};
use crate::kmeans::nearest;
use crate::lsh::Neighbour;
use crate::metric::Metric;

/// Share of all that is added for a bound by which rounding to `f32` may put it too high, and what underflow may do beside.
const SLACK: f64 = 1.0 / (1u64 << 19) as f64;
const UNDERFLOW: f64 = f32::MIN_POSITIVE as f64;

/// Where the sum of all that is added for a bound is larger, a bound might overflow.
const LARGEST: f64 = f32::MAX as f64 / 4.0;

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
    /// for rows of unit length. Takes O(k d + rows in the lists x d / 4) and little more for rows that are near.
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
        let square = squared_distance(query, lists.centroids.row(cluster));
        self.begin(lists, query);
        if m > 0 {
            self.look(lists, query, (cluster as u32, square), m, without);
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
        self.begin(lists, query);
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

    /// Begins with another query.
    fn begin(&mut self, lists: &Lists<'_>, query: &[f32]) {
        self.found.clear();
        self.query.set(query, origin(lists.centroids));
    }

    fn search(&mut self, lists: &Lists<'_>, query: &[f32], breadth: Breadth, m: usize, without: Option<u32>) {
        self.begin(lists, query);
        if m == 0 {
            return;
        }
        let near = nearest(lists.centroids, query, breadth.lists);
        let farthest = near.first().map_or(0.0, |(_, square)| breadth.farthest(square.sqrt()));
        let asked = near.len();
        self.look_into(lists, query, &near, farthest, m, without);
        if self.found.len() < m {
            for near in nearest(lists.centroids, query, lists.count()).into_iter().skip(asked) {
                self.look(lists, query, near, m, without);
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
                self.look(lists, query, (cluster, square), m, without);
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

    /// Looks at the rows of one cluster, given with its squared distance.
    fn look(&mut self, lists: &Lists<'_>, query: &[f32], near: (u32, f64), m: usize, without: Option<u32>) {
        let range = lists.range(near.0 as usize);
        let length = self.query.code.len();
        self.dots.resize(range.len(), 0);
        code_dots(&self.query.code, &lists.codes[range.start * length..range.end * length], &mut self.dots);
        self.bound(lists, near);
        if self.found.len() < m {
            self.fill(lists, query, range.start, m, without);
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
    fn fill(&mut self, lists: &Lists<'_>, query: &[f32], first: usize, m: usize, without: Option<u32>) {
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

    /// What the squared distances of the query's place by its code from those of a cluster's rows by theirs are at least.
    ///
    /// With the origin `o`, the centroid `c` and a row's `s p`, the query's `a u` is by the law of cosines
    /// `|o + a u - c - s p|^2 = |o + a u - c|^2 + (|c + s p - o|^2 - |c - o|^2) - 2 a s (u . p)` away from the row.
    fn bound(&mut self, lists: &Lists<'_>, (cluster, square): (u32, f64)) {
        let range = lists.range(cluster as usize);
        self.bounds.resize(range.len(), 0.0);
        let Query { step, length, error, .. } = self.query;
        let distance = square.sqrt();
        let base = (distance / WIDER - error).max(0.0).powi(2);
        // No code is more than twice as far from the centroid as its row: a step is rounded by at most what it stands for.
        let longest = 2.0 * f64::from(lists.radii[cluster as usize]) * WIDER;
        // The centroid is at most so far from the origin as the query is, and from that.
        let away = distance + error + length;
        let sum = base + longest * (longest + 2.0 * (away + length));
        if sum < LARGEST {
            let base = base - SLACK * sum - UNDERFLOW;
            let (scales, excesses) = (&lists.terms.scales[range.clone()], &lists.terms.excesses[range]);
            code_bounds(base as f32, (2.0 * step) as f32, excesses, scales, &self.dots, &mut self.bounds);
        } else {
            self.bounds.fill(0.0);
        }
    }
}
