//! Looking at lists of codes, one after the other.

use std::collections::BinaryHeap;
use std::ops::Range;

use super::code::{Query, above, origin};
use super::{Codes, Lists};
use crate::kmeans::kernel::{ask_for, code_bounds, code_dots, squared_distance};

/// Share of all that is added for a bound by which rounding to `f32` may put it too high, and what underflow may do beside.
const SLACK: f64 = 1.0 / (1u64 << 19) as f64;
const UNDERFLOW: f64 = f32::MIN_POSITIVE as f64;

/// Where the sum of all that is added for a bound is larger, a bound might overflow.
const LARGEST: f64 = f32::MAX as f64 / 4.0;

/// Share by which a limit is widened, so that rounding excludes no row.
const WIDER: f64 = 1.0 + 1.0 / (1u64 << 30) as f64;

/// Takes the place of a bound, which is always less, once its row has been looked at.
const SEEN: f32 = f32::INFINITY;

/// Rows are asked for so many looks ahead.
const AHEAD: usize = 4;

/// What is looked for, and where.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    pub(super) lists: &'a Lists<'a>,
    pub(super) query: &'a [f32],
    /// How many rows.
    pub(super) m: usize,
    /// A row that is left out.
    pub(super) without: Option<u32>,
}

/// The nearest rows of the lists that were looked at so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Scan {
    query: Query,
    dots: Vec<i32>,
    bounds: Vec<f32>,
    /// Rows of a list that are to be looked at.
    order: Vec<u32>,
    /// The farthest of them is on top.
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

impl Scan {
    /// Begins with another query.
    ///
    /// # Panics
    /// If it is of another dimension.
    pub(super) fn begin(&mut self, wanted: Wanted<'_>) {
        assert_eq!(wanted.query.len(), wanted.lists.centroids.dimension(), "a query of another dimension");
        self.found.clear();
        self.query.set(wanted.query, origin(wanted.lists.centroids));
    }

    /// Whether as many were found as are wanted.
    pub(super) fn is_full(&self, wanted: Wanted<'_>) -> bool {
        self.found.len() >= wanted.m
    }

    /// Gives the rows found with their squared distances, in no order.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = (u32, f64)> {
        self.found.drain().map(|Found { square, id }| (id, square))
    }

    /// Looks at the rows of one cluster, given with its squared distance, if any of them may be among the nearest.
    pub(super) fn look(&mut self, wanted: Wanted<'_>, near: (u32, f64)) {
        let lists = wanted.lists;
        let range = lists.range(near.0 as usize);
        let Some(codes) = &lists.codes else {
            let all = range.start as u32..range.end as u32;
            return all.filter(|&id| Some(id) != wanted.without).for_each(|id| self.take(wanted, id));
        };
        // No row of the list is nearer than this.
        let least = near.1.sqrt() - f64::from(codes.radii[near.0 as usize]);
        if wanted.m == 0 || least > self.limit(wanted.m) {
            return;
        }
        let length = self.query.code.len();
        self.dots.resize(range.len(), 0);
        code_dots(&self.query.code, &codes.bytes[range.start * length..range.end * length], &mut self.dots);
        self.bound(codes, range.clone(), near);
        if !self.is_full(wanted) {
            self.fill(wanted, range.start);
        }

        let errors = &codes.errors()[range.clone()];
        let limit = above(self.limit(wanted.m) + self.query.error);
        self.order.clear();
        for (id, (&bound, &error)) in (range.start as u32..).zip(self.bounds.iter().zip(errors)) {
            let reach = limit + error;
            // Where something overflows nothing is known, and the row is looked at.
            if bound > reach * reach || bound == SEEN || Some(id) == wanted.without {
                continue;
            }
            self.order.push(id);
        }
        for at in 0..self.order.len() {
            if let Some(later) = self.order.get(at + AHEAD..=at + AHEAD) {
                ask_for(lists.rows, wanted.query.len(), later);
            }
            let id = self.order[at];
            let place = id as usize - range.start;
            // The limit is lower now.
            let reach = above(self.limit(wanted.m) + self.query.error) + errors[place];
            if self.bounds[place] > reach * reach {
                continue;
            }
            self.take(wanted, id);
        }
    }

    /// How far away a row may be and still be among the `m` nearest.
    fn limit(&self, m: usize) -> f64 {
        match self.found.peek() {
            Some(last) if self.found.len() == m => last.square.sqrt() * WIDER,
            _ => f64::INFINITY,
        }
    }

    /// Looks at as many rows as are missing, those that seem nearest, so that their distances exclude most others.
    fn fill(&mut self, wanted: Wanted<'_>, first: usize) {
        let missing = wanted.m - self.found.len();
        if missing >= self.bounds.len() {
            return;
        }
        let bound_of = |id: &u32| self.bounds[*id as usize - first];
        self.order.clear();
        self.order.extend((first as u32..).take(self.bounds.len()));
        self.order.select_nth_unstable_by(missing, |a, b| bound_of(a).total_cmp(&bound_of(b)));
        self.order.truncate(missing);
        ask_for(wanted.lists.rows, wanted.query.len(), &self.order);
        for i in 0..missing {
            let id = self.order[i];
            self.bounds[id as usize - first] = SEEN;
            if Some(id) != wanted.without {
                self.take(wanted, id);
            }
        }
    }

    /// Puts a row among the nearest so far if it belongs there.
    fn take(&mut self, wanted: Wanted<'_>, id: u32) {
        let found = Found { square: squared_distance(wanted.query, wanted.lists.row(id as usize)), id };
        if self.found.len() < wanted.m {
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
    fn bound(&mut self, codes: &Codes<'_>, range: Range<usize>, (cluster, square): (u32, f64)) {
        self.bounds.resize(range.len(), 0.0);
        let Query { step, length, error, .. } = self.query;
        let distance = square.sqrt();
        let base = (distance / WIDER - error).max(0.0).powi(2);
        // No code is more than twice as far from the centroid as its row: a step is rounded by at most what it stands for.
        let longest = 2.0 * f64::from(codes.radii[cluster as usize]) * WIDER;
        // The centroid is at most so far from the origin as the query is, and from that.
        let away = distance + error + length;
        let sum = base + longest * (longest + 2.0 * (away + length));
        if sum < LARGEST {
            let base = base - SLACK * sum - UNDERFLOW;
            let (scales, excesses) = (&codes.scales()[range.clone()], &codes.excesses()[range]);
            code_bounds(base as f32, (2.0 * step) as f32, excesses, scales, &self.dots, &mut self.bounds);
        } else {
            self.bounds.fill(0.0);
        }
    }
}
