//! The assignment step without intrinsics: the definition of the result.
//!
//! The loops over a panel's sixteen centroids become vector instructions where the target has a fused multiply-add
//! (AArch64 does); elsewhere each one is a call of the mathematical library, right but slow.

use super::panels::{Lane, Panel, Panels, WIDTH};
use super::{Top, Two};

/// Rows per tile.
pub(super) const ROWS: usize = 4;
/// Most rows per chunk.
pub(super) const CHUNK: usize = 256;

/// The scores of `R` rows for one panel.
#[inline(always)]
fn tile<const R: usize>(panel: Panel<'_>, rows: [&[f32]; R]) -> [[f32; WIDTH]; R] {
    let d = panel.columns.len();
    let rows = rows.map(|row| &row[..d]);
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
            for scores in &tile::<ROWS>(panel, std::array::from_fn(|r| &rows[r * d..])) {
                each(row, panel, scores);
                row += 1;
            }
        }
        for rows in rest.chunks_exact(d) {
            each(row, panel, &tile(panel, [rows])[0]);
            row += 1;
        }
    }
}

/// See [`super::scores`].
pub(super) fn scores(panels: &Panels, rows: &[f32], out: &mut [[f32; WIDTH]]) {
    let (most, count) = (panels.chunk(ROWS, CHUNK), panels.count());
    for (rows, out) in rows.chunks(most * panels.dimension()).zip(out.chunks_mut(most * count)) {
        chunk(panels, rows, |row, panel, scores| out[row * count + panel.first / WIDTH] = *scores);
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

/// See [`super::tops`].
pub(super) fn tops(panel: Panel<'_>, rows: &[f32], positions: &[u32], tops: &mut [Top]) {
    let d = panel.columns.len();
    let row = |position: u32| &rows[position as usize * d..][..d];
    let (tiles, rest) = positions.as_chunks::<ROWS>();
    let (tops, rest_tops) = tops.as_chunks_mut::<ROWS>();
    for (&positions, tops) in tiles.iter().zip(tops) {
        *tops = tile(panel, positions.map(row)).map(top);
    }
    for (&position, place) in rest.iter().zip(rest_tops) {
        *place = top(tile(panel, [row(position)])[0]);
    }
}

/// The two best of a panel's scores.
fn top(scores: [f32; WIDTH]) -> Top {
    let mut top = Top { best: scores[0], ..Top::NONE };
    for (lane, &score) in (1..).zip(&scores[1..]) {
        if score > top.best {
            top = Top { best: score, second: top.best, lane };
        } else if score > top.second {
            top.second = score;
        }
    }
    top
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
