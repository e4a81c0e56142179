//! The assignment step with the 128-bit vectors that every AArch64 machine has.
//!
//! A tile is 6 rows x 16 centroids: 24 accumulators, 4 registers for a column of the panel and 1 for a row's value, of 32; 24 independent
//! chains hide the latency of the multiply-add on four units. What is done with tiles is in [`super::tiles`].
//!
//! Maxima are compared and selected rather than left to `fmax`: the lower index then wins between zeros of both signs too, as without
//! vectors, and Miri, which does not know `fmax`, can run all of this.

use std::arch::aarch64::*;
use std::mem::transmute;

use super::panels::{Ahead, Lane, Panel, Panels, WIDTH};
use super::tiles::{CHUNK, ROWS, TOGETHER};
use super::{Top, Two};

in_tiles!("neon");

/// The scores of a panel, four centroids in each vector.
type Scores = [float32x4_t; 4];

#[target_feature(enable = "neon")]
#[inline]
fn load(lane: &Lane) -> Scores {
    // SAFETY: sixteen numbers are four vectors of four.
    unsafe { transmute::<Lane, Scores>(*lane) }
}

#[target_feature(enable = "neon")]
#[inline]
fn multiply_add(x: float32x4_t, column: Scores, sums: Scores) -> Scores {
    let vector = |i: usize| vfmaq_laneq_f32::<0>(sums[i], column[i], x);
    [vector(0), vector(1), vector(2), vector(3)]
}

/// The number at a place, in a vector.
///
/// # Safety
/// There must be a number.
#[target_feature(enable = "neon")]
#[inline]
unsafe fn number(place: *const f32) -> float32x4_t {
    // SAFETY: as the caller promises.
    unsafe { vld1q_dup_f32(place) }
}

#[target_feature(enable = "neon")]
#[inline]
fn store(sums: Scores, out: &mut [f32; WIDTH]) {
    // SAFETY: four vectors of four are sixteen numbers.
    *out = unsafe { transmute::<Scores, [f32; WIDTH]>(sums) };
}

/// Whether any of the scores is above `bar`.
#[target_feature(enable = "neon")]
#[inline]
fn above(scores: Scores, bar: f32) -> bool {
    let vector = |i: usize| vcgtq_f32(scores[i], vdupq_n_f32(bar));
    vmaxvq_u32(vorrq_u32(vorrq_u32(vector(0), vector(1)), vorrq_u32(vector(2), vector(3)))) != 0
}

/// The indices of a panel's centroids, of which `first` is the first.
#[target_feature(enable = "neon")]
#[inline]
fn indices(first: usize) -> [uint32x4_t; 4] {
    let indices: [u32; WIDTH] = std::array::from_fn(|lane| (first + lane) as u32);
    // SAFETY: sixteen numbers are four vectors of four.
    unsafe { transmute::<[u32; WIDTH], [uint32x4_t; 4]>(indices) }
}

/// The greater of two numbers in each lane and the other one; the first of them is the greater where they are equal.
#[target_feature(enable = "neon")]
#[inline]
fn sorted(a: float32x4_t, b: float32x4_t) -> [float32x4_t; 2] {
    let later = vcgtq_f32(b, a);
    [vbslq_f32(later, b, a), vbslq_f32(later, a, b)]
}

/// The greater of two numbers in each lane, the first where they are equal.
#[target_feature(enable = "neon")]
#[inline]
fn greater(a: float32x4_t, b: float32x4_t) -> float32x4_t {
    vbslq_f32(vcgtq_f32(b, a), b, a)
}

/// The best score of each of four lanes so far, and whose it is.
#[derive(Clone, Copy)]
struct Best {
    score: float32x4_t,
    label: uint32x4_t,
}

impl Best {
    #[target_feature(enable = "neon")]
    #[inline]
    fn none() -> Self {
        Self { score: vdupq_n_f32(f32::NEG_INFINITY), label: vdupq_n_u32(0) }
    }

    /// The better of two in each lane. A later centroid must be strictly better, so the lowest index wins ties.
    #[target_feature(enable = "neon")]
    #[inline]
    fn or(self, later: Self) -> Self {
        let better = vcgtq_f32(later.score, self.score);
        Self { score: vbslq_f32(better, later.score, self.score), label: vbslq_u32(better, later.label, self.label) }
    }

    /// Looks at the scores of a panel.
    #[target_feature(enable = "neon")]
    #[inline]
    fn take(&mut self, scores: Scores, labels: [uint32x4_t; 4]) {
        let vector = |i: usize| Self { score: scores[i], label: labels[i] };
        *self = self.or(vector(0).or(vector(1)).or(vector(2).or(vector(3))));
    }

    /// The label of the best lane, the lowest where lanes are equal.
    #[target_feature(enable = "neon")]
    #[inline]
    fn label(self) -> u32 {
        let highest = greater(self.score, vextq_f32::<2>(self.score, self.score));
        let highest = greater(highest, vextq_f32::<1>(highest, highest));
        vminvq_u32(vornq_u32(self.label, vceqq_f32(self.score, highest)))
    }
}

/// The two best of a panel's scores.
#[target_feature(enable = "neon")]
#[inline]
fn top(scores: Scores) -> Top {
    let [a, b, c, d] = scores;
    let merge = |[high, low]: [float32x4_t; 2], [other_high, other_low]: [float32x4_t; 2]| {
        // Of four numbers, the greater in each of two pairs known: the two greatest.
        let [high, between] = sorted(high, other_high);
        [high, greater(between, greater(low, other_low))]
    };
    let [high, low] = merge(sorted(a, b), sorted(c, d));
    let [high, low] = merge([high, low], [vextq_f32::<2>(high, high), vextq_f32::<2>(low, low)]);
    let [high, low] = merge([high, low], [vextq_f32::<1>(high, high), vextq_f32::<1>(low, low)]);
    let mut lane = vdupq_n_u32(u32::MAX);
    for (scores, lanes) in scores.into_iter().zip(indices(0)) {
        lane = vminq_u32(lane, vornq_u32(lanes, vceqq_f32(scores, high)));
    }
    Top { best: vgetq_lane_f32::<0>(high), second: vgetq_lane_f32::<0>(low), lane: vminvq_u32(lane) }
}
