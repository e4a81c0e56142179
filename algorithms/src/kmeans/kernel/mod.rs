//! The inner loops, for whatever vector unit the machine has.
//!
//! The assignment step does two floating-point operations for each row, centroid and column: nearly all the time of
//! k-means. A matrix of all distances would be larger than the data, and reading it back slower than computing it, so
//! tiles of rows x centroids stay in registers while the columns are summed, and only the best score so far of each row
//! is remembered.
//!
//! Every path gives the same bits. The score of a row for a centroid is ONE chain of fused multiply-adds over the
//! columns in order; vector units only do several such chains side by side. Loops over a single row (quantising,
//! distances) use no fused operations and a fixed order, so that the compiler may widen them freely.
//!
//! This is the only module with `unsafe` code: loads through pointers in the tiles, prefetches, and calls of functions compiled for
//! instructions that were found at run time.
#![allow(unsafe_code)]

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[macro_use]
mod tiles;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod bounds;
mod bytes;
mod cells;
mod codes;
mod moments;
#[cfg(target_arch = "aarch64")]
mod neon;
mod pairs;
mod panels;
#[cfg(test)]
mod pinned;
mod portable;
mod rows;
#[cfg(test)]
mod tests;
mod widened;

pub(crate) use bounds::{drift, exclude, open_groups, units_above};
pub(crate) use bytes::{
    ByteCentroid, BytePanels, Factors, LIMIT_CENTROID, LIMIT_ROW, MOST_CENTROID, MOST_ROW, SEGMENT, byte_scores,
    bytes_are_fast, centre, greatest, half, quantise, reaching,
};
pub(crate) use cells::{Best, contend, highest, raise_differences, within_reach};
pub(crate) use codes::{CODE_WIDTH, code_bounds, code_dots, code_product, largest_offset, offset_code};
pub(crate) use moments::{COARSE_BITS, FINE_BITS, cross_products, squares};
pub(crate) use pairs::{CHUNK as PAIR_CHUNK, Groups, Trials, distance_sums, trial_distances};
pub(crate) use panels::{Panels, WIDTH};
pub(crate) use rows::{
    accumulate, add, ask_for, distances, inner_products, largest_magnitude, move_row, project, scattered_distances,
    squared_distance, widen,
};

/// The instructions that the assignment step uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// Whatever the compiler was told to use; the twin that the others are tested against.
    Portable,
    /// 256-bit vectors with fused multiply-add.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// 512-bit vectors.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// 128-bit vectors with fused multiply-add.
    #[cfg(target_arch = "aarch64")]
    Neon,
}

impl Level {
    /// Every level that this machine can run, slowest first.
    pub(crate) fn available() -> impl Iterator<Item = Self> {
        [
            Self::Portable,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2,
            #[cfg(target_arch = "x86_64")]
            Self::Avx512,
            #[cfg(target_arch = "aarch64")]
            Self::Neon,
        ]
        .into_iter()
        .filter(|level| level.is_available())
    }

    /// The fastest level of this machine.
    fn best() -> Self {
        Self::available().last().unwrap_or(Self::Portable)
    }

    fn is_available(self) -> bool {
        match self {
            Self::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => is_x86_feature_detected!("avx512f"),
            #[cfg(target_arch = "aarch64")]
            Self::Neon => std::arch::is_aarch64_feature_detected!("neon"),
        }
    }
}

/// Rows that [`assign`] takes without a remainder, and that stay in the second-level cache for what follows.
pub(crate) fn block(panels: &Panels) -> usize {
    let chunk = match Level::best() {
        Level::Portable => panels.chunk(portable::ROWS, portable::CHUNK),
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => panels.chunk(tiles::ROWS, tiles::CHUNK),
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => panels.chunk(avx512::ROWS, avx512::CHUNK),
        #[cfg(target_arch = "aarch64")]
        Level::Neon => panels.chunk(tiles::ROWS, tiles::CHUNK),
    };
    let most = (256 << 10) / (size_of::<f32>() * panels.dimension());
    (most / chunk).max(1) * chunk
}

/// See [`crate::kmeans::assign`].
pub(crate) fn assign(panels: &Panels, rows: &[f32], labels: &mut [u32]) {
    assign_at(Level::best(), panels, rows, labels);
}

/// [`assign`] with chosen instructions.
///
/// # Panics
/// If the machine lacks them, or the shapes do not agree.
pub(crate) fn assign_at(level: Level, panels: &Panels, rows: &[f32], labels: &mut [u32]) {
    assert_eq!(rows.len(), labels.len() * panels.dimension(), "rows and labels disagree");
    assert!(level.is_available(), "the machine lacks {level:?}");
    match level {
        Level::Portable => portable::assign(panels, rows, labels),
        // SAFETY: the machine has these instructions, as was asserted.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => unsafe { avx2::assign(panels, rows, labels) },
        // SAFETY: the machine has these instructions, as was asserted.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => unsafe { avx512::assign(panels, rows, labels) },
        // SAFETY: the machine has these instructions, as was asserted.
        #[cfg(target_arch = "aarch64")]
        Level::Neon => unsafe { neon::assign(panels, rows, labels) },
    }
}

/// The scores of rows for all centroids, row by row, those of each row filled up to whole panels. O(rows x k x d).
///
/// # Panics
/// If `out` has not as many places.
pub(crate) fn scores(panels: &Panels, rows: &[f32], out: &mut [f32]) {
    scores_at(Level::best(), panels, rows, out);
}

/// [`scores`] with chosen instructions.
///
/// # Panics
/// If the machine lacks them, or the shapes do not agree.
pub(crate) fn scores_at(level: Level, panels: &Panels, rows: &[f32], out: &mut [f32]) {
    assert_eq!(rows.len() % panels.dimension(), 0, "rows of another dimension");
    assert_eq!(rows.len() / panels.dimension() * panels.count() * WIDTH, out.len(), "rows and results disagree");
    assert!(level.is_available(), "the machine lacks {level:?}");
    let (out, _) = out.as_chunks_mut();
    match level {
        Level::Portable => portable::scores(panels, rows, out),
        // SAFETY: the machine has these instructions, as was asserted.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => unsafe { avx2::scores(panels, rows, out) },
        // SAFETY: the machine has these instructions, as was asserted.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => unsafe { avx512::scores(panels, rows, out) },
        // SAFETY: the machine has these instructions, as was asserted.
        #[cfg(target_arch = "aarch64")]
        Level::Neon => unsafe { neon::scores(panels, rows, out) },
    }
}

/// What a panel says about a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Top {
    /// The best score.
    pub(crate) best: f32,
    /// The best score of the other centroids; minus infinity if there is none.
    pub(crate) second: f32,
    /// Whose the best score is: the place in the panel, the lowest where scores are equal.
    pub(crate) lane: u32,
}

impl Top {
    /// Nothing seen yet.
    pub(crate) const NONE: Self = Self { best: f32::NEG_INFINITY, second: f32::NEG_INFINITY, lane: 0 };
}

/// What panel `panel` says about some rows, given by their positions.
pub(crate) fn tops(panels: &Panels, panel: usize, rows: &[f32], positions: &[u32], tops: &mut [Top]) {
    tops_at(Level::best(), panels, panel, rows, positions, tops);
}

/// [`tops`] with chosen instructions.
///
/// # Panics
/// If the machine lacks them, there is no such panel, or a position is out of range.
pub(crate) fn tops_at(level: Level, panels: &Panels, panel: usize, rows: &[f32], positions: &[u32], tops: &mut [Top]) {
    assert_eq!(positions.len(), tops.len(), "positions and results disagree");
    assert!(level.is_available(), "the machine lacks {level:?}");
    let panel = panels.get(panel);
    match level {
        Level::Portable => portable::tops(panel, rows, positions, tops),
        // SAFETY: the machine has these instructions, as was asserted.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => unsafe { avx2::tops(panel, rows, positions, tops) },
        // SAFETY: the machine has these instructions, as was asserted. Those of AVX2 come with those of AVX-512.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => unsafe { avx512::tops(panel, rows, positions, tops) },
        // SAFETY: the machine has these instructions, as was asserted.
        #[cfg(target_arch = "aarch64")]
        Level::Neon => unsafe { neon::tops(panel, rows, positions, tops) },
    }
}

/// See [`crate::kmeans::assign_two`].
pub(crate) fn assign_two(panels: &Panels, rows: &[f32], best: &mut [u32], second: &mut [u32]) {
    assign_two_at(Level::best(), panels, rows, best, second);
}

/// [`assign_two`] with chosen instructions.
///
/// # Panics
/// If the machine lacks them, or the shapes do not agree.
pub(crate) fn assign_two_at(level: Level, panels: &Panels, rows: &[f32], best: &mut [u32], second: &mut [u32]) {
    assert_eq!(rows.len(), best.len() * panels.dimension(), "rows and labels disagree");
    assert_eq!(best.len(), second.len(), "labels of different lengths");
    assert!(level.is_available(), "the machine lacks {level:?}");
    match level {
        Level::Portable => portable::assign_two(panels, rows, best, second),
        // SAFETY: the machine has these instructions, as was asserted.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => unsafe { avx2::assign_two(panels, rows, best, second) },
        // SAFETY: the machine has these instructions, as was asserted. Those of AVX2 come with those of AVX-512.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => unsafe { avx2::assign_two(panels, rows, best, second) },
        // SAFETY: the machine has these instructions, as was asserted.
        #[cfg(target_arch = "aarch64")]
        Level::Neon => unsafe { neon::assign_two(panels, rows, best, second) },
    }
}

/// The two best scores of a row so far.
#[derive(Clone, Copy, Debug)]
struct Two {
    scores: [f32; 2],
    labels: [u32; 2],
}

impl Two {
    /// No centroid looked at yet.
    const NONE: Self = Self { scores: [f32::NEG_INFINITY; 2], labels: [u32::MAX; 2] };

    /// Looks at a panel's scores. Centroids must come in the order of their indices.
    #[inline]
    fn take(&mut self, first: usize, scores: &[f32]) {
        for (index, &score) in (first as u32..).zip(scores) {
            if score > self.scores[0] || self.labels[0] == u32::MAX {
                *self = Self { scores: [score, self.scores[0]], labels: [index, self.labels[0]] };
            } else if score > self.scores[1] || self.labels[1] == u32::MAX {
                (self.scores[1], self.labels[1]) = (score, index);
            }
        }
    }

    /// Whether a panel whose best score is `score` can change anything.
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    #[inline]
    fn admits(&self, score: f32) -> bool {
        score > self.scores[1] || self.labels[1] == u32::MAX
    }
}
