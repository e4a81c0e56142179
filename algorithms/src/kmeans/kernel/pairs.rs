//! Squared distances from rows to panels of rows, by differences: exact zeros for equal rows, unlike the assignment's
//! scores. The quadratic part of the silhouette, and the trials of k-means++.

use super::panels::{Lane, WIDTH};
use super::widened::widened;

/// Rows whose distances are computed together, for which a panel stays in the first-level cache.
pub(crate) const CHUNK: usize = 48;
/// Rows per tile: with 16 lanes the sums fill eight vector registers.
const TILE: usize = 4;

/// Rows packed sixteen to a panel, column by column, no panel holding rows of two clusters.
pub(crate) struct Groups {
    dimension: usize,
    /// Panel after panel, `dimension` lanes each.
    coefficients: Vec<Lane>,
    /// One lane per panel: 1 for a row, 0 for padding.
    present: Vec<Lane>,
    /// First panel of each cluster, and the end.
    starts: Vec<usize>,
}

impl Groups {
    /// Packs rows (row-major) of `k` clusters.
    pub(crate) fn new(rows: &[f32], dimension: usize, labels: &[u32], k: usize) -> Self {
        let mut counts = vec![0usize; k];
        for &label in labels {
            counts[label as usize] += 1;
        }
        let mut starts = vec![0];
        let mut end = 0;
        for count in &counts {
            end += count.div_ceil(WIDTH);
            starts.push(end);
        }
        let mut coefficients = vec![Lane([0.0; WIDTH]); end * dimension];
        let mut present = vec![Lane([0.0; WIDTH]); end];
        let mut next = vec![0; k];
        for (row, &label) in rows.chunks_exact(dimension).zip(labels) {
            let place = &mut next[label as usize];
            let (panel, lane) = (starts[label as usize] + *place / WIDTH, *place % WIDTH);
            *place += 1;
            present[panel].0[lane] = 1.0;
            for (column, &value) in coefficients[panel * dimension..][..dimension].iter_mut().zip(row) {
                column.0[lane] = value;
            }
        }
        Self { dimension, coefficients, present, starts }
    }

    /// Number of clusters.
    pub(crate) fn len(&self) -> usize {
        self.starts.len() - 1
    }
}

widened! {
    /// For each of at most [`CHUNK`] rows the sum of its distances to the rows of each cluster, n x k; with `squared`, of
    /// its squared distances. Distances are in `f32`, their sums in `f64`. A row's sums do not depend on the other rows.
    pub(crate) fn distance_sums(groups: &Groups, rows: &[f32], squared: bool, sums: &mut [f64]) {
        let d = groups.dimension;
        let k = groups.len();
        for cluster in 0..k {
            let mut totals = [[0.0f64; WIDTH]; CHUNK];
            for panel in groups.starts[cluster]..groups.starts[cluster + 1] {
                let columns = &groups.coefficients[panel * d..][..d];
                let present = &groups.present[panel].0;
                let mut tiles = rows.chunks_exact(TILE * d);
                let mut row = 0;
                for rows in &mut tiles {
                    let rows: [&[f32]; TILE] = std::array::from_fn(|r| &rows[r * d..][..d]);
                    for squares in &tile(columns, rows) {
                        add(&mut totals[row], squares, present, squared);
                        row += 1;
                    }
                }
                for rows in tiles.remainder().chunks_exact(d) {
                    add(&mut totals[row], &tile(columns, [rows])[0], present, squared);
                    row += 1;
                }
            }
            for (sums, totals) in sums.chunks_exact_mut(k).zip(&totals) {
                sums[cluster] = fold(totals);
            }
        }
    }
}

/// At most sixteen rows packed column by column.
pub(crate) struct Trials(Vec<Lane>);

impl Trials {
    /// Packs rows of `dimension` numbers; lanes without a row repeat the first one.
    pub(crate) fn new<'a>(dimension: usize, rows: impl ExactSizeIterator<Item = &'a [f32]> + Clone) -> Self {
        assert!((1..=WIDTH).contains(&rows.len()), "one to sixteen rows fit");
        let mut columns = vec![Lane([0.0; WIDTH]); dimension];
        for lane in 0..WIDTH {
            let Some(row) = rows.clone().nth(if lane < rows.len() { lane } else { 0 }) else { continue };
            for (column, &value) in columns.iter_mut().zip(row) {
                column.0[lane] = value;
            }
        }
        Self(columns)
    }
}

widened! {
    /// Squared distances of some `rows` (indices into row-major `points`) to the packed rows; `out` is
    /// cleared and gets one entry per index.
    pub(crate) fn trial_distances(trials: &Trials, points: &[f32], rows: &[u32], out: &mut Vec<[f32; WIDTH]>) {
        let columns = trials.0.as_slice();
        let d = columns.len();
        let row = |i: u32| &points[i as usize * d..][..d];
        out.clear();
        let (tiles, rest) = rows.as_chunks::<TILE>();
        for &indices in tiles {
            out.extend(tile(columns, indices.map(row)));
        }
        for &index in rest {
            out.extend(tile(columns, [row(index)]));
        }
    }
}

/// Squared distances of `R` rows to the rows of a panel, summed over the columns in order.
#[inline(always)]
fn tile<const R: usize>(columns: &[Lane], rows: [&[f32]; R]) -> [[f32; WIDTH]; R] {
    let d = columns.len();
    let rows = rows.map(|row| &row[..d]);
    let mut sums = [[0.0f32; WIDTH]; R];
    for (j, Lane(column)) in columns.iter().enumerate() {
        for r in 0..R {
            let x = rows[r][j];
            for (sum, &c) in sums[r].iter_mut().zip(column) {
                let difference = x - c;
                *sum += difference * difference;
            }
        }
    }
    sums
}

/// Adds a panel's distances, padding left out.
#[inline(always)]
fn add(totals: &mut [f64; WIDTH], squares: &[f32; WIDTH], present: &[f32; WIDTH], squared: bool) {
    let mut distances = *squares;
    if !squared {
        distances = distances.map(f32::sqrt);
    }
    for ((total, distance), present) in totals.iter_mut().zip(distances).zip(present) {
        *total += f64::from(distance * present);
    }
}

/// Adds the lanes pairwise.
#[inline(always)]
fn fold(totals: &[f64; WIDTH]) -> f64 {
    let mut totals = *totals;
    let mut half = WIDTH / 2;
    while half > 0 {
        for lane in 0..half {
            totals[lane] += totals[lane + half];
        }
        half /= 2;
    }
    totals[0]
}
