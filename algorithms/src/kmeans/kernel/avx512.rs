//! The assignment step with 512-bit vectors.
//!
//! A tile is 12 rows x 2 panels: 24 accumulators, 2 registers for a column of each panel and 1 for a row's value, of 32. A
//! last panel without a partner makes tiles of 12 rows x 1 panel.

use std::arch::x86_64::*;

use super::panels::{Ahead, Panel, Panels, WIDTH};
use super::{Top, avx2};

/// Rows per tile.
pub(super) const ROWS: usize = 12;
/// Most rows per chunk.
pub(super) const CHUNK: usize = 240;

/// The scores of `R` rows for `P` panels.
///
/// # Safety
/// All panels must have as many columns, and `rows` must point to `R` rows of as many numbers.
#[target_feature(enable = "avx512f")]
#[inline]
unsafe fn tile<const R: usize, const P: usize>(panels: [Panel<'_>; P], rows: *const f32) -> [[__m512; P]; R] {
    let d = panels[0].columns.len();
    let mut start = [_mm512_setzero_ps(); P];
    for (start, panel) in start.iter_mut().zip(&panels) {
        // SAFETY: a lane holds sixteen numbers and is aligned to 64 bytes.
        *start = unsafe { _mm512_load_ps(panel.bias.0.as_ptr()) };
    }
    let mut sums = [start; R];
    let mut columns = panels.map(|panel| panel.columns.as_ptr());
    let mut x = rows;
    for _ in 0..d {
        let mut c = [_mm512_setzero_ps(); P];
        for (c, column) in c.iter_mut().zip(&mut columns) {
            // SAFETY: each panel has `d` columns, and this is one of them: sixteen numbers, aligned to 64 bytes.
            *c = unsafe { _mm512_load_ps(column.cast()) };
            *column = column.wrapping_add(1);
        }
        for (r, sum) in sums.iter_mut().enumerate() {
            // SAFETY: `x` is at most `d - 1` numbers into the first row, so this is within the rows the caller promises.
            let x = unsafe { _mm_load_ss(x.wrapping_add(r.wrapping_mul(d))) };
            let x = _mm512_broadcastss_ps(x);
            for p in 0..P {
                sum[p] = _mm512_fmadd_ps(x, c[p], sum[p]);
            }
        }
        x = x.wrapping_add(1);
    }
    sums
}

/// See [`super::scores`].
#[target_feature(enable = "avx512f")]
pub(super) fn scores(panels: &Panels, rows: &[f32], out: &mut [[f32; WIDTH]]) {
    let (d, count) = (panels.dimension(), panels.count());
    assert_eq!(rows.len() / d * count, out.len(), "rows and results disagree");
    for (rows, out) in rows.chunks(ROWS * d).zip(out.chunks_mut(ROWS * count)) {
        if rows.len() == ROWS * d {
            let mut first = 0;
            while first + 1 < count {
                // SAFETY: there are so many rows, each of as many numbers as the panels have columns.
                let sums = unsafe { tile::<ROWS, 2>([panels.get(first), panels.get(first + 1)], rows.as_ptr()) };
                store(sums, count, &mut out[first..]);
                first += 2;
            }
            if first < count {
                // SAFETY: as above.
                let sums = unsafe { tile::<ROWS, 1>([panels.get(first)], rows.as_ptr()) };
                store(sums, count, &mut out[first..]);
            }
            continue;
        }
        for (row, out) in rows.chunks_exact(d).zip(out.chunks_exact_mut(count)) {
            // Eight panels at once are enough chains to hide the latency of the multiply-add.
            let mut first = 0;
            macro_rules! together {
                ($P:literal) => {
                    while count - first >= $P {
                        let panels = std::array::from_fn(|p| panels.get(first + p));
                        // SAFETY: the row has as many numbers as the panels have columns.
                        let sums = unsafe { tile::<1, $P>(panels, row.as_ptr()) };
                        store(sums, count, &mut out[first..]);
                        first += $P;
                    }
                };
            }
            together!(8);
            together!(4);
            together!(2);
            together!(1);
        }
    }
}

/// Writes the scores of some rows, whose places are `stride` apart.
#[target_feature(enable = "avx512f")]
#[inline]
fn store<const R: usize, const P: usize>(sums: [[__m512; P]; R], stride: usize, out: &mut [[f32; WIDTH]]) {
    for (r, sums) in sums.into_iter().enumerate() {
        for (out, sum) in out[r * stride..][..P].iter_mut().zip(sums) {
            // SAFETY: there is room for sixteen numbers.
            unsafe { _mm512_storeu_ps(out.as_mut_ptr(), sum) };
        }
    }
}

/// The lanes in which `a` is greater than `b`.
#[target_feature(enable = "avx512f")]
#[inline]
fn greater(a: __m512, b: __m512) -> __mmask16 {
    if cfg!(miri) {
        // Miri knows everything else in this file, but not this comparison.
        let (mut low, mut high) = ([0.0f32; 16], [0.0f32; 16]);
        // SAFETY: there is room for sixteen numbers.
        unsafe {
            _mm512_storeu_ps(high.as_mut_ptr(), a);
            _mm512_storeu_ps(low.as_mut_ptr(), b);
        }
        return (0..16).fold(0, |mask, lane| mask | u16::from(high[lane] > low[lane]) << lane);
    }
    _mm512_cmp_ps_mask::<_CMP_GT_OQ>(a, b)
}

/// The best score of each of sixteen lanes so far, and whose it is.
#[derive(Clone, Copy)]
struct Best {
    score: __m512,
    label: __m512i,
}

impl Best {
    #[target_feature(enable = "avx512f")]
    #[inline]
    fn none() -> Self {
        Self { score: _mm512_set1_ps(f32::NEG_INFINITY), label: _mm512_setzero_si512() }
    }

    /// Looks at the scores of a panel. A later centroid must be strictly better, so the lowest index wins ties.
    #[target_feature(enable = "avx512f")]
    #[inline]
    fn take(&mut self, score: __m512, label: __m512i) {
        let better = greater(score, self.score);
        self.score = _mm512_mask_mov_ps(self.score, better, score);
        self.label = _mm512_mask_mov_epi32(self.label, better, label);
    }

    /// The label of the best lane, the lowest where lanes are equal.
    #[target_feature(enable = "avx512f")]
    #[inline]
    fn label(self) -> u32 {
        let highest = _mm512_set1_ps(_mm512_reduce_max_ps(self.score));
        let equal = !greater(highest, self.score);
        _mm512_mask_reduce_min_epu32(equal, self.label)
    }
}

/// Takes a chunk of rows through `P` panels.
#[target_feature(enable = "avx512f")]
#[inline]
fn pass<const P: usize>(panels: [Panel<'_>; P], rows: &[f32], ahead: &mut Ahead, best: &mut [Best]) {
    let d = panels[0].columns.len();
    assert!(panels.iter().all(|panel| panel.columns.len() == d) && rows.len() == best.len() * d);
    let lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    let mut labels = [lanes; P];
    for (labels, panel) in labels.iter_mut().zip(&panels) {
        *labels = _mm512_add_epi32(lanes, _mm512_set1_epi32(panel.first as i32));
    }
    let mut place = rows.as_ptr();
    macro_rules! tiles {
        ($R:expr, $best:expr) => {{
            let mut tiles = $best.chunks_exact_mut($R);
            for best in &mut tiles {
                ahead.fetch();
                // SAFETY: there is a row left for each of the bests left.
                let scores = unsafe { tile::<{ $R }, P>(panels, place) };
                for (best, scores) in best.iter_mut().zip(scores) {
                    for p in 0..P {
                        best.take(scores[p], labels[p]);
                    }
                }
                place = place.wrapping_add(d.wrapping_mul($R));
            }
            tiles.into_remainder()
        }};
    }
    let rest = tiles!(ROWS, best);
    let rest = tiles!(4, rest);
    let rest = tiles!(1, rest);
    debug_assert!(rest.is_empty());
}

/// See [`super::assign`].
#[target_feature(enable = "avx512f")]
pub(super) fn assign(panels: &Panels, rows: &[f32], labels: &mut [u32]) {
    let d = panels.dimension();
    let most = panels.chunk(ROWS, CHUNK);
    let mut best = [Best::none(); CHUNK];
    for (rows, labels) in rows.chunks(most * d).zip(labels.chunks_mut(most)) {
        let best = &mut best[..labels.len()];
        best.fill(Best::none());
        let mut ahead = Ahead::new(panels, rows, ROWS, 2);
        let mut panels = panels.iter();
        while let Some(first) = panels.next() {
            match panels.next() {
                Some(second) => pass([first, second], rows, &mut ahead, best),
                None => pass([first], rows, &mut ahead, best),
            }
        }
        for (label, best) in labels.iter_mut().zip(best) {
            *label = best.label();
        }
    }
}

/// Rows per tile of [`tops`], as many as there are registers for their places.
const SCATTERED: usize = 12;

/// The scores of `R` rows, wherever they are, for one panel.
///
/// # Safety
/// `rows` must point to rows of as many numbers as the panel has columns.
#[target_feature(enable = "avx512f")]
#[inline]
unsafe fn scattered<const R: usize>(panel: Panel<'_>, rows: [*const f32; R]) -> [__m512; R] {
    // SAFETY: a lane holds sixteen numbers and is aligned to 64 bytes.
    let mut sums = [unsafe { _mm512_load_ps(panel.bias.0.as_ptr()) }; R];
    for (j, column) in panel.columns.iter().enumerate() {
        // SAFETY: as above.
        let c = unsafe { _mm512_load_ps(column.0.as_ptr()) };
        for (sum, row) in sums.iter_mut().zip(rows) {
            // SAFETY: `j` is less than the number of columns, so this is within the row the caller promises.
            let x = unsafe { _mm_load_ss(row.wrapping_add(j)) };
            *sum = _mm512_fmadd_ps(_mm512_broadcastss_ps(x), c, *sum);
        }
    }
    sums
}

/// The two best of a panel's scores.
#[target_feature(enable = "avx512f,avx2,fma")]
#[inline]
fn top(scores: __m512) -> Top {
    let upper = _mm256_castpd_ps(_mm512_extractf64x4_pd::<1>(_mm512_castps_pd(scores)));
    avx2::top([_mm512_castps512_ps256(scores), upper])
}

/// See [`super::tops`].
#[target_feature(enable = "avx512f,avx2,fma")]
pub(super) fn tops(panel: Panel<'_>, rows: &[f32], positions: &[u32], tops: &mut [Top]) {
    let d = panel.columns.len();
    let row = |position: u32| rows[position as usize * d..][..d].as_ptr();
    let (tiles, rest) = positions.as_chunks::<SCATTERED>();
    let (tops, rest_tops) = tops.as_chunks_mut::<SCATTERED>();
    for (&positions, tops) in tiles.iter().zip(tops) {
        // SAFETY: each pointer is that of a row's slice, which has as many numbers as the panel has columns.
        let scores = unsafe { scattered(panel, positions.map(row)) };
        for (place, scores) in tops.iter_mut().zip(scores) {
            *place = top(scores);
        }
    }
    for (&position, place) in rest.iter().zip(rest_tops) {
        // SAFETY: as above.
        let [scores] = unsafe { scattered(panel, [row(position)]) };
        *place = top(scores);
    }
}
