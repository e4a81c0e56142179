//! Exact assignment of rows of which nothing is known, looking closely at a few centroids only.
//!
//! The kernel multiplies every column of every centroid in `f32`. To know that a centroid is *not* among the nearest, far
//! less will do: rows and centroids in bytes give each score to within a proven error, with four times as many products per
//! instruction and a quarter of the memory traffic. Only centroids whose score could, with that error, still reach the best
//! ones found are then measured exactly. So the data need not have any structure, nor does anything have to be known of a row.
//!
//! (Bounds by the triangle inequality would need hardly any arithmetic, but rows with many columns are nearly as far from
//! their second nearest centroid as from most others. On the benchmark's mixture with k = 1,024 and d = 128, sixty-four groups with
//! a centre and a radius exclude a tenth of the centroids, distances between centroids a quarter; on noise, both nothing. See
//! [`bounds`](super::bounds) for where they do pay.)
//!
//! # Bounds
//!
//! Let `m` be the mean of the centroids, `x' = x - m` and `c' = c - m`. With `s = x' . c' - |c'|^2 / 2`, the squared distance is
//! `|x'|^2 - 2 s`, so the nearest centroid has the greatest `s`. A row is `x' = a q + e` with a step `a`, bytes `q` and a rest
//! `e` of known length, a centroid `c' = b p + f` likewise. By the Cauchy-Schwarz inequality
//!
//! ```text
//! s <= a b (q . p) - |c'|^2 / 2 + |e| |c'| + |a q| |f|
//! ```
//!
//! where `q . p` is exact in integers. With `|f| <= r |c'|` for all centroids, the last two terms are `h |c'|` with
//! `h = |e| + (|x'| + |e|) r`. The bounds of a row, for all centroids, are kept as integers of 16 bits in a unit of the row's own.
//!
//! The two centroids with the greatest bounds are measured exactly. Let `t` be the lesser of their two `s`. A centroid whose
//! bound is below `t` is farther than both. What remains, a few of a thousand, is measured exactly too. As the errors that do
//! occur are far smaller than those that could, this leaves far fewer than a threshold taken from the bounds themselves would.
//!
//! # The same bits
//!
//! Labels are those of the kernel's `f32` scores, near ties included. With E, the error of such a score from [`bounds`](super::bounds), a
//! centroid is ruled out only below `t - 2 E`, and those that remain are put in order only if their squared distances differ by
//! more than `4 E`. Rows for which that is not so, or of which too many centroids remain, or that are so large, so small or so
//! uneven that bytes say nothing, go to the kernel.
//!
//! # Cost
//!
//! Memory: a byte for each number of the centroids. Time per row: k d multiplications of bytes, a pass over k integers of 16
//! bits, and d multiplications in `f64` for each centroid that remains. At d = 128 and k = 1,024, that is less than half of
//! the kernel's time. Where many rows have to go to the kernel anyway, the sieve notices and rests for some thousand rows.
//!
//! The possible error of a bound grows with the lengths, the differences between centroids only with their square roots if columns
//! have nothing to do with each other: then bytes say less the more columns there are.
//!
//! # References
//!
//! - R. Weber, H.-J. Schek and S. Blott, "A quantitative analysis and performance study for similarity-search methods in
//!   high-dimensional spaces", VLDB (1998): exact search by bounds from few bits per column, and why partitions of the space fail.
//! - C. Elkan, "Using the triangle inequality to accelerate k-means", ICML (2003); G. Hamerly and J. Drake, "Accelerating Lloyd's
//!   algorithm for k-means clustering", in "Partitional Clustering Algorithms" (2015): bounds between centroids.
//! - N. Higham, "Accuracy and Stability of Numerical Algorithms", 3.1: the error of a sum.

mod bytes;
#[cfg(test)]
mod tests;

use std::ops::Range;

use self::bytes::{Packed, RowBytes};
use super::Centroids;
use super::bounds::slack;
use super::kernel::{self, Factors};
use super::open::{Open, whole};
use super::patience::Patience;

/// Least centroids and columns for which bytes save more than they cost.
const LEAST: (usize, usize) = (128, 32);
/// Bytes of scores that are kept at a time: they stay in the second-level cache.
const SCORES: usize = 96 << 10;
/// Rows taken together: a multiple of what a tile takes, and at most so many.
const TILE: usize = 6;
const MOST: usize = 120;
/// Centroids for each one that may be measured exactly: beyond, the kernel is faster.
const PER_MEASURED: usize = 32;
/// How many rows for each one that goes to the kernel make up for it.
const PER_MISS: u32 = 3;
/// Rows that are collected for the kernel.
const COLLECTED: usize = 480;

/// Finds what [`assign`](super::assign) and [`assign_two`](super::assign_two) find, bit for bit, in less time where centroids and columns are many.
#[derive(Debug)]
pub struct Sieve {
    /// `None` where it would not pay.
    packed: Option<Packed>,
    patience: Patience,
}

/// Memory that is used again from block to block.
#[derive(Debug, Default)]
pub struct SieveBuffers {
    /// A row without the middle.
    centred: Vec<f32>,
    /// The rows of a block in bytes, what their scores are made with, and the scores.
    bytes: Vec<u8>,
    factors: Vec<Factors>,
    rows: Vec<Option<RowBytes>>,
    scores: Vec<i16>,
    /// What is known of them then.
    candidates: Vec<Option<Candidates>>,
    search: Search,
    /// Rows for the kernel.
    open: Open,
}

/// Centroids that may be the nearest of a row.
#[derive(Debug)]
struct Candidates {
    /// Where they are among all that were found. The first ones have the greatest bounds.
    places: Range<usize>,
    /// All centroids with this bound are among them.
    least: i16,
}

/// Centroids that are measured.
#[derive(Debug, Default)]
struct Search {
    /// Those of all rows of a block.
    found: Vec<u32>,
    /// Those of a row that are left when the first ones have been measured.
    remaining: Vec<u32>,
    squares: Vec<f64>,
}

impl Sieve {
    /// Prepares for these centroids, in O(k d) time.
    pub fn new(centroids: &Centroids) -> Self {
        let enough = centroids.len() >= LEAST.0 && centroids.dimension() >= LEAST.1;
        let packed = if enough && kernel::bytes_are_fast() { Packed::new(centroids) } else { None };
        Self::with(packed)
    }

    fn with(packed: Option<Packed>) -> Self {
        Self { packed, patience: Patience::default() }
    }

    /// Labels each row with its nearest centroid, as [`assign`](super::assign) does. `centroids` are those that the sieve was made for.
    ///
    /// # Panics
    /// If the shapes do not agree.
    pub fn assign(&self, centroids: &Centroids, rows: &[f32], labels: &mut [u32], buffers: &mut SieveBuffers) {
        self.find::<1>(centroids, rows, labels, &mut [], buffers);
    }

    /// Finds the two nearest centroids of each row, as [`assign_two`](super::assign_two) does. `centroids` are those that the sieve was made for.
    ///
    /// # Panics
    /// If the shapes do not agree.
    pub fn assign_two(
        &self,
        centroids: &Centroids,
        rows: &[f32],
        best: &mut [u32],
        second: &mut [u32],
        buffers: &mut SieveBuffers,
    ) {
        assert_eq!(best.len(), second.len(), "labels of different lengths");
        self.find::<2>(centroids, rows, best, second, buffers);
    }

    /// The `WANTED` nearest centroids, 1 or 2; `second` is empty if it is 1.
    fn find<const WANTED: usize>(
        &self,
        centroids: &Centroids,
        rows: &[f32],
        best: &mut [u32],
        second: &mut [u32],
        buffers: &mut SieveBuffers,
    ) {
        let d = centroids.dimension();
        assert_eq!(rows.len(), best.len() * d, "rows and labels disagree");
        let Some(packed) = &self.packed else { return whole::<WANTED>(centroids, rows, best, second) };
        assert!(packed.len() == centroids.len() && packed.dimension() == d, "other centroids");
        let block = packed.block();
        buffers.open.clear();
        let mut first = 0;
        while first < best.len() {
            let left = best.len() - first;
            let rest = self.patience.rest();
            let count = if rest > 0 { left.min(rest as usize) } else { left.min(block) };
            let places = first..first + count;
            let rows_here = &rows[first * d..][..count * d];
            let second_here = if WANTED == 2 { &mut second[places.clone()] } else { &mut [] };
            if rest > 0 {
                whole::<WANTED>(centroids, rows_here, &mut best[places], second_here);
                self.patience.rested(rest, count as u32);
            } else {
                let before = buffers.open.len();
                packed.sift::<WANTED>(centroids, rows_here, first, &mut best[places], second_here, buffers);
                let missed = buffers.open.len() - before;
                self.patience.learn((count - missed) as u32, PER_MISS * missed as u32);
            }
            first += count;
            if buffers.open.len() >= COLLECTED || first == best.len() {
                buffers.open.close(d, rows, best, second, |rows, best, second| {
                    whole::<WANTED>(centroids, rows, best, second);
                });
            }
        }
    }
}

impl Packed {
    /// Rows taken together.
    fn block(&self) -> usize {
        (SCORES / (size_of::<i16>() * self.panels().score_stride())).clamp(TILE, MOST) / TILE * TILE
    }

    /// Decides rows, the first of which is row `first` of the call; the others are added to the open ones.
    fn sift<const WANTED: usize>(
        &self,
        centroids: &Centroids,
        rows: &[f32],
        first: usize,
        best: &mut [u32],
        second: &mut [u32],
        buffers: &mut SieveBuffers,
    ) {
        let d = self.dimension();
        let n = best.len();
        let stride = self.panels().score_stride();
        buffers.bytes.resize(n * self.panels().row_stride(), 0);
        buffers.scores.resize(n * stride, 0);
        buffers.centred.resize(d, 0.0);
        buffers.rows.clear();
        buffers.factors.clear();
        for (row, bytes) in rows.chunks_exact(d).zip(buffers.bytes.chunks_exact_mut(self.panels().row_stride())) {
            let packed = self.row(row, &mut buffers.centred, bytes);
            buffers.factors.push(packed.map_or(Factors::NONE, |packed| packed.factors));
            buffers.rows.push(packed);
        }
        kernel::byte_scores(self.panels(), &buffers.bytes, &buffers.factors, &mut buffers.scores);
        let SieveBuffers { rows: packed, scores, candidates, search, open, .. } = buffers;
        search.found.clear();
        candidates.clear();
        let scored = scores.chunks_exact(stride).map(|scores| &scores[..self.panels().scores()]);
        for (packed, scores) in packed.iter().zip(scored.clone()) {
            let scanned = packed.as_ref().and_then(|packed| self.scan::<WANTED>(packed, scores, &mut search.found));
            if let Some(Candidates { places, .. }) = &scanned {
                kernel::ask_for(centroids.values(), d, &search.found[places.clone()]);
            }
            candidates.push(scanned);
        }
        let known = packed.iter().zip(&*candidates).zip(scored);
        for (i, (row, ((packed, candidates), scores))) in rows.chunks_exact(d).zip(known).enumerate() {
            let nearest = packed.as_ref().zip(candidates.as_ref()).and_then(|(packed, candidates)| {
                self.nearest::<WANTED>(centroids, row, &Known { packed, scores, candidates }, search)
            });
            match nearest {
                Some(nearest) => {
                    best[i] = nearest[0];
                    if WANTED == 2 {
                        second[i] = nearest[1];
                    }
                }
                None => open.push(first + i),
            }
        }
    }

    /// Most centroids that are measured for a row.
    fn most(&self) -> usize {
        (self.len() / PER_MEASURED).max(4)
    }

    /// Finds the centroids of a row that, by experience, will have to be measured.
    fn scan<const WANTED: usize>(&self, packed: &RowBytes, scores: &[i16], found: &mut Vec<u32>) -> Option<Candidates> {
        let reference = kernel::greatest(scores)[WANTED - 1];
        let least = reference.saturating_sub(packed.window);
        let first = found.len();
        kernel::reaching(scores, least, found);
        // Padding may reach the lowest score of all.
        while found.len() > first && found[found.len() - 1] as usize >= self.len() {
            found.pop();
        }
        if !(WANTED..=self.most()).contains(&(found.len() - first)) {
            found.truncate(first);
            return None;
        }
        // Those with the greatest scores come first.
        let mut next = first;
        for place in first..found.len() {
            if scores[found[place] as usize] >= reference && next < first + WANTED {
                found.swap(next, place);
                next += 1;
            }
        }
        Some(Candidates { places: first..found.len(), least })
    }

    /// The nearest centroids of a row, if they can be told from the others.
    fn nearest<const WANTED: usize>(
        &self,
        centroids: &Centroids,
        row: &[f32],
        known: &Known<'_>,
        search: &mut Search,
    ) -> Option<[u32; WANTED]> {
        let Known { packed, scores, candidates } = *known;
        let Search { found, remaining, squares } = search;
        let slack = slack(self.dimension());
        let (references, others) = found[candidates.places.clone()].split_at(WANTED);
        let mut nearest = Nearest::<WANTED>::NONE;
        nearest.measure(centroids, row, references, squares);
        let least = packed.least(nearest.squares[WANTED - 1] * (1.0 + slack));
        remaining.clear();
        if least >= candidates.least {
            remaining.extend(others.iter().copied().filter(|&label| scores[label as usize] >= least));
        } else {
            kernel::reaching(scores, least, remaining);
            remaining.retain(|label| (*label as usize) < self.len() && !references.contains(label));
            if remaining.len() > self.most() {
                return None;
            }
        }
        nearest.measure(centroids, row, remaining, squares);
        nearest.is_certain(packed.gap, slack).then_some(nearest.labels)
    }
}

/// What is known of a row before centroids are measured.
struct Known<'a> {
    packed: &'a RowBytes,
    /// The bounds of all centroids.
    scores: &'a [i16],
    candidates: &'a Candidates,
}

/// The nearest of the centroids that were measured.
struct Nearest<const WANTED: usize> {
    labels: [u32; WANTED],
    squares: [f64; WANTED],
    /// The least squared distance of the others.
    next: f64,
}

impl<const WANTED: usize> Nearest<WANTED> {
    const NONE: Self = Self { labels: [u32::MAX; WANTED], squares: [f64::INFINITY; WANTED], next: f64::INFINITY };

    /// Measures the distances of a row to some centroids.
    fn measure(&mut self, centroids: &Centroids, row: &[f32], labels: &[u32], squares: &mut Vec<f64>) {
        kernel::scattered_distances(row, centroids.values(), labels, squares);
        for (&label, &square) in labels.iter().zip(&*squares) {
            let (mut label, mut square) = (label, square);
            for (kept, kept_square) in self.labels.iter_mut().zip(&mut self.squares) {
                if square < *kept_square {
                    (label, *kept) = (*kept, label);
                    (square, *kept_square) = (*kept_square, square);
                }
            }
            self.next = self.next.min(square);
        }
    }

    /// Whether each square is less than the next by more than `gap`, even if they are off by `slack`.
    fn is_certain(&self, gap: f64, slack: f64) -> bool {
        let after = self.squares.iter().skip(1).chain([&self.next]);
        self.squares.iter().zip(after).all(|(near, far)| far - near > gap + slack * (far + near) || far.is_infinite())
    }
}
