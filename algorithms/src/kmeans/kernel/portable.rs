//! The assignment step without vector intrinsics.

use super::{Panels, WIDTH};

/// Labels rows one by one.
pub(super) fn assign(panels: &Panels, rows: &[f32], labels: &mut [u32]) {
    for (row, label) in rows.chunks_exact(panels.dimension).zip(labels) {
        let mut best = f32::NEG_INFINITY;
        *label = 0;
        scores(panels, row, |index, score| {
            if score > best {
                (best, *label) = (score, index);
            }
        });
    }
}

/// Labels rows one by one with the best and second best.
pub(super) fn assign_two(panels: &Panels, rows: &[f32], best: &mut [u32], second: &mut [u32]) {
    for ((row, best), second) in rows.chunks_exact(panels.dimension).zip(best).zip(second) {
        let mut top = [(f32::NEG_INFINITY, u32::MAX); 2];
        scores(panels, row, |index, score| {
            if top[0].1 == u32::MAX || score > top[0].0 {
                top = [(score, index), top[0]];
            } else if top[1].1 == u32::MAX || score > top[1].0 {
                top[1] = (score, index);
            }
        });
        (*best, *second) = (top[0].1, top[1].1);
    }
}

fn scores(panels: &Panels, row: &[f32], mut each: impl FnMut(u32, f32)) {
    for (p, panel) in panels
        .coefficients
        .chunks_exact(panels.dimension)
        .enumerate()
    {
        let mut sums = panels.bias[p].0;
        for (&x, lane) in row.iter().zip(panel) {
            for (sum, &c) in sums.iter_mut().zip(&lane.0) {
                *sum = x.mul_add(c, *sum);
            }
        }
        for (lane, &score) in sums.iter().enumerate().take(panels.len - p * WIDTH) {
            each((p * WIDTH + lane) as u32, score);
        }
    }
}
