//! The assignment step with 256-bit vectors.
//!
//! A tile is 6 rows x 16 centroids: 12 accumulators, 2 registers for a column of the panel and 1 for a row's value fill 15
//! of the 16 vector registers, and 12 independent chains hide the latency of the multiply-add.

use std::arch::x86_64::*;

use super::panels::{Ahead, Panel, Panels, WIDTH};
use super::{Top, Two};

/// Rows per tile.
pub(super) const ROWS: usize = 6;
/// Most rows per chunk.
pub(super) const CHUNK: usize = 240;

/// The scores of `R` rows for one panel, centroids 0..8 and 8..16.
///
/// # Safety
/// `rows` must point to rows of as many numbers as the panel has columns.
#[target_feature(enable = "avx2,fma")]
#[inline]
unsafe fn tile<const R: usize>(panel: Panel<'_>, rows: [*const f32; R]) -> [[__m256; 2]; R] {
    let bias = panel.bias.0.as_ptr();
    // SAFETY: a lane holds sixteen numbers and is aligned to 64 bytes.
    let start = unsafe { [_mm256_load_ps(bias), _mm256_load_ps(bias.wrapping_add(8))] };
    let mut sums = [start; R];
    for (j, column) in panel.columns.iter().enumerate() {
        let column = column.0.as_ptr();
        // SAFETY: a lane holds sixteen numbers and is aligned to 64 bytes.
        let c = unsafe { [_mm256_load_ps(column), _mm256_load_ps(column.wrapping_add(8))] };
        for (sum, row) in sums.iter_mut().zip(rows) {
            // SAFETY: `j` is less than the number of columns, so this is within the row the caller promises.
            let x = unsafe { _mm_load_ss(row.wrapping_add(j)) };
            let x = _mm256_broadcastss_ps(x);
            sum[0] = _mm256_fmadd_ps(x, c[0], sum[0]);
            sum[1] = _mm256_fmadd_ps(x, c[1], sum[1]);
        }
    }
    sums
}

/// Panels that a lone row goes through at once: enough chains to hide the latency of the multiply-add.
const TOGETHER: usize = 4;

/// The scores of a lone row for `P` panels.
///
/// # Safety
/// All panels must have as many columns as `row` has numbers.
#[target_feature(enable = "avx2,fma")]
#[inline]
unsafe fn lone<const P: usize>(panels: [Panel<'_>; P], row: &[f32], out: &mut [[f32; WIDTH]; P]) {
    let mut sums = [[_mm256_setzero_ps(); 2]; P];
    for (sum, panel) in sums.iter_mut().zip(&panels) {
        let bias = panel.bias.0.as_ptr();
        // SAFETY: a lane holds sixteen numbers and is aligned to 64 bytes.
        *sum = unsafe { [_mm256_load_ps(bias), _mm256_load_ps(bias.wrapping_add(8))] };
    }
    for (j, x) in row.iter().enumerate() {
        let x = _mm256_set1_ps(*x);
        for (sum, panel) in sums.iter_mut().zip(&panels) {
            // SAFETY: each panel has as many columns as the row has numbers, as the caller promises; a lane holds sixteen numbers and is
            // aligned to 64 bytes.
            let c = unsafe {
                let column = panel.columns.get_unchecked(j).0.as_ptr();
                [_mm256_load_ps(column), _mm256_load_ps(column.wrapping_add(8))]
            };
            sum[0] = _mm256_fmadd_ps(x, c[0], sum[0]);
            sum[1] = _mm256_fmadd_ps(x, c[1], sum[1]);
        }
    }
    for (out, sum) in out.iter_mut().zip(sums) {
        store(sum, out);
    }
}

#[target_feature(enable = "avx2,fma")]
#[inline]
fn store(sum: [__m256; 2], out: &mut [f32; WIDTH]) {
    let place = out.as_mut_ptr();
    // SAFETY: there is room for sixteen numbers.
    unsafe {
        _mm256_storeu_ps(place, sum[0]);
        _mm256_storeu_ps(place.wrapping_add(8), sum[1]);
    }
}

/// See [`super::scores`].
#[target_feature(enable = "avx2,fma")]
pub(super) fn scores(panels: &Panels, rows: &[f32], out: &mut [[f32; WIDTH]]) {
    let (d, count) = (panels.dimension(), panels.count());
    assert_eq!(rows.len() / d * count, out.len(), "rows and results disagree");
    let (tiles, outs) = (rows.chunks_exact(ROWS * d), out.chunks_exact_mut(ROWS * count));
    let rest = tiles.remainder();
    let mut left = rows.len() / (ROWS * d) * ROWS * count;
    for (rows, out) in tiles.zip(outs) {
        for (p, panel) in panels.iter().enumerate() {
            // SAFETY: there are so many rows, each of as many numbers as a panel has columns.
            let sums = unsafe { tile::<ROWS>(panel, std::array::from_fn(|r| rows.as_ptr().wrapping_add(r * d))) };
            for (r, sum) in sums.into_iter().enumerate() {
                store(sum, &mut out[r * count + p]);
            }
        }
    }
    for row in rest.chunks_exact(d) {
        let out = &mut out[left..left + count];
        left += count;
        let (whole, rest) = out.as_chunks_mut::<TOGETHER>();
        let first = whole.len() * TOGETHER;
        for (i, out) in whole.iter_mut().enumerate() {
            // SAFETY: the row has as many numbers as the panels have columns.
            unsafe { lone(std::array::from_fn(|p| panels.get(i * TOGETHER + p)), row, out) };
        }
        for (p, out) in (first..).zip(rest) {
            // SAFETY: as above.
            unsafe { lone([panels.get(p)], row, std::array::from_mut(out)) };
        }
    }
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

/// The two best of a panel's scores.
#[target_feature(enable = "avx2,fma")]
#[inline]
pub(super) fn top(scores: [__m256; 2]) -> Top {
    let (mut high, mut low) = (_mm256_max_ps(scores[0], scores[1]), _mm256_min_ps(scores[0], scores[1]));
    macro_rules! with {
        ($permute:expr) => {{
            let (other_high, other_low) = ($permute(high), $permute(low));
            // Of four numbers, the greater in each of two pairs known: the two greatest.
            let between = _mm256_min_ps(high, other_high);
            high = _mm256_max_ps(high, other_high);
            low = _mm256_max_ps(between, _mm256_max_ps(low, other_low));
        }};
    }
    with!(|v| _mm256_permute2f128_ps::<1>(v, v));
    with!(|v| _mm256_permute_ps::<0b01_00_11_10>(v));
    with!(|v| _mm256_permute_ps::<0b10_11_00_01>(v));
    let best = |scores| _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_EQ_OQ>(scores, high)) as u32;
    let lane = (best(scores[0]) | best(scores[1]) << 8).trailing_zeros();
    Top { best: _mm256_cvtss_f32(high), second: _mm256_cvtss_f32(low), lane }
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
                let $scores = unsafe {
                    tile::<$R>(panel, std::array::from_fn(|i| rows.as_ptr().wrapping_add(($r + i).wrapping_mul(d))))
                };
                $body
            }};
        }
        in_sixes!(n, one);
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

/// See [`super::tops`].
#[target_feature(enable = "avx2,fma")]
pub(super) fn tops(panel: Panel<'_>, rows: &[f32], positions: &[u32], tops: &mut [Top]) {
    let d = panel.columns.len();
    let row = |position: u32| rows[position as usize * d..][..d].as_ptr();
    let (tiles, rest) = positions.as_chunks::<ROWS>();
    let (tops, rest_tops) = tops.as_chunks_mut::<ROWS>();
    for (&positions, tops) in tiles.iter().zip(tops) {
        // SAFETY: each pointer is that of a row's slice, which has as many numbers as the panel has columns.
        let scores = unsafe { tile(panel, positions.map(row)) };
        for (place, scores) in tops.iter_mut().zip(scores) {
            *place = top(scores);
        }
    }
    for (&position, place) in rest.iter().zip(rest_tops) {
        // SAFETY: as above.
        let [scores] = unsafe { tile(panel, [row(position)]) };
        *place = top(scores);
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
