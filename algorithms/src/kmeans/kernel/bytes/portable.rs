//! Scores from bytes without intrinsics: the definition of the result.

use super::super::panels::WIDTH;
use super::{BytePanels, Factors, ORDER, SEGMENT, STEP};

/// See [`super::byte_scores`].
pub(super) fn scores(panels: &BytePanels, rows: &[u8], factors: &[Factors], scores: &mut [i16]) {
    let rows = rows.chunks_exact(panels.row_stride());
    for ((row, factors), scores) in rows.zip(factors).zip(scores.chunks_exact_mut(panels.score_stride())) {
        for (panel, scores) in panels.iter().zip(scores.as_chunks_mut::<WIDTH>().0) {
            let mut totals = [0i32; WIDTH];
            let segments = row.chunks(SEGMENT).zip(panel.values.chunks(SEGMENT / STEP)).zip(panel.starts);
            for ((row, values), starts) in segments {
                let mut sums = starts.map(|words| words.0);
                for (x, values) in row.as_chunks::<STEP>().0.iter().zip(values) {
                    for (sums, bytes) in sums.iter_mut().zip(values) {
                        for (i, sum) in sums.iter_mut().enumerate() {
                            let product = |j: usize| i16::from(x[i % 2 * 2 + j]) * i16::from(bytes.0[i * 2 + j]);
                            *sum = sum.wrapping_add(product(0) + product(1));
                        }
                    }
                }
                for (lane, total) in totals.iter_mut().enumerate() {
                    let sums = &sums[lane / 8][lane % 8 * 2..][..2];
                    *total += i32::from(sums[0]) + i32::from(sums[1]);
                }
            }
            for (score, lane) in scores.iter_mut().zip(ORDER) {
                let offset = factors.bias.mul_add(panel.bias.0[lane], factors.error * panel.error.0[lane]);
                let exact = (totals[lane] as f32).mul_add(panel.scale.0[lane], offset);
                *score = exact.round_ties_even() as i16;
            }
        }
    }
}

/// See [`super::reaching`].
pub(super) fn reaching(scores: &[i16], least: i16, found: &mut Vec<u32>) {
    found.extend((0..).zip(scores).filter(|&(_, &score)| score >= least).map(|(place, _)| place));
}

/// See [`super::greatest`].
pub(super) fn greatest(scores: &[i16]) -> [i16; 2] {
    scores.iter().fold([i16::MIN; 2], |[high, low], &score| [high.max(score), low.max(score.min(high))])
}
