//! The assignment step without intrinsics: the definition of the result.
//!
//! The loops over a panel's sixteen centroids become vector instructions where the target has a fused multiply-add
//! (AArch64 does); elsewhere each one is a call of the mathematical library, right but slow.

use super::Two;
use super::panels::{Lane, Panel, Panels, WIDTH};

/// Rows per tile.
const ROWS: usize = 4;
/// Most rows per chunk.
const CHUNK: usize = 256;

/// The scores of `R` rows for one panel. `rows` holds exactly these rows.
#[inline(always)]
fn tile<const R: usize>(panel: Panel<'_>, rows: &[f32]) -> [[f32; WIDTH]; R] {
    let d = panel.columns.len();
    let rows: [&[f32]; R] = std::array::from_fn(|r| &rows[r * d..][..d]);
    let mut sums = [panel.bias.0; R];
    for (j, Lane(column)) in panel.columns.iter().enumerate() {
        for r in 0..R {
            let x = rows[r][j];
            for (sum, &c) in sums[r].iter_mut().zip(column) {
                *sum = x.mul_add(c, *sum);
            }
        }
    }
    sums
}

/// Calls `each(row, panel, scores)` for all rows of a chunk and all panels; panels in order for each row.
#[inline(always)]
fn chunk(panels: &Panels, rows: &[f32], mut each: impl FnMut(usize, Panel<'_>, &[f32; WIDTH])) {
    let d = panels.dimension();
    for panel in panels.iter() {
        let tiles = rows.chunks_exact(ROWS * d);
        let rest = tiles.remainder();
        let mut row = 0;
        for rows in tiles {
            for scores in &tile::<ROWS>(panel, rows) {
                each(row, panel, scores);
                row += 1;
            }
        }
        for rows in rest.chunks_exact(d) {
            each(row, panel, &tile::<1>(panel, rows)[0]);
            row += 1;
        }
    }
}

/// See [`super::assign`].
pub(super) fn assign(panels: &Panels, rows: &[f32], labels: &mut [u32]) {
    let most = panels.chunk(ROWS, CHUNK);
    for (rows, labels) in rows.chunks(most * panels.dimension()).zip(labels.chunks_mut(most)) {
        let mut best = [f32::NEG_INFINITY; CHUNK];
        labels.fill(0);
        chunk(panels, rows, |row, panel, scores| {
            for (index, &score) in (panel.first as u32..).zip(scores) {
                if score > best[row] {
                    (best[row], labels[row]) = (score, index);
                }
            }
        });
    }
}

/// See [`super::assign_scores`].
pub(super) fn assign_scores(panels: &Panels, rows: &[f32], labels: &mut [u32], scores: &mut [[f32; 2]]) {
    let most = panels.chunk(ROWS, CHUNK);
    let blocks = rows.chunks(most * panels.dimension()).zip(labels.chunks_mut(most)).zip(scores.chunks_mut(most));
    for ((rows, labels), scores) in blocks {
        let mut top = [Two::NONE; CHUNK];
        chunk(panels, rows, |row, panel, scores| top[row].take(panel.first, &scores[..panel.len]));
        for ((label, scores), top) in labels.iter_mut().zip(scores).zip(&top) {
            (*label, *scores) = (top.labels[0], top.scores);
        }
    }
}

/// See [`super::assign_two`].
pub(super) fn assign_two(panels: &Panels, rows: &[f32], best: &mut [u32], second: &mut [u32]) {
    let most = panels.chunk(ROWS, CHUNK);
    let blocks = rows.chunks(most * panels.dimension()).zip(best.chunks_mut(most)).zip(second.chunks_mut(most));
    for ((rows, best), second) in blocks {
        let mut top = [Two::NONE; CHUNK];
        chunk(panels, rows, |row, panel, scores| top[row].take(panel.first, &scores[..panel.len]));
        for ((best, second), top) in best.iter_mut().zip(second).zip(&top) {
            [*best, *second] = top.labels;
        }
    }
}
