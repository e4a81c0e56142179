//! Centroids laid out as the tiles read them.

use rayon::prelude::*;

use crate::kmeans::centroids::{bias, least_for_a_thread};

/// Centroids per panel.
pub(crate) const WIDTH: usize = 16;

/// One number for each centroid of a panel: a cache line.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(super) struct Lane(pub(super) [f32; WIDTH]);

/// Centroids packed sixteen to a panel, column by column.
#[derive(Clone, Debug)]
pub(crate) struct Panels {
    len: usize,
    dimension: usize,
    /// Panel after panel, `dimension` lanes each. Padding is zero.
    coefficients: Vec<Lane>,
    /// One lane per panel: minus half the squared length of each centroid; minus infinity for padding, so that it never
    /// wins.
    bias: Vec<Lane>,
}

/// One panel.
#[derive(Clone, Copy)]
pub(super) struct Panel<'a> {
    /// Index of its first centroid.
    pub(super) first: usize,
    /// Number of centroids in it, the rest being padding.
    pub(super) len: usize,
    /// Start of each chain.
    pub(super) bias: &'a Lane,
    /// One lane per column.
    pub(super) columns: &'a [Lane],
}

impl Panels {
    /// Packs centroids given row by row.
    pub(crate) fn new(dimension: usize, values: &[f32]) -> Self {
        Self::with_starts(dimension, values, |_, centroid| bias(centroid))
    }

    /// Packs vectors given row by row; the chain of each starts from what `start` says of its place and values.
    pub(crate) fn with_starts(dimension: usize, values: &[f32], start: impl Fn(usize, &[f32]) -> f32 + Sync) -> Self {
        let len = values.len() / dimension;
        let count = len.div_ceil(WIDTH);
        let mut coefficients = vec![Lane([0.0; WIDTH]); count * dimension];
        let mut biases = vec![Lane([f32::NEG_INFINITY; WIDTH]); count];
        let (vectors, size) = (&values[..len * dimension], WIDTH * dimension);
        let panels =
            coefficients.par_chunks_exact_mut(dimension).zip(&mut biases).zip(vectors.par_chunks(size)).enumerate();
        panels.with_min_len(least_for_a_thread(vectors.len())).for_each(|(panel, ((columns, bias), vectors))| {
            for (lane, vector) in vectors.chunks_exact(dimension).enumerate() {
                bias.0[lane] = start(panel * WIDTH + lane, vector);
                for (column, &value) in columns.iter_mut().zip(vector) {
                    column.0[lane] = value;
                }
            }
        });
        Self { len, dimension, coefficients, bias: biases }
    }

    /// Number of vectors.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Number of columns.
    pub(crate) fn dimension(&self) -> usize {
        self.dimension
    }

    /// At least the length of the longest of them; infinite where its square overflows.
    pub(crate) fn longest(&self) -> f64 {
        let biases = self.iter().flat_map(|panel| &panel.bias.0[..panel.len]);
        let least = biases.fold(0.0, |least: f32, &bias| least.min(bias));
        // The bias was rounded, by at most 2^-24 of itself or half of the least number there is.
        (-2.0 * f64::from(least) * (1.0 + 1e-6) + f64::from(f32::MIN_POSITIVE)).sqrt()
    }

    /// Number of panels.
    pub(crate) fn count(&self) -> usize {
        self.bias.len()
    }

    /// Panel `p`.
    pub(super) fn get(&self, p: usize) -> Panel<'_> {
        Panel {
            first: p * WIDTH,
            len: (self.len - p * WIDTH).min(WIDTH),
            bias: &self.bias[p],
            columns: &self.coefficients[p * self.dimension..][..self.dimension],
        }
    }

    /// The panels in order of their centroids.
    pub(super) fn iter(&self) -> impl Iterator<Item = Panel<'_>> {
        (0..self.count()).map(|p| self.get(p))
    }

    /// Rows to take through all panels together, a multiple of `tile` and at most `most`.
    ///
    /// While all panels fit the first-level cache, a few rows go through all of them there. Otherwise one panel stays in
    /// the first level while a chunk of rows, held in the second, goes through it.
    pub(super) fn chunk(&self, tile: usize, most: usize) -> usize {
        let bytes = if self.are_small() { 6 << 10 } else { 128 << 10 };
        (bytes / (size_of::<f32>() * self.dimension)).clamp(tile, most) / tile * tile
    }

    /// Whether all panels fit the first-level cache beside some rows.
    fn are_small(&self) -> bool {
        size_of_val(self.coefficients.as_slice()) <= 16 << 10
    }
}

/// Fetches the rows of the next chunk into the second-level cache, a few lines with each tile of this chunk.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(super) struct Ahead {
    place: *const f32,
    /// Cache lines per tile.
    step: usize,
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
impl Ahead {
    /// For a chunk of `rows` that goes through panels in tiles of `tile` rows, `together` panels at once.
    pub(super) fn new(panels: &Panels, rows: &[f32], tile: usize, together: usize) -> Self {
        // Beside small panels the rows follow so closely that the machine fetches them by itself.
        let step = if panels.are_small() {
            0
        } else {
            let tiles = (rows.len() / panels.dimension / tile).max(1);
            (rows.len() / WIDTH).div_ceil(tiles * panels.bias.len().div_ceil(together))
        };
        Self { place: rows.as_ptr_range().end, step }
    }

    /// Asks for the next lines, which may lie beyond the data.
    #[inline(always)]
    pub(super) fn fetch(&mut self) {
        for _ in 0..self.step {
            ask::<false>(self.place);
            self.place = self.place.wrapping_add(WIDTH);
        }
    }
}

/// Asks for a row, which is needed soon.
#[inline(always)]
pub(super) fn prefetch(row: &[f32]) {
    for line in row.chunks(WIDTH) {
        ask::<true>(line.as_ptr());
    }
}

/// Asks for the cache line at a place, whatever is there: for the first-level cache if it is needed soon, else for the second.
///
/// A prefetch reads nothing and cannot fail.
#[inline(always)]
fn ask<const SOON: bool>(place: *const f32) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _MM_HINT_T1, _mm_prefetch};
        // SAFETY: any address may be prefetched.
        unsafe {
            if SOON { _mm_prefetch::<_MM_HINT_T0>(place.cast()) } else { _mm_prefetch::<_MM_HINT_T1>(place.cast()) }
        }
    }
    // The intrinsic is not stable, and Miri knows no assembly.
    #[cfg(all(target_arch = "aarch64", not(miri)))]
    // SAFETY: any address may be prefetched.
    unsafe {
        use std::arch::asm;
        if SOON {
            asm!("prfm pldl1keep, [{}]", in(reg) place.addr(), options(nomem, nostack, preserves_flags));
        } else {
            asm!("prfm pldl2keep, [{}]", in(reg) place.addr(), options(nomem, nostack, preserves_flags));
        }
    }
    #[cfg(not(any(target_arch = "x86_64", all(target_arch = "aarch64", not(miri)))))]
    let _ = place;
}
