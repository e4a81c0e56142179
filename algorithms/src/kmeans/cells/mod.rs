//! Exact assignment among very many centroids, most of which are not looked at.
//!
//! The [sieve](super::sieve) looks at every centroid, if only at bytes. That is too much where there are tens of thousands: time
//! and memory traffic grow with their number, though hardly any has a chance. So centroids that are near each other form a *cell*,
//! a few times as many cells as the root of the number of centroids, and a row looks only into cells that may hold one of its two nearest
//! centroids.
//!
//! # Bounds
//!
//! Let `g_a` be the centre of cell `a`, and `s_a(x) = x . g_a - |g_a|^2 / 2` a row's score for it. For a row `x` and a centroid `c`
//!
//! ```text
//! (g_a - g_b) . (x - c) = (s_a(x) - s_b(x)) - (s_a(c) - s_b(c)) <= |g_a - g_b| |x - c|
//! ```
//!
//! With `l_ab` the greatest `s_a(c) - s_b(c)` of the centroids of cell `b`, none of them is nearer to the row than
//! `(s_a(x) - s_b(x) - l_ab) / |g_a - g_b|`: how far it is along the line between the centres from the row to the cell. The
//! scores come from the kernel, all cells at once, and with `a` the cell whose centre is nearest to the row a look at two numbers
//! per cell says which others may hold something near. (A radius per cell would take less memory, but with many columns a cell's
//! radius is many times as long as the cell is in the direction of any other one.)
//!
//! A row looks into its nearest cell first, which gives the distance that the others must beat, then into those that may. Rows that
//! look into the same cell do so together.
//!
//! # The same bits
//!
//! Labels are those of the kernel's `f32` scores, near ties included, as each cell's centroids are scored by the kernel. With E, the error
//! of such a score from [`bounds`](super::bounds), and `s` the row's best score so far (second best, if two are wanted), a centroid
//! loses if its squared distance exceeds `|x|^2 - 2 s + 2 E`. The scores for the centres have errors of the same kind, which are part of
//! `l_ab` and of what it is compared with. All is rounded outwards.
//!
//! # Cost
//!
//! Time per row: d multiplications in `f32` for each cell and each centroid of the cells looked into, in all some multiple of
//! `d sqrt(k)`. Memory per centroid: its numbers once more, packed (4 d bytes, a few more for padding), and the two numbers
//! of each pair of cells, up to 512 bytes. Preparing takes about as much time as assigning every centroid to the centres five times.
//!
//! Where there is no structure, a row is about as far from its nearest centroid as from all others, and no bound of this kind
//! excludes any. [`Cells::new`] tries it, and gives none if so.
//!
//! # References
//!
//! - E. Chávez, G. Navarro, R. Baeza-Yates and J. Marroquín, "Searching in metric spaces", ACM Computing Surveys 33 (2001): cells around
//!   centres, excluded by hyperplanes and by radii.
//! - Y. Ding et al., "Yinyang k-means: a drop-in replacement of the classic k-means with consistent speedup", ICML (2015): groups of
//!   centroids that are found by k-means.

mod form;
mod leads;
#[cfg(test)]
mod tests;

use self::form::{Cell, form};
use self::leads::{Leads, Margin};
use super::bounds::slack;
use super::kernel::{self, Best, contend, highest};
use super::open::Open;
use super::{Centroids, squared_distance};
use crate::random::{Purpose, Stream};

/// Bytes of scores that are kept at a time: they stay in the second-level cache.
const SCORES: usize = 512 << 10;
/// Rows taken together: a multiple of what a tile takes, and at most so many.
const TILE: usize = 12;
const MOST: usize = 480;
/// Centroids for each one that may be looked at for a row: beyond, looking at bytes of all is faster.
const PER_LOOK: usize = 16;
/// Rows from which this says nothing: squares of numbers that large could overflow.
const LONGEST: f64 = 1e15;
/// Centroids that are looked up to see whether it pays, and the share for which it must.
const TRIALS: usize = 480;
const SHARE: f64 = 0.5;

/// Centroids in cells.
#[derive(Debug)]
pub(super) struct Cells {
    centres: Centroids,
    cells: Vec<Cell>,
    leads: Leads,
    margin: Margin,
    /// Most centroids outside the nearest cell that a row may look at.
    most: usize,
}

/// Memory that is used again from block to block.
#[derive(Debug, Default)]
pub(super) struct CellBuffers {
    /// The scores of a block's rows for the centres.
    scores: Vec<f32>,
    rows: Vec<Row>,
    /// Cells to look into, each with the place of a row in the block.
    visits: Vec<(u32, u32)>,
    found: Vec<u32>,
    /// Rows that look into the same cell, and their scores there.
    values: Vec<f32>,
    inside: Vec<f32>,
    zero: Vec<f32>,
}

/// What is known of a row.
#[derive(Clone, Copy, Debug)]
struct Row {
    /// At least its length.
    length: f64,
    home: u32,
    best: Best,
}

impl Cells {
    /// Forms cells; `None` where they would not help to find centroids near other ones, or numbers are too large.
    pub(super) fn new(centroids: &Centroids) -> Option<Self> {
        let cells = Self::forced(centroids, centroids.len() / PER_LOOK)?;
        cells.pays(centroids).then_some(cells)
    }

    /// Even where it does not pay.
    fn forced(centroids: &Centroids, most: usize) -> Option<Self> {
        let margin = Margin::new(centroids);
        if margin.longest >= LONGEST {
            return None;
        }
        let (centres, cells) = form(centroids);
        let leads = Leads::new(centroids, &centres, &cells);
        Some(Self { centres, cells, leads, margin, most })
    }

    /// Whether rows that lie as the centroids do can be decided.
    fn pays(&self, centroids: &Centroids) -> bool {
        let (k, d) = (centroids.len(), centroids.dimension());
        let stream = Stream::new(0, Purpose::Evaluation, 0);
        let drawn = (0..TRIALS.min(k) as u64).map(|trial| (stream.uniform(trial) * k as f64) as usize);
        let rows: Vec<f32> = drawn.flat_map(|id| centroids.row(id)).copied().collect();
        let n = rows.len() / d;
        let (mut best, mut second, mut open) = (vec![0; n], vec![0; n], Open::default());
        self.find::<2>(&rows, 0, &mut best, &mut second, &mut open, &mut CellBuffers::default());
        (n - open.len()) as f64 >= SHARE * n as f64
    }

    pub(super) fn len(&self) -> usize {
        self.cells.iter().map(|cell| cell.ids.len()).sum()
    }

    pub(super) fn dimension(&self) -> usize {
        self.centres.dimension()
    }

    /// Rows taken together.
    pub(super) fn block(&self) -> usize {
        (SCORES / (size_of::<f32>() * self.leads.stride())).clamp(TILE, MOST) / TILE * TILE
    }

    /// Finds the `WANTED` nearest centroids, 1 or 2, of a block of rows, the first of which is row `first` of the call; the positions of
    /// those that may be near too many are added to `open`. `second` is empty if `WANTED` is 1.
    pub(super) fn find<const WANTED: usize>(
        &self,
        rows: &[f32],
        first: usize,
        best: &mut [u32],
        second: &mut [u32],
        open: &mut Open,
        buffers: &mut CellBuffers,
    ) {
        let (d, stride) = (self.dimension(), self.leads.stride());
        buffers.scores.resize(best.len() * stride, 0.0);
        kernel::scores(self.centres.panels(), rows, &mut buffers.scores);
        buffers.zero.resize(d, 0.0);
        buffers.rows.clear();
        buffers.visits.clear();
        for (place, (row, scores)) in (0..).zip(rows.chunks_exact(d).zip(buffers.scores.chunks_exact(stride))) {
            let length = (squared_distance(row, &buffers.zero) * (1.0 + slack(d))).sqrt() * (1.0 + f64::EPSILON);
            let home = if length < LONGEST { highest(scores) as u32 } else { u32::MAX };
            if home != u32::MAX {
                buffers.visits.push((home, place));
            }
            buffers.rows.push(Row { length, home, best: Best::NONE });
        }
        self.visit(rows, buffers);
        for (place, scores) in (0..).zip(buffers.scores.chunks_exact(stride)) {
            let row = buffers.rows[place as usize];
            buffers.found.clear();
            if row.home == u32::MAX || !self.others::<WANTED>(row, scores, &mut buffers.found) {
                open.push(first + place as usize);
            } else {
                buffers.visits.extend(buffers.found.iter().map(|&cell| (cell, place)));
            }
        }
        self.visit(rows, buffers);
        for (place, row) in buffers.rows.iter().enumerate() {
            best[place] = row.best.labels[0];
            if WANTED == 2 {
                second[place] = row.best.labels[1];
            }
        }
    }

    /// Adds the other cells that a row must look into; gives whether these hold few centroids.
    fn others<const WANTED: usize>(&self, row: Row, scores: &[f32], found: &mut Vec<u32>) -> bool {
        let Row { length, home, best } = row;
        let square = length * length - 2.0 * f64::from(best.scores[WANTED - 1]) + 2.0 * self.margin.of(length);
        if square < f64::INFINITY {
            let reach = square.max(0.0).sqrt() * (1.0 + slack(self.dimension()));
            self.leads.within(home as usize, scores, length, reach, found);
        } else {
            found.extend((0..self.cells.len() as u32).filter(|&cell| cell != home));
        }
        let mut sum = 0;
        found.iter().all(|&cell| {
            sum += self.cells[cell as usize].ids.len();
            sum <= self.most
        })
    }

    /// Lets rows look into cells.
    fn visit(&self, rows: &[f32], buffers: &mut CellBuffers) {
        let d = self.dimension();
        let CellBuffers { rows: known, visits, values, inside, .. } = buffers;
        visits.sort_unstable();
        for together in visits.chunk_by(|a, b| a.0 == b.0) {
            let Cell { ids, panels } = &self.cells[together[0].0 as usize];
            values.clear();
            for &(_, place) in together {
                values.extend_from_slice(&rows[place as usize * d..][..d]);
            }
            let stride = panels.count() * kernel::WIDTH;
            inside.resize(together.len() * stride, 0.0);
            kernel::scores(panels, values, inside);
            for (&(_, place), scores) in together.iter().zip(inside.chunks_exact(stride)) {
                contend(scores, ids, &mut known[place as usize].best);
            }
        }
        visits.clear();
    }
}
