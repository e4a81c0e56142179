//! Exact pruning: most rows keep their label from pass to pass, and bounds of distances prove it without a look at them.
//!
//! # Bounds
//!
//! For each row an upper bound `u` of the distance to its centroid and a lower bound `l` of the distance to every other one
//! are kept (Hamerly 2010). When centroids move, `u` grows by the movement of its own centroid, and `l` shrinks by the
//! greatest movement of another. As long as `l` stays above `u` (by the margin below) the label cannot change.
//!
//! A few centroids that move far would spoil the lower bounds of all rows, even of those that are nowhere near. So
//! centroids are ordered by how far they moved, and the first `t` of them are bounded by their distance to the row's own
//! centroid instead: at least `near_t - u`, with `near_t` the least distance from that centroid to one of them. All others
//! moved by at most `rest_t`. For any `t`,
//!
//! ```text
//! l' = min(l - rest_t, near_t - u)
//! ```
//!
//! is a lower bound; eight values of `t` are tried and the best is kept. `t = 0` is Hamerly's bound, and `t = k` the bound by
//! half the distance between centroids (Elkan 2003). Distances between centroids take k^2 d operations, little beside the
//! rows' n k d, and are left out beyond 1,024 centroids.
//!
//! Rows that are still open get their exact distance first, which often suffices (as in Ding et al. 2015). Where
//! `l - rest_t` alone would do, only the `t` far movers can be nearer, and the row goes through a kernel of these few. What
//! remains is copied together, so that the kernel has full tiles, and goes through all of it. The kernel gives the two best
//! scores, and the lower bound follows from their difference.
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
//! After the kernel, every `j` but the label has a computed score of at most the second best one, so
//! `d_j^2 >= d_a^2 + 2 (best - second) - 4 E`, with `d_a` computed in `f64`. Likewise every far mover but the label has
//! `d_j^2 >= |x|^2 - 2 score - 2 E`, with the best score among these.
//!
//! All this holds while no `f32` overflows. It cannot where `u` and `C` are below 2^62; beyond, bounds are given up (`u`
//! infinite, the margin infinite) and the kernel decides. Everything is rounded outwards: a conversion to `f32` goes to the
//! next number beyond, other results get a factor that covers their roundings. An `f32` sum or difference is off by 2^-24
//! of itself and exact where it is denormal, so a factor of 1 +- 2^-22 covers it.
//!
//! # Cost
//!
//! Twelve bytes per row, and a few nanoseconds per row that is skipped. A row that is not skipped takes some 30 to 40 ns
//! beside the kernel (an exact distance, the bounds, a copy): little where k d is in the tens of thousands, but as much as the
//! kernel itself at k d = 1,000, where pruning pays only once most rows are skipped.
//!
//! # References
//!
//! - G. Hamerly, "Making k-means even faster", SDM (2010).
//! - C. Elkan, "Using the triangle inequality to accelerate k-means", ICML (2003).
//! - Y. Ding, Y. Zhao, X. Shen, M. Musuvathi and T. Mytkowicz, "Yinyang k-means: a drop-in replacement of the classic
//!   k-means with consistent speedup", ICML (2015).

mod margin;
mod movement;
#[cfg(test)]
mod tests;

use self::margin::{Margin, lower_from_square, upper_from_square};
use self::movement::Movement;
use super::kernel;
use super::{Centroids, squared_distance};

/// Rows copied together for one call of the kernel: a multiple of every tile's height.
const TOGETHER: usize = 480;

/// Rows whose exact distance is tried before it is computed for all.
const SAMPLE: usize = 64;

/// Stands in for the position of a row that is decided.
const DECIDED: u32 = u32::MAX;

/// What is remembered of each row between passes. All slices have one entry per row.
#[derive(Debug)]
pub struct RowBounds<'a> {
    /// The row's cluster.
    pub labels: &'a mut [u32],
    /// An upper bound of its distance to that cluster's centroid.
    pub upper: &'a mut [f32],
    /// A lower bound of its distance to every other centroid; infinite where there is none.
    pub lower: &'a mut [f32],
}

impl RowBounds<'_> {
    fn check(&self) {
        let n = self.labels.len();
        assert!(self.upper.len() == n && self.lower.len() == n, "bounds of different lengths");
    }
}

/// Memory that is used again from block to block.
#[derive(Debug, Default)]
pub struct PruneBuffers {
    /// Positions that the kernel must decide, and their exact squared distances.
    open: Vec<u32>,
    squares: Vec<f64>,
    /// Rows copied together.
    rows: Vec<f32>,
    /// What the kernel says about them.
    labels: Vec<u32>,
    scores: Vec<[f32; 2]>,
}

/// One pass over rows with given centroids, knowing how they moved since the pass before.
///
/// A pass over a block is [`Self::fresh`] where there are no bounds yet, otherwise [`Self::drift`], which does not look at
/// the rows, then [`Self::settle`]. Afterwards the labels are [`assign`](super::assign)'s, bit for bit.
#[derive(Clone, Debug)]
pub struct Pruner {
    centroids: Centroids,
    margin: Margin,
    movement: Movement,
    /// Zeros.
    origin: Vec<f32>,
}

impl Pruner {
    /// A pass with `centroids`. `previous` are those for which the rows' bounds hold, `None` if there are no bounds yet.
    ///
    /// # Panics
    /// If the two are of different shapes.
    pub fn new(centroids: Centroids, previous: Option<&Centroids>) -> Self {
        let margin = Margin::new(&centroids);
        let movement = Movement::new(&centroids, previous);
        let origin = vec![0.0; centroids.dimension()];
        Self { centroids, margin, movement, origin }
    }

    /// The centroids of this pass.
    pub fn centroids(&self) -> &Centroids {
        &self.centroids
    }

    /// A first pass: the labels and bounds of all rows, whatever was there.
    ///
    /// # Panics
    /// If the shapes do not agree.
    pub fn fresh(&self, rows: &[f32], bounds: &mut RowBounds<'_>, buffers: &mut PruneBuffers) {
        bounds.check();
        let n = bounds.labels.len();
        let PruneBuffers { open, squares, scores, .. } = buffers;
        scores.resize(n, [0.0; 2]);
        kernel::assign_scores(self.centroids.panels(), rows, bounds.labels, scores);
        open.clear();
        open.extend(0..n as u32);
        kernel::distances(&self.centroids, rows, bounds.labels, open, squares);
        for (i, (&square, &scores)) in squares.iter().zip(&*scores).enumerate() {
            (bounds.upper[i], bounds.lower[i]) = self.bounds(bounds.labels[i], square, scores);
        }
    }

    /// Lets the bounds follow the centroids' movement, without a look at the rows, and lists the rows whose label may have
    /// changed (ascending positions). All others keep the label, which is the one that the kernel would give.
    ///
    /// If the pruner was made without previous centroids, all rows are listed. The lower bounds of listed rows stay those
    /// for the previous centroids, for [`Self::settle`] to look at: it must follow, with the same list.
    ///
    /// # Panics
    /// If the shapes do not agree, or a label is k or more.
    pub fn drift(&self, bounds: &mut RowBounds<'_>, survivors: &mut Vec<u32>) {
        bounds.check();
        let n = bounds.labels.len();
        survivors.clear();
        survivors.resize(n, 0);
        let mut count = 0;
        let rows = bounds.labels.iter().zip(bounds.upper.iter_mut()).zip(bounds.lower.iter_mut());
        for (position, ((&label, upper), lower)) in (0u32..).zip(rows) {
            *upper = self.movement.upper(label, *upper);
            let after = self.movement.lower(label, *lower, *upper);
            let holds = self.margin.holds(label, *upper, after);
            *lower = if holds { after } else { *lower };
            // Written in any case and kept if the row is open: there is no branch to guess.
            survivors[count] = position;
            count += usize::from(!holds);
        }
        survivors.truncate(count);
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
        bounds.check();
        let d = self.centroids.dimension();
        let n = bounds.labels.len();
        assert_eq!(rows.len(), n * d, "rows and labels disagree");
        let centroids = &self.centroids;
        let PruneBuffers { open, squares, rows: copied, labels, scores } = buffers;
        let row = |position: u32| &rows[position as usize * d..][..d];
        open.clear();
        // Exact distances first, if a sample of them decides enough.
        open.extend(survivors.iter().step_by((survivors.len() / SAMPLE).max(1)));
        kernel::distances(centroids, rows, bounds.labels, open, squares);
        let decided = |(&position, &square): (&u32, &f64)| self.tight(bounds, position, square).2;
        let decided = open.iter().zip(&*squares).filter(|&at| decided(at)).count();
        let tight = survivors.len() < 2 * SAMPLE || decided >= open.len() / 8;
        open.clear();
        open.extend_from_slice(survivors);
        if tight {
            kernel::distances(centroids, rows, bounds.labels, open, squares);
            self.tighten(rows, bounds, open, squares, (copied, labels, scores));
        }
        // If nearly all are open, copying would cost more than the few rows that are decided for nothing.
        let whole = open.len() > n / 8 * 7;
        if whole {
            labels.resize(n, 0);
            scores.resize(n, [0.0; 2]);
            kernel::assign_scores(centroids.panels(), rows, labels, scores);
        }
        let mut known = std::mem::take(squares);
        for (c, open) in open.chunks(TOGETHER).enumerate() {
            if !whole {
                copied.clear();
                for &position in open {
                    copied.extend_from_slice(row(position));
                }
                labels.resize(open.len(), 0);
                scores.resize(open.len(), [0.0; 2]);
                kernel::assign_scores(centroids.panels(), copied, labels, scores);
            }
            let place = |at: usize, position: u32| if whole { position as usize } else { at };
            let squares = if tight { &mut known[c * TOGETHER..][..open.len()] } else { &mut [] };
            for (at, &position) in open.iter().enumerate() {
                let label = labels[place(at, position)];
                let old = std::mem::replace(&mut bounds.labels[position as usize], label);
                if label != old {
                    changes.push((position, old));
                    if let Some(square) = squares.get_mut(at) {
                        *square = squared_distance(row(position), centroids.row(label as usize));
                    }
                }
            }
            let squares = if tight {
                squares
            } else {
                kernel::distances(centroids, rows, bounds.labels, open, &mut known);
                known.as_mut_slice()
            };
            for (at, (&position, &square)) in open.iter().zip(&*squares).enumerate() {
                let i = position as usize;
                let scores = scores[place(at, position)];
                (bounds.upper[i], bounds.lower[i]) = self.bounds(bounds.labels[i], square, scores);
            }
        }
        *squares = known;
    }

    /// The bounds of an open row from the exact square of its distance, and whether they decide.
    #[inline(always)]
    fn tight(&self, bounds: &RowBounds<'_>, position: u32, square: f64) -> (f32, f32, bool) {
        let i = position as usize;
        let label = bounds.labels[i];
        let upper = upper_from_square(square, self.centroids.dimension());
        let lower = self.movement.lower(label, bounds.lower[i], upper);
        (upper, lower, self.margin.holds(label, upper, lower))
    }

    /// Decides open rows by their exact distances, whose squares are given, and by those of the centroids that moved
    /// farthest, where only these can be nearer. Keeps the others.
    fn tighten(
        &self,
        rows: &[f32],
        bounds: &mut RowBounds<'_>,
        open: &mut Vec<u32>,
        squares: &mut Vec<f64>,
        (copied, labels, scores): (&mut Vec<f32>, &mut Vec<u32>, &mut Vec<[f32; 2]>),
    ) {
        let d = self.centroids.dimension();
        let movement = &self.movement;
        let mut count = 0;
        for at in 0..open.len() {
            let (position, square) = (open[at], squares[at]);
            let (upper, lower, holds) = self.tight(bounds, position, square);
            let i = position as usize;
            bounds.upper[i] = upper;
            bounds.lower[i] = if holds { lower } else { bounds.lower[i] };
            (open[count], squares[count]) = (position, square);
            count += usize::from(!holds);
        }
        open.truncate(count);
        squares.truncate(count);

        let row = |i: usize| &rows[i * d..][..d];
        let mut chosen = Vec::new();
        for movers in &movement.movers {
            // A handful is left to the rest.
            if open.len() < SAMPLE {
                break;
            }
            let eligible = |i: usize| {
                let (label, upper) = (bounds.labels[i], bounds.upper[i]);
                self.margin.holds(label, upper, movement.rest(movers, label, bounds.lower[i]))
            };
            chosen.clear();
            chosen.extend((0..open.len() as u32).filter(|&at| eligible(open[at as usize] as usize)));
            if chosen.len() < 16 {
                continue;
            }
            for chosen in chosen.chunks(TOGETHER) {
                copied.clear();
                for &at in chosen {
                    copied.extend_from_slice(row(open[at as usize] as usize));
                }
                labels.resize(chosen.len(), 0);
                scores.resize(chosen.len(), [0.0; 2]);
                kernel::assign_scores(movers.centroids.panels(), copied, labels, scores);
                for ((&at, &best), &scores) in chosen.iter().zip(&*labels).zip(&*scores) {
                    let i = open[at as usize] as usize;
                    let (label, upper) = (bounds.labels[i], bounds.upper[i]);
                    let score = f64::from(if movers.ids[best as usize] == label { scores[1] } else { scores[0] });
                    let length = squared_distance(row(i), &self.origin);
                    let less = 2.0 * score + 0.5 * self.margin.width(label, upper);
                    let lower = lower_from_square(length, less, d).min(movement.rest(movers, label, bounds.lower[i]));
                    if self.margin.holds(label, upper, lower) {
                        bounds.lower[i] = lower;
                        open[at as usize] = DECIDED;
                    }
                }
            }
            let mut count = 0;
            for at in 0..open.len() {
                (open[count], squares[count]) = (open[at], squares[at]);
                count += usize::from(open[at] != DECIDED);
            }
            open.truncate(count);
            squares.truncate(count);
        }
    }

    /// The bounds of a row, from the square of its distance to its centroid and the kernel's two best scores.
    fn bounds(&self, label: u32, square: f64, scores: [f32; 2]) -> (f32, f32) {
        let d = self.centroids.dimension();
        let upper = upper_from_square(square, d);
        if self.centroids.len() == 1 {
            return (upper, f32::INFINITY);
        }
        let gap = 2.0 * (f64::from(scores[0]) - f64::from(scores[1]));
        (upper, lower_from_square(square + gap, self.margin.width(label, upper), d))
    }
}
