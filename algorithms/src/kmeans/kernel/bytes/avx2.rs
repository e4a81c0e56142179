//! Scores from bytes with 256-bit vectors.
//!
//! A tile is 6 rows x 16 centroids: 12 sums, 2 registers for four columns of the panel, 1 for a row's four bytes and 1 for
//! products fill the 16 vector registers. An instruction multiplies 32 bytes and adds neighbours; another adds those to a
//! sum, on a port that would be idle otherwise.

use std::arch::x86_64::*;

use super::super::panels::{Lane, WIDTH};
use super::{BytePanel, BytePanels, Bytes, Factors, SEGMENT, STEP, Words};

/// The sums of products of `R` rows and a segment of a panel, from column `column` on.
///
/// # Safety
/// `rows` must point to rows of as many bytes as there are columns up to the end of the segment.
#[target_feature(enable = "avx2,fma")]
#[inline]
unsafe fn segment<const R: usize>(
    steps: &[[Bytes; 2]],
    start: &[Words; 2],
    rows: [*const u8; R],
    column: usize,
) -> [[__m256i; 2]; R] {
    // SAFETY: these are thirty-two bytes each, and aligned.
    let start = [0, 1].map(|i| unsafe { _mm256_load_si256(start[i].0.as_ptr().cast()) });
    let mut sums = [start; R];
    for (step, bytes) in steps.iter().enumerate() {
        // SAFETY: as above.
        let c = [0, 1].map(|i| unsafe { _mm256_load_si256(bytes[i].0.as_ptr().cast()) });
        for (sum, row) in sums.iter_mut().zip(rows) {
            // SAFETY: there is a step for each four bytes of the row.
            let x = unsafe { row.wrapping_add(column + STEP * step).cast::<i32>().read_unaligned() };
            let x = _mm256_set1_epi32(x);
            sum[0] = _mm256_add_epi16(sum[0], _mm256_maddubs_epi16(x, c[0]));
            sum[1] = _mm256_add_epi16(sum[1], _mm256_maddubs_epi16(x, c[1]));
        }
    }
    let ones = _mm256_set1_epi16(1);
    for sum in &mut sums {
        *sum = [_mm256_madd_epi16(sum[0], ones), _mm256_madd_epi16(sum[1], ones)];
    }
    sums
}

/// The sums of products of `R` rows and one panel.
///
/// # Safety
/// `rows` must point to rows of as many bytes as the panel has columns, with padding.
#[target_feature(enable = "avx2,fma")]
#[inline]
unsafe fn tile<const R: usize>(panel: BytePanel<'_>, rows: [*const u8; R]) -> [[__m256i; 2]; R] {
    let mut totals = [[_mm256_setzero_si256(); 2]; R];
    let segments = panel.values.chunks(SEGMENT / STEP).zip(panel.starts);
    for (number, (steps, start)) in segments.enumerate() {
        // SAFETY: the panel has as many columns as the rows, and this segment is one of its.
        let sums = unsafe { segment(steps, start, rows, number * SEGMENT) };
        if number == 0 {
            totals = sums;
        } else {
            for (total, sum) in totals.iter_mut().zip(sums) {
                *total = [_mm256_add_epi32(total[0], sum[0]), _mm256_add_epi32(total[1], sum[1])];
            }
        }
    }
    totals
}

/// The scores that sums give, in the order of the centroids.
#[target_feature(enable = "avx2,fma")]
#[inline]
fn finish(panel: BytePanel<'_>, factors: Factors, totals: [__m256i; 2]) -> __m256i {
    let (bias, error) = (_mm256_set1_ps(factors.bias), _mm256_set1_ps(factors.error));
    // SAFETY: a lane holds sixteen numbers and is aligned to 64 bytes.
    let load = |lane: &Lane, i: usize| unsafe { _mm256_load_ps(lane.0.as_ptr().add(8 * i)) };
    let [low, high] = [0, 1].map(|i| {
        let offset = _mm256_fmadd_ps(bias, load(panel.bias, i), _mm256_mul_ps(error, load(panel.error, i)));
        let score = _mm256_fmadd_ps(_mm256_cvtepi32_ps(totals[i]), load(panel.scale, i), offset);
        // What is far too low becomes the lowest there is.
        _mm256_cvtps_epi32(score)
    });
    _mm256_packs_epi32(low, high)
}

/// See [`super::byte_scores`].
#[target_feature(enable = "avx2,fma")]
pub(super) fn scores(panels: &BytePanels, rows: &[u8], factors: &[Factors], scores: &mut [i16]) {
    let (row_stride, score_stride) = (panels.row_stride(), panels.score_stride());
    let n = factors.len();
    assert!(rows.len() == n * row_stride && scores.len() == n * score_stride);
    for (p, panel) in panels.iter().enumerate() {
        macro_rules! one {
            ($R:literal, $first:expr) => {{
                let first: usize = $first;
                // SAFETY: the tile ends at or before row `n`, and `rows` holds `n` rows.
                let totals = unsafe {
                    tile::<$R>(panel, std::array::from_fn(|i| rows.as_ptr().wrapping_add((first + i) * row_stride)))
                };
                for (row, totals) in (first..).zip(totals) {
                    let place = &mut scores[row * score_stride + p * WIDTH..][..WIDTH];
                    let done = finish(panel, factors[row], totals);
                    // SAFETY: there is room for sixteen numbers.
                    unsafe { _mm256_storeu_si256(place.as_mut_ptr().cast(), done) };
                }
            }};
        }
        in_sixes!(n, one);
    }
}

/// Panels of scores that are looked at together, as few of them hold one that is looked for.
const TOGETHER: usize = 4;

/// See [`super::reaching`].
#[target_feature(enable = "avx2")]
pub(super) fn reaching(scores: &[i16], least: i16, found: &mut Vec<u32>) {
    let bar = _mm256_set1_epi16(least);
    // SAFETY: these are sixteen numbers.
    let load = |scores: &[i16; WIDTH]| unsafe { _mm256_loadu_si256(scores.as_ptr().cast()) };
    // Two bits for each score.
    let reached = |scores| !(_mm256_movemask_epi8(_mm256_cmpgt_epi16(bar, scores)) as u32);
    let (blocks, rest) = scores.as_chunks::<WIDTH>().0.as_chunks::<TOGETHER>();
    let mut first = 0;
    for blocks in blocks.chunks(u64::BITS as usize) {
        // First where, then what, as a branch for each block would be hard to guess.
        let mut places = 0u64;
        for (place, [a, b, c, d]) in blocks.iter().enumerate() {
            let low = _mm256_max_epi16(load(a), load(b));
            let highest = _mm256_max_epi16(low, _mm256_max_epi16(load(c), load(d)));
            places |= u64::from(reached(highest) != 0) << place;
        }
        while places != 0 {
            let block = places.trailing_zeros();
            places &= places - 1;
            let [low, high] = [0, 2].map(|panel| {
                let [a, b] = [0, 1].map(|i| _mm256_cmpgt_epi16(bar, load(&blocks[block as usize][panel + i])));
                let below = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packs_epi16(a, b));
                u64::from(!(_mm256_movemask_epi8(below) as u32))
            });
            let mut lanes = low | high << 32;
            while lanes != 0 {
                found.push(first + block * (TOGETHER * WIDTH) as u32 + lanes.trailing_zeros());
                lanes &= lanes - 1;
            }
        }
        first += (blocks.len() * TOGETHER * WIDTH) as u32;
    }
    for scores in rest {
        let mut lanes = reached(load(scores)) & 0x5555_5555;
        while lanes != 0 {
            found.push(first + lanes.trailing_zeros() / 2);
            lanes &= lanes - 1;
        }
        first += WIDTH as u32;
    }
}

/// See [`super::greatest`].
#[target_feature(enable = "avx2")]
pub(super) fn greatest(scores: &[i16]) -> [i16; 2] {
    let (mut high, mut low) = (_mm256_set1_epi16(i16::MIN), _mm256_set1_epi16(i16::MIN));
    for scores in scores.as_chunks::<WIDTH>().0 {
        // SAFETY: these are sixteen numbers.
        let scores = unsafe { _mm256_loadu_si256(scores.as_ptr().cast()) };
        low = _mm256_max_epi16(low, _mm256_min_epi16(high, scores));
        high = _mm256_max_epi16(high, scores);
    }
    macro_rules! with {
        ($permute:expr) => {{
            let (other_high, other_low) = ($permute(high), $permute(low));
            // Of four numbers, the greater in each of two pairs known: the two greatest.
            let between = _mm256_min_epi16(high, other_high);
            high = _mm256_max_epi16(high, other_high);
            low = _mm256_max_epi16(between, _mm256_max_epi16(low, other_low));
        }};
    }
    with!(|v| _mm256_permute2x128_si256::<1>(v, v));
    with!(|v| _mm256_shuffle_epi32::<0b01_00_11_10>(v));
    with!(|v| _mm256_shuffle_epi32::<0b10_11_00_01>(v));
    with!(|v| _mm256_or_si256(_mm256_slli_epi32::<16>(v), _mm256_srli_epi32::<16>(v)));
    [_mm256_extract_epi16::<0>(high) as i16, _mm256_extract_epi16::<0>(low) as i16]
}
