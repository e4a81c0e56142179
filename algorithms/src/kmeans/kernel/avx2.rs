//! The assignment step with 256-bit vectors.
//!
//! A tile is 6 rows x 16 centroids: 12 accumulators, 2 registers for a column of the panel and 1 for a row's value fill 15
//! of the 16 vector registers, and 12 independent chains hide the latency of the multiply-add.

use std::arch::x86_64::*;

use super::Two;
use super::panels::{Ahead, Panel, Panels, WIDTH};

/// Rows per tile.
const ROWS: usize = 6;
/// Most rows per chunk.
const CHUNK: usize = 240;

/// The scores of `R` rows for one panel, centroids 0..8 and 8..16.
///
/// # Safety
/// `rows` must point to `R` rows of as many numbers as the panel has columns.
#[target_feature(enable = "avx2,fma")]
#[inline]
unsafe fn tile<const R: usize>(panel: Panel<'_>, rows: *const f32) -> [[__m256; 2]; R] {
    let d = panel.columns.len();
    let bias = panel.bias.0.as_ptr();
    // SAFETY: a lane holds sixteen numbers and is aligned to 64 bytes.
    let start = unsafe { [_mm256_load_ps(bias), _mm256_load_ps(bias.wrapping_add(8))] };
    let mut sums = [start; R];
    let mut x = rows;
    for column in panel.columns {
        let column = column.0.as_ptr();
        // SAFETY: a lane holds sixteen numbers and is aligned to 64 bytes.
        let c = unsafe { [_mm256_load_ps(column), _mm256_load_ps(column.wrapping_add(8))] };
        for (r, sum) in sums.iter_mut().enumerate() {
            // SAFETY: `x` is at most `d - 1` numbers into the first row, so this is within the rows the caller promises.
            let x = unsafe { _mm_load_ss(x.wrapping_add(r.wrapping_mul(d))) };
            let x = _mm256_broadcastss_ps(x);
            sum[0] = _mm256_fmadd_ps(x, c[0], sum[0]);
            sum[1] = _mm256_fmadd_ps(x, c[1], sum[1]);
        }
        x = x.wrapping_add(1);
    }
    sums
}

/// The best score of each of eight lanes so far, and whose it is.
#[derive(Clone, Copy)]
struct Best {
    score: __m256,
    label: __m256i,
}

impl Best {
    #[target_feature(enable = "avx2,fma")]
    #[inline]
    fn none() -> Self {
        Self { score: _mm256_set1_ps(f32::NEG_INFINITY), label: _mm256_setzero_si256() }
    }

    /// Looks at the scores of a panel. A later centroid must be strictly better, so the lowest index wins ties.
    #[target_feature(enable = "avx2,fma")]
    #[inline]
    fn take(&mut self, scores: [__m256; 2], labels: [__m256i; 2]) {
        let upper = _mm256_cmp_ps::<_CMP_GT_OQ>(scores[1], scores[0]);
        let score = _mm256_max_ps(scores[1], scores[0]);
        let label = _mm256_blendv_ps(_mm256_castsi256_ps(labels[0]), _mm256_castsi256_ps(labels[1]), upper);
        let better = _mm256_cmp_ps::<_CMP_GT_OQ>(score, self.score);
        self.score = _mm256_max_ps(score, self.score);
        // Labels ascend, so the greater one is the newer; a blend would become a masked store, which some machines do slowly.
        let label = _mm256_castps_si256(_mm256_and_ps(label, better));
        self.label = _mm256_max_epu32(self.label, label);
    }

    /// The label of the best lane, the lowest where lanes are equal.
    #[target_feature(enable = "avx2,fma")]
    #[inline]
    fn label(self) -> u32 {
        let all = self.score;
        let all = _mm256_max_ps(all, _mm256_permute2f128_ps::<1>(all, all));
        let all = _mm256_max_ps(all, _mm256_permute_ps::<0b01_00_11_10>(all));
        let all = _mm256_max_ps(all, _mm256_permute_ps::<0b10_11_00_01>(all));
        let worse = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_NEQ_UQ>(self.score, all));
        let labels = _mm256_or_si256(self.label, worse);
        let low = _mm_min_epu32(_mm256_castsi256_si128(labels), _mm256_extracti128_si256::<1>(labels));
        let low = _mm_min_epu32(low, _mm_shuffle_epi32::<0b01_00_11_10>(low));
        let low = _mm_min_epu32(low, _mm_shuffle_epi32::<0b10_11_00_01>(low));
        _mm_cvtsi128_si32(low) as u32
    }
}

/// The two best scores of each of eight lanes so far, and whose the best is.
#[derive(Clone, Copy)]
struct BestTwo {
    best: Best,
    second: __m256,
}

impl BestTwo {
    #[target_feature(enable = "avx2,fma")]
    #[inline]
    fn none() -> Self {
        Self { best: Best::none(), second: _mm256_set1_ps(f32::NEG_INFINITY) }
    }

    /// As [`Best::take`].
    #[target_feature(enable = "avx2,fma")]
    #[inline]
    fn take(&mut self, scores: [__m256; 2], labels: [__m256i; 2]) {
        let high = _mm256_max_ps(scores[1], scores[0]);
        let low = _mm256_min_ps(scores[1], scores[0]);
        // Of four numbers, the greater in each of two pairs known: the second greatest.
        let low = _mm256_max_ps(low, _mm256_min_ps(high, self.best.score));
        self.second = _mm256_max_ps(self.second, low);
        self.best.take(scores, labels);
    }

    /// The two best scores of all lanes.
    #[target_feature(enable = "avx2,fma")]
    #[inline]
    fn scores(self) -> [f32; 2] {
        let (mut high, mut low) = (self.best.score, self.second);
        macro_rules! with {
            ($permute:expr) => {{
                let (other_high, other_low) = ($permute(high), $permute(low));
                let between = _mm256_min_ps(high, other_high);
                high = _mm256_max_ps(high, other_high);
                low = _mm256_max_ps(between, _mm256_max_ps(low, other_low));
            }};
        }
        with!(|v| _mm256_permute2f128_ps::<1>(v, v));
        with!(|v| _mm256_permute_ps::<0b01_00_11_10>(v));
        with!(|v| _mm256_permute_ps::<0b10_11_00_01>(v));
        [_mm256_cvtss_f32(high), _mm256_cvtss_f32(low)]
    }
}

/// Runs `$body` for each tile of a chunk of `$n` rows, with `$r` the tile's first row and `$scores` its scores.
macro_rules! tiles {
    ($panel:expr, $rows:expr, $n:expr, |$r:ident, $scores:ident| $body:expr) => {{
        let (panel, rows, n) = ($panel, $rows, $n);
        let d = panel.columns.len();
        debug_assert_eq!(rows.len(), n * d);
        macro_rules! one {
            ($R:literal, $first:expr) => {{
                let $r: usize = $first;
                // SAFETY: the tile ends at or before row `n`, and `rows` holds `n` rows.
                let $scores = unsafe { tile::<$R>(panel, rows.as_ptr().wrapping_add($r.wrapping_mul(d))) };
                $body
            }};
        }
        let whole = n / ROWS * ROWS;
        let mut first = 0;
        while first < whole {
            one!(6, first);
            first += ROWS;
        }
        match n - whole {
            1 => one!(1, whole),
            2 => one!(2, whole),
            3 => one!(3, whole),
            4 => one!(4, whole),
            5 => one!(5, whole),
            _ => {}
        }
    }};
}

/// See [`super::assign`].
#[target_feature(enable = "avx2,fma")]
pub(super) fn assign(panels: &Panels, rows: &[f32], labels: &mut [u32]) {
    let d = panels.dimension();
    let most = panels.chunk(ROWS, CHUNK);
    let mut best = [Best::none(); CHUNK];
    for (rows, labels) in rows.chunks(most * d).zip(labels.chunks_mut(most)) {
        let n = labels.len();
        best[..n].fill(Best::none());
        let mut ahead = Ahead::new(panels, rows, ROWS, 1);
        for panel in panels.iter() {
            let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
            let low = _mm256_add_epi32(_mm256_set1_epi32(panel.first as i32), lanes);
            let ids = [low, _mm256_add_epi32(low, _mm256_set1_epi32(8))];
            tiles!(panel, rows, n, |first, scores| {
                ahead.fetch();
                for (best, scores) in best[first..][..scores.len()].iter_mut().zip(scores) {
                    best.take(scores, ids);
                }
            });
        }
        for (label, best) in labels.iter_mut().zip(&best) {
            *label = best.label();
        }
    }
}

/// See [`super::assign_scores`].
#[target_feature(enable = "avx2,fma")]
pub(super) fn assign_scores(panels: &Panels, rows: &[f32], labels: &mut [u32], scores: &mut [[f32; 2]]) {
    let d = panels.dimension();
    let most = panels.chunk(ROWS, CHUNK);
    let mut best = [BestTwo::none(); CHUNK];
    let blocks = rows.chunks(most * d).zip(labels.chunks_mut(most)).zip(scores.chunks_mut(most));
    for ((rows, labels), top) in blocks {
        let n = labels.len();
        best[..n].fill(BestTwo::none());
        let mut ahead = Ahead::new(panels, rows, ROWS, 1);
        for panel in panels.iter() {
            let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
            let low = _mm256_add_epi32(_mm256_set1_epi32(panel.first as i32), lanes);
            let ids = [low, _mm256_add_epi32(low, _mm256_set1_epi32(8))];
            tiles!(panel, rows, n, |first, scores| {
                ahead.fetch();
                for (best, scores) in best[first..][..scores.len()].iter_mut().zip(scores) {
                    best.take(scores, ids);
                }
            });
        }
        for ((label, top), best) in labels.iter_mut().zip(top).zip(&best) {
            (*label, *top) = (best.best.label(), best.scores());
        }
    }
}

/// See [`super::assign_two`].
#[target_feature(enable = "avx2,fma")]
pub(super) fn assign_two(panels: &Panels, rows: &[f32], best: &mut [u32], second: &mut [u32]) {
    let d = panels.dimension();
    let most = panels.chunk(ROWS, CHUNK);
    let mut top = [Two::NONE; CHUNK];
    let blocks = rows.chunks(most * d).zip(best.chunks_mut(most)).zip(second.chunks_mut(most));
    for ((rows, best), second) in blocks {
        let n = best.len();
        top[..n].fill(Two::NONE);
        for panel in panels.iter() {
            tiles!(panel, rows, n, |first, scores| {
                for (top, scores) in top[first..][..scores.len()].iter_mut().zip(scores) {
                    let highest = _mm256_max_ps(scores[0], scores[1]);
                    let bar = _mm256_set1_ps(top.scores[1]);
                    let above = _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_GT_OQ>(highest, bar));
                    if above != 0 || top.admits(f32::NEG_INFINITY) {
                        let mut flat = [0.0f32; WIDTH];
                        // SAFETY: there is room for sixteen numbers.
                        unsafe {
                            _mm256_storeu_ps(flat.as_mut_ptr(), scores[0]);
                            _mm256_storeu_ps(flat.as_mut_ptr().add(8), scores[1]);
                        }
                        top.take(panel.first, &flat[..panel.len]);
                    }
                }
            });
        }
        for ((best, second), top) in best.iter_mut().zip(second).zip(&top) {
            [*best, *second] = top.labels;
        }
    }
}
