//! Scores from bytes: four times as many products per instruction as in `f32`, and less exact by a known amount.
//!
//! A row is bytes `q` and a step, a centroid bytes `p` and a step of its own; their sum of products is exact in integers.
//! Sums are kept in 16 bits for [`SEGMENT`] columns and widened then. On the way they may wrap around, and do; what counts
//! is that at the end of a segment they fit, which [`MOST_ROW`] and [`MOST_CENTROID`] make sure of. See
//! [`crate::kmeans::sieve`] for what the scores are good for.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod portable;
mod rows;
#[cfg(test)]
mod tests;

use super::Level;
use super::panels::{Lane, WIDTH};

pub(crate) use rows::{centre, quantise};

/// Columns in one number of a row.
pub(super) const STEP: usize = 4;
/// Columns after which sums are widened, a multiple of [`STEP`].
pub(crate) const SEGMENT: usize = 128;
/// The greatest magnitude of a row's bytes. They are stored with 128 added, as the instruction wants one side unsigned.
pub(crate) const LIMIT_ROW: f64 = 127.0;
/// The greatest magnitude of a centroid's bytes: two products of 255 and 64 fit 16 bits.
pub(crate) const LIMIT_CENTROID: f64 = 64.0;
/// The greatest length of a row's bytes in the half of a segment that goes to one sum: see [`half`].
pub(crate) const MOST_ROW: f64 = 255.0;
/// The greatest length of a centroid's bytes there. The product of both lengths, and so the sum, is less than 2^15.
pub(crate) const MOST_CENTROID: f64 = 128.0;
/// Numbers in a cache line.
const GAP: usize = 32;
/// What is added to the bytes of rows.
const OFFSET: i16 = 128;

/// Which of the two sums of 16 bits a column goes to.
pub(crate) fn half(column: usize) -> usize {
    column % STEP / 2
}

/// Where the centroids of a panel are in its lanes: what becomes of them is narrowed by an instruction that interleaves.
const ORDER: [usize; WIDTH] = [0, 1, 2, 3, 8, 9, 10, 11, 4, 5, 6, 7, 12, 13, 14, 15];

/// Four columns of eight centroids.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(32))]
struct Bytes([i8; 8 * STEP]);

/// Two sums of eight centroids.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(32))]
struct Words([i16; WIDTH]);

/// A centroid in bytes.
#[derive(Clone, Debug)]
pub(crate) struct ByteCentroid {
    /// One for each column.
    pub(crate) bytes: Vec<i8>,
    /// What the sum of products is multiplied by.
    pub(crate) scale: f32,
    /// What is multiplied by the row's `bias` and added.
    pub(crate) bias: f32,
    /// What is multiplied by the row's `error` and added.
    pub(crate) error: f32,
}

/// Factors of a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Factors {
    pub(crate) bias: f32,
    pub(crate) error: f32,
}

impl Factors {
    /// Those of a row whose scores do not matter.
    pub(crate) const NONE: Self = Self { bias: 0.0, error: 0.0 };
}

/// Centroids in bytes, sixteen to a panel.
#[derive(Clone, Debug)]
pub(crate) struct BytePanels {
    dimension: usize,
    /// Panel after panel, four columns after another. Padding is zero.
    values: Vec<[Bytes; 2]>,
    /// Where sums begin, for each panel and segment: what takes the rows' offset back.
    starts: Vec<[Words; 2]>,
    /// One lane per panel.
    scales: Vec<Lane>,
    /// Minus infinity for padding, so that it has the lowest score.
    biases: Vec<Lane>,
    errors: Vec<Lane>,
}

/// One panel.
#[derive(Clone, Copy)]
struct BytePanel<'a> {
    values: &'a [[Bytes; 2]],
    starts: &'a [[Words; 2]],
    scale: &'a Lane,
    bias: &'a Lane,
    error: &'a Lane,
}

impl BytePanels {
    /// Packs centroids of `dimension` columns.
    pub(crate) fn new(dimension: usize, centroids: &[ByteCentroid]) -> Self {
        let count = centroids.len().div_ceil(WIDTH);
        let (steps, segments) = (dimension.div_ceil(STEP), dimension.div_ceil(SEGMENT));
        let mut panels = Self {
            dimension,
            values: vec![[Bytes([0; 8 * STEP]); 2]; count * steps],
            starts: vec![[Words([0; WIDTH]); 2]; count * segments],
            scales: vec![Lane([0.0; WIDTH]); count],
            biases: vec![Lane([f32::NEG_INFINITY; WIDTH]); count],
            errors: vec![Lane([0.0; WIDTH]); count],
        };
        for (i, centroid) in centroids.iter().enumerate() {
            let panel = i / WIDTH;
            // The order is its own inverse.
            let lane = ORDER[i % WIDTH];
            panels.scales[panel].0[lane] = centroid.scale;
            panels.biases[panel].0[lane] = centroid.bias;
            panels.errors[panel].0[lane] = centroid.error;
            for (j, &byte) in centroid.bytes.iter().enumerate() {
                let step = &mut panels.values[panel * steps + j / STEP][lane / 8];
                step.0[lane % 8 * STEP + j % STEP] = byte;
                let start = &mut panels.starts[panel * segments + j / SEGMENT][lane / 8];
                let sum = &mut start.0[lane % 8 * 2 + half(j)];
                *sum = sum.wrapping_sub(OFFSET.wrapping_mul(i16::from(byte)));
            }
        }
        panels
    }

    /// Bytes of a row, with padding.
    pub(crate) fn row_stride(&self) -> usize {
        self.dimension.next_multiple_of(STEP)
    }

    /// Scores of a row, with padding to whole panels.
    pub(crate) fn scores(&self) -> usize {
        self.scales.len() * WIDTH
    }

    /// From one row's scores to the next one's: apart so that those of several rows for a panel share a cache.
    pub(crate) fn score_stride(&self) -> usize {
        self.scores().next_multiple_of(GAP) + GAP
    }

    fn iter(&self) -> impl Iterator<Item = BytePanel<'_>> {
        let (steps, segments) = (self.dimension.div_ceil(STEP), self.dimension.div_ceil(SEGMENT));
        (0..self.scales.len()).map(move |p| BytePanel {
            values: &self.values[p * steps..][..steps],
            starts: &self.starts[p * segments..][..segments],
            scale: &self.scales[p],
            bias: &self.biases[p],
            error: &self.errors[p],
        })
    }
}

/// The score of each row for each centroid, as 16-bit integers: `sum * scale + factors.bias * bias + factors.error * error`,
/// rounded, and the nearest that there is where it is out of range.
///
/// No score before the last rounding may exceed 2^15 - 1.
pub(crate) fn byte_scores(panels: &BytePanels, rows: &[u8], factors: &[Factors], scores: &mut [i16]) {
    byte_scores_at(Level::best(), panels, rows, factors, scores);
}

/// [`byte_scores`] with chosen instructions.
///
/// # Panics
/// If the machine lacks them, or the shapes do not agree.
pub(crate) fn byte_scores_at(level: Level, panels: &BytePanels, rows: &[u8], factors: &[Factors], scores: &mut [i16]) {
    assert_eq!(rows.len(), factors.len() * panels.row_stride(), "rows and factors disagree");
    assert_eq!(scores.len(), factors.len() * panels.score_stride(), "scores and factors disagree");
    assert!(level.is_available(), "the machine lacks {level:?}");
    match level {
        Level::Portable => portable::scores(panels, rows, factors, scores),
        // SAFETY: the machine has these instructions, as was asserted.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => unsafe { avx2::scores(panels, rows, factors, scores) },
        // SAFETY: the machine has these instructions, as was asserted. Those of AVX2 come with those of AVX-512.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => unsafe { avx2::scores(panels, rows, factors, scores) },
        #[cfg(target_arch = "aarch64")]
        Level::Neon => portable::scores(panels, rows, factors, scores),
    }
}

/// The two greatest of some scores, a multiple of sixteen.
pub(crate) fn greatest(scores: &[i16]) -> [i16; 2] {
    greatest_at(Level::best(), scores)
}

/// [`greatest`] with chosen instructions.
///
/// # Panics
/// If the machine lacks them, or it is another number of scores.
pub(crate) fn greatest_at(level: Level, scores: &[i16]) -> [i16; 2] {
    assert!(scores.len().is_multiple_of(WIDTH), "no whole panels");
    assert!(level.is_available(), "the machine lacks {level:?}");
    match level {
        Level::Portable => portable::greatest(scores),
        // SAFETY: the machine has these instructions, as was asserted.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => unsafe { avx2::greatest(scores) },
        // SAFETY: the machine has these instructions, as was asserted. Those of AVX2 come with those of AVX-512.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => unsafe { avx2::greatest(scores) },
        #[cfg(target_arch = "aarch64")]
        Level::Neon => portable::greatest(scores),
    }
}

/// Adds the places of the scores of at least `least`, ascending; `scores` holds a multiple of sixteen.
pub(crate) fn reaching(scores: &[i16], least: i16, found: &mut Vec<u32>) {
    reaching_at(Level::best(), scores, least, found);
}

/// [`reaching`] with chosen instructions.
///
/// # Panics
/// If the machine lacks them, or it is another number of scores.
pub(crate) fn reaching_at(level: Level, scores: &[i16], least: i16, found: &mut Vec<u32>) {
    assert!(scores.len().is_multiple_of(WIDTH), "no whole panels");
    assert!(level.is_available(), "the machine lacks {level:?}");
    match level {
        Level::Portable => portable::reaching(scores, least, found),
        // SAFETY: the machine has these instructions, as was asserted.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => unsafe { avx2::reaching(scores, least, found) },
        // SAFETY: the machine has these instructions, as was asserted. Those of AVX2 come with those of AVX-512.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => unsafe { avx2::reaching(scores, least, found) },
        #[cfg(target_arch = "aarch64")]
        Level::Neon => portable::reaching(scores, least, found),
    }
}

/// Whether this machine takes bytes several times faster than `f32`.
pub(crate) fn bytes_are_fast() -> bool {
    match Level::best() {
        Level::Portable => false,
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 | Level::Avx512 => true,
        // Eight products in an instruction, where `f32` has four, do not make up for a second look.
        #[cfg(target_arch = "aarch64")]
        Level::Neon => false,
    }
}
