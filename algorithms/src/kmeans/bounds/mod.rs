//! Exact pruning: most rows keep their label from pass to pass, and bounds of distances prove it without a look at them.
//!
//! # Bounds
//!
//! Centroids that are near each other form a group, at most 64 of them (Ding et al. 2015, "Yinyang"). For each row an upper
//! bound `u` of the distance to its centroid is kept, and for each group a lower bound `l` of the distance to the group's other
//! centroids. When centroids move, `u` grows by the movement of the row's own centroid, and `l` shrinks by the greatest
//! movement in the group. The distances between centroids give another bound: with `near` the least distance from the row's
//! centroid to another one of the group, `l` is at least `near - u` (Elkan 2003). As long as `l` stays above `u` (by the
//! margin below), no centroid of the group can take the row, and while that is so for all groups, the row is not looked at.
//!
//! Rows that are still open get their exact distance first, which often suffices. For each group that is open even then, its
//! rows go through the kernel together, so that pruning leaves full tiles: a group is one panel of the kernel, or a few. The
//! kernel gives each panel's two best scores, from which label and bounds follow. Two centroids that share a cluster, the
//! common case late in a run, are in one group, and its rows take one panel's time per pass.
//!
//! Groups stay as they are formed at first. Distances between centroids take k^2 d operations, little beside the rows' n k d,
//! and are left out beyond 2,048 centroids.
//!
//! # Sixteen bits
//!
//! A lower bound is an integer of 16 bits, in units of a power of two that suits the centroids' lengths: a bound is rounded
//! down when it is made, a movement is rounded up, and what is added and subtracted is exact. So the bounds of all groups take
//! no more than half the room of the row's numbers, and eight of them are one instruction. A bound too large for 16 bits is
//! kept as the largest but one; what is too large to be subtracted or reached becomes the largest, and the row stays open.
//!
//! # The margin
//!
//! Labels are those of the kernel's `f32` scores, bit for bit, near ties included. So it is not enough that another centroid
//! is farther: it must be so much farther that no rounding can have hidden it.
//!
//! With exact numbers, `s_j = x . c_j - |c_j|^2 / 2` and `d_j^2 = |x|^2 - 2 s_j`. The kernel starts with the rounded
//! second term and does one fused multiply-add per column: d + 1 roundings, each by a factor within 1 +- 2^-24, or by 2^-150
//! where the result is denormal. By the usual analysis (Higham, "Accuracy and Stability of Numerical Algorithms", 3.1) the
//! computed score is within
//!
//! ```text
//! E = g (|x| C + C^2 / 2) + (d + 2) 2^-149,    g = (d + 2) 2^-24 / (1 - (d + 2) 2^-24)
//! ```
//!
//! of `s_j`, where C is the length of the longest centroid, as the sum of `|x_i c_i|` is at most `|x| |c|`. (One of the d + 2
//! stands for what `f64` does to `|c|^2`.) The label `a` beats `j` in the kernel, whatever the roundings, if
//! `s_a - E > s_j + E`, that is `d_j^2 - d_a^2 > 4 E`. As `|x| <= u + |c_a|`, a row may be skipped if
//!
//! ```text
//! l^2 - u^2 > 4 g C u + 4 g (C |c_a| + C^2 / 2) + 4 (d + 2) 2^-149
//! ```
//!
//! After the kernel, every `j` but the label has
//! `d_j^2 >= d_a^2 + 2 (best - score) - 4 E`, with `score` the best of its group but for the label, and `d_a` computed in `f64`.
//! Distances between centroids are bounded in the same way.
//!
//! All this holds while no `f32` overflows. It cannot where `u` and `C` are below 2^62; beyond, bounds are given up (`u`
//! infinite, the margin infinite) and the kernel decides. Everything is rounded outwards: a conversion to `f32` goes to the
//! next number beyond, other results get a factor that covers their roundings. An `f32` sum is off by 2^-24 of itself and
//! exact where it is denormal, so a factor of 1 + 2^-22 covers it.
//!
//! # Cost
//!
//! Per row 8 bytes and [`Pruner::stride`] times two: at most half as many bytes as the row's own, or 16. A row that is skipped
//! takes a few nanoseconds. An open row takes its exact distance and, for each open group, the kernel's time for sixteen
//! centroids; if all groups are open that is a third more than without bounds.
//!
//! # References
//!
//! - C. Elkan, "Using the triangle inequality to accelerate k-means", ICML (2003).
//! - Y. Ding, Y. Zhao, X. Shen, M. Musuvathi and T. Mytkowicz, "Yinyang k-means: a drop-in replacement of the classic
//!   k-means with consistent speedup", ICML (2015).

mod layout;
mod margin;
mod movement;
#[cfg(test)]
mod tests;
mod units;

use std::sync::Arc;

pub(crate) use self::layout::LANES;
use self::layout::{Layout, stride};
pub(crate) use self::margin::{Margin, rounding, slack};
use self::margin::{least_square, upper_from_square};
pub(crate) use self::movement::Movement;
use self::units::Unit;
use super::kernel::{self, Panels, Top, WIDTH};
use super::{Centroids, squared_distance};

/// Rows decided together: enough for full tiles of those that share a group, few enough for the second-level cache.
pub(super) const TOGETHER: usize = 480;
/// Least rows per centroid for which bounds pay.
const ROWS_PER_CENTROID: u64 = 16;

/// What is remembered of each row between passes.
#[derive(Debug)]
pub struct RowBounds<'a> {
    /// The row's cluster.
    pub labels: &'a mut [u32],
    /// An upper bound of its distance to that cluster's centroid.
    pub upper: &'a mut [f32],
    /// [`Pruner::stride`] numbers per row: lower bounds of its distance to each group's other centroids.
    pub lower: &'a mut [u16],
}

/// Memory that is used again from block to block.
#[derive(Debug, Default)]
pub struct PruneBuffers {
    /// Squared distances of the rows looked at.
    squares: Vec<f64>,
    /// Open rows: positions, what the kernel says, and the best score of each group that was looked at.
    open: Vec<u32>,
    winners: Vec<Winner>,
    scores: Vec<f32>,
    /// What a group's score is taken from to give its bound.
    bases: Vec<f64>,
    /// For each group the open rows (places in `open`) that it may take.
    groups: Vec<Vec<u32>>,
    /// Positions and results of one group's rows.
    positions: Vec<u32>,
    tops: Vec<Top>,
}

/// The best centroid of a row so far.
#[derive(Clone, Copy, Debug)]
struct Winner {
    score: f32,
    label: u32,
    group: u32,
    /// The best score of the others of its group.
    second: f32,
}

impl Winner {
    const NONE: Self = Self { score: f32::NEG_INFINITY, label: u32::MAX, group: u32::MAX, second: f32::NEG_INFINITY };
}

/// One pass over rows with given centroids, knowing how they moved since the pass before.
///
/// A pass over a block is [`Self::fresh`] where there are no bounds yet, otherwise [`Self::drift`], which does not look at
/// the rows, then [`Self::settle`]. Afterwards the labels are [`assign`](super::assign)'s, bit for bit.
#[derive(Clone, Debug)]
pub struct Pruner {
    centroids: Centroids,
    layout: Arc<Layout>,
    unit: Unit,
    /// The centroids in the order of the layout.
    panels: Panels,
    margin: Margin,
    movement: Movement,
}

impl Pruner {
    /// A pass with `centroids`. `previous` is the pass that left the rows' bounds, `None` if there are no bounds yet.
    ///
    /// # Panics
    /// If the two are of different shapes.
    pub fn new(centroids: Centroids, previous: Option<&Self>) -> Self {
        let (layout, unit) = match previous {
            Some(previous) => (previous.layout.clone(), previous.unit),
            None => (Arc::new(Layout::new(&centroids)), Unit::new(&centroids)),
        };
        let values: Vec<f32> = layout.ids.iter().flat_map(|&id| centroids.row(id as usize)).copied().collect();
        let panels = Panels::new(centroids.dimension(), &values);
        let margin = Margin::new(&centroids, unit);
        let before = previous.map(|previous| &previous.centroids);
        let movement = Movement::new(&centroids, before, &layout, &panels, &margin, unit);
        Self { centroids, layout, unit, panels, margin, movement }
    }

    /// Whether there are enough rows for `k` centroids: a pass begins with the distances between these.
    pub fn pays(rows: u64, k: usize) -> bool {
        rows >= ROWS_PER_CENTROID * k as u64
    }

    /// Lower bounds per row for `k` centroids of `d` columns. A row's bounds take 8 bytes and twice this number.
    pub fn stride(k: usize, d: usize) -> usize {
        stride(k, d)
    }

    /// The centroids of this pass.
    pub fn centroids(&self) -> &Centroids {
        &self.centroids
    }

    fn check(&self, bounds: &RowBounds<'_>) {
        let n = bounds.labels.len();
        let stride = self.movement.groups.len();
        assert!(bounds.upper.len() == n && bounds.lower.len() == n * stride, "bounds of different lengths");
    }

    /// A first pass: the labels and bounds of all rows, whatever was there.
    ///
    /// # Panics
    /// If the shapes do not agree.
    pub fn fresh(&self, rows: &[f32], bounds: &mut RowBounds<'_>, buffers: &mut PruneBuffers) {
        self.check(bounds);
        let d = self.centroids.dimension();
        let n = bounds.labels.len();
        assert_eq!(rows.len(), n * d, "rows and labels disagree");
        bounds.lower.fill(u16::MAX);
        for first in (0..n).step_by(TOGETHER) {
            let count = TOGETHER.min(n - first);
            buffers.open.clear();
            buffers.open.extend(first as u32..(first + count) as u32);
            let all = 0..count as u32;
            buffers.groups.resize_with(self.layout.groups(), Vec::new);
            for list in &mut buffers.groups {
                list.clear();
                list.extend(all.clone());
            }
            self.compete(rows, buffers);
            for (&i, winner) in buffers.open.iter().zip(&buffers.winners) {
                bounds.labels[i as usize] = winner.label;
            }
            kernel::distances(&self.centroids, rows, bounds.labels, &buffers.open, &mut buffers.squares);
            self.conclude(bounds, buffers);
        }
    }

    /// Lets the bounds follow the centroids' movement, without a look at the rows, and lists the rows whose label may have
    /// changed (ascending positions). All others keep the label, which is the one that the kernel would give.
    ///
    /// The pruner must have been made with the previous one. [`Self::settle`] must follow, with the same list.
    ///
    /// # Panics
    /// If the shapes do not agree, or a label is k or more.
    pub fn drift(&self, bounds: &mut RowBounds<'_>, survivors: &mut Vec<u32>) {
        self.check(bounds);
        survivors.clear();
        kernel::drift(&self.movement, &self.margin, bounds.labels, bounds.upper, bounds.lower, survivors);
    }

    /// Decides the rows that [`Self::drift`] listed, and appends the position and the old label of each whose label changed.
    ///
    /// # Panics
    /// If the shapes do not agree, or a label or position is out of range.
    pub fn settle(
        &self,
        rows: &[f32],
        bounds: &mut RowBounds<'_>,
        survivors: &[u32],
        changes: &mut Vec<(u32, u32)>,
        buffers: &mut PruneBuffers,
    ) {
        self.check(bounds);
        let d = self.centroids.dimension();
        assert_eq!(rows.len(), bounds.labels.len() * d, "rows and labels disagree");
        for survivors in survivors.chunks(TOGETHER) {
            kernel::distances(&self.centroids, rows, bounds.labels, survivors, &mut buffers.squares);
            self.tighten(bounds, survivors, buffers);
            self.compete(rows, buffers);
            let winners = buffers.open.iter().zip(&mut buffers.squares).zip(&buffers.winners);
            for ((&position, square), winner) in winners {
                let i = position as usize;
                let old = std::mem::replace(&mut bounds.labels[i], winner.label);
                if old != winner.label {
                    changes.push((position, old));
                    *square = squared_distance(&rows[i * d..][..d], self.centroids.row(winner.label as usize));
                }
            }
            self.conclude(bounds, buffers);
        }
    }

    /// Decides what the exact distances, whose squares are given, decide. Notes which groups may take the others.
    fn tighten(&self, bounds: &mut RowBounds<'_>, survivors: &[u32], buffers: &mut PruneBuffers) {
        let d = self.centroids.dimension();
        let stride = self.movement.groups.len();
        let PruneBuffers { squares, open, groups, .. } = buffers;
        groups.resize_with(self.layout.groups(), Vec::new);
        groups.iter_mut().for_each(Vec::clear);
        open.clear();
        for at in 0..survivors.len() {
            let (position, square) = (survivors[at], squares[at]);
            let i = position as usize;
            let label = bounds.labels[i];
            let upper = upper_from_square(square, d);
            bounds.upper[i] = upper;
            let (radius, reach) = self.margin.units(label, upper);
            let lower = &mut bounds.lower[i * stride..][..stride];
            let mut below = kernel::open_groups(lower, self.movement.near(label), radius, reach);
            if below == 0 {
                continue;
            }
            // The row's own score is needed in any case.
            below |= 1 << self.layout.group[label as usize];
            let place = open.len();
            while below != 0 {
                groups[below.trailing_zeros() as usize].push(place as u32);
                below &= below - 1;
            }
            squares[place] = square;
            open.push(position);
        }
        squares.truncate(open.len());
    }

    /// Looks at the groups of the open rows.
    fn compete(&self, rows: &[f32], buffers: &mut PruneBuffers) {
        let stride = self.movement.groups.len();
        let PruneBuffers { open, winners, scores, groups, positions, tops, .. } = buffers;
        winners.clear();
        winners.resize(open.len(), Winner::NONE);
        scores.clear();
        scores.resize(open.len() * stride, f32::NAN);
        for (g, places) in groups.iter().enumerate() {
            positions.clear();
            positions.extend(places.iter().map(|&place| open[place as usize]));
            tops.resize(places.len(), Top::NONE);
            for panel in g * self.layout.panels..((g + 1) * self.layout.panels).min(self.panels.count()) {
                kernel::tops(&self.panels, panel, rows, positions, tops);
                let ids = &self.layout.ids[panel * WIDTH..];
                for (&place, top) in places.iter().zip(&*tops) {
                    let winner = &mut winners[place as usize];
                    let best = &mut scores[place as usize * stride + g];
                    let label = ids[top.lane as usize];
                    // Comparisons with no best yet, which is not a number, are false.
                    if top.best > winner.score || (top.best == winner.score && label < winner.label) {
                        let second = if *best > top.second { *best } else { top.second };
                        *winner = Winner { score: top.best, label, group: g as u32, second };
                    } else if winner.group == g as u32 && top.best > winner.second {
                        winner.second = top.best;
                    }
                    *best = if *best >= top.best { *best } else { top.best };
                }
            }
        }
    }

    /// The bounds of the open rows, from the squares of their distances and the scores of the groups looked at.
    fn conclude(&self, bounds: &mut RowBounds<'_>, buffers: &mut PruneBuffers) {
        let d = self.centroids.dimension();
        let stride = self.movement.groups.len();
        let PruneBuffers { squares, open, winners, scores, bases, .. } = buffers;
        bases.clear();
        let rows = open.iter().zip(squares).zip(winners).zip(scores.chunks_exact_mut(stride));
        for (((&position, square), winner), scores) in rows {
            let i = position as usize;
            let label = winner.label;
            let upper = upper_from_square(*square, d);
            bounds.upper[i] = upper;
            scores[winner.group as usize] = winner.second;
            let width = self.margin.width(label, upper);
            bases.push(least_square(*square, d) + 2.0 * f64::from(winner.score) - width);
        }
        kernel::exclude(open, bases, scores, stride, self.unit.factor(), bounds.lower);
    }
}
