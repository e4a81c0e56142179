//! The assignment step with 256-bit vectors.
//!
//! A tile is 6 rows x 16 centroids: 12 accumulators, 2 registers for a column of the panel and 1 for a row's value fill 15
//! of the 16 vector registers, and 12 independent chains hide the latency of the multiply-add. What is done with tiles is in [`super::tiles`].

use std::arch::x86_64::*;

use super::panels::{Ahead, Lane, Panel, Panels, WIDTH};
use super::tiles::{CHUNK, ROWS, TOGETHER};
use super::{Top, Two};

in_tiles!("avx2,fma");

/// The scores of a panel: of centroids 0..8 and 8..16.
type Scores = [__m256; 2];

#[target_feature(enable = "avx2,fma")]
#[inline]
fn load(lane: &Lane) -> Scores {
    let place = lane.0.as_ptr();
    // SAFETY: a lane holds sixteen numbers and is aligned to 64 bytes.
    unsafe { [_mm256_load_ps(place), _mm256_load_ps(place.wrapping_add(8))] }
}

#[target_feature(enable = "avx2,fma")]
#[inline]
fn multiply_add(x: __m256, column: Scores, sums: Scores) -> Scores {
    [_mm256_fmadd_ps(x, column[0], sums[0]), _mm256_fmadd_ps(x, column[1], sums[1])]
}

/// The number at a place, in each lane of a vector.
///
/// # Safety
/// There must be a number.
#[target_feature(enable = "avx2,fma")]
#[inline]
unsafe fn number(place: *const f32) -> __m256 {
    // SAFETY: as the caller promises.
    let number = unsafe { _mm_load_ss(place) };
    _mm256_broadcastss_ps(number)
}

#[target_feature(enable = "avx2,fma")]
#[inline]
fn store(sums: Scores, out: &mut [f32; WIDTH]) {
    let place = out.as_mut_ptr();
    // SAFETY: there is room for sixteen numbers.
    unsafe {
        _mm256_storeu_ps(place, sums[0]);
        _mm256_storeu_ps(place.wrapping_add(8), sums[1]);
    }
}

/// Whether any of the scores is above `bar`.
#[target_feature(enable = "avx2,fma")]
#[inline]
fn above(scores: Scores, bar: f32) -> bool {
    let highest = _mm256_max_ps(scores[0], scores[1]);
    _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_GT_OQ>(highest, _mm256_set1_ps(bar))) != 0
}

/// The indices of a panel's centroids, of which `first` is the first.
#[target_feature(enable = "avx2,fma")]
#[inline]
fn indices(first: usize) -> [__m256i; 2] {
    let low = _mm256_add_epi32(_mm256_set1_epi32(first as i32), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    [low, _mm256_add_epi32(low, _mm256_set1_epi32(8))]
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
    fn take(&mut self, scores: Scores, labels: [__m256i; 2]) {
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
pub(super) fn top(scores: Scores) -> Top {
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
