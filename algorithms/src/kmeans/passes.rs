//! Passes over all rows in one process, each of which knows what the one before found out.

use rayon::prelude::*;

use super::local::CHUNK;
use super::{Centroids, Delta, Partial, PruneBuffers, Pruner, RowBounds, assign};
use crate::fixed::Scale;

/// Bytes of rows that stay in the second-level cache between the assignment and the sums.
const BLOCK_BYTES: usize = 256 << 10;
/// Least k x d for which bounds cost less than looking at every row.
const WORTH_BOUNDS: usize = 2048;
/// Least rows per centroid for which bounds pay: they need the distances between centroids.
const WORTH_DISTANCES: usize = 16;

/// The state between passes.
pub(super) struct Passes<'a> {
    points: &'a [f32],
    dimension: usize,
    scale: &'a Scale,
    labels: Vec<u32>,
    /// Sums and counts under the labels; the inertia is not kept.
    sums: Partial,
    /// Whether there was a pass.
    labelled: bool,
    /// If rows are to be skipped.
    bounds: Option<Bounds>,
}

/// What is known of the rows' distances.
struct Bounds {
    upper: Vec<f32>,
    lower: Vec<u16>,
    /// The pass that found it out.
    pruner: Option<Pruner>,
}

impl<'a> Passes<'a> {
    pub(super) fn new(points: &'a [f32], dimension: usize, scale: &'a Scale, k: usize, pruning: bool) -> Self {
        let n = points.len() / dimension;
        let worth = n >= WORTH_DISTANCES * k && k * dimension >= WORTH_BOUNDS;
        let lower = || vec![0; n * Pruner::stride(k, dimension)];
        let bounds = (pruning && worth).then(|| Bounds { upper: vec![0.0; n], lower: lower(), pruner: None });
        let sums = Partial::new(k, dimension);
        Self { points, dimension, scale, labels: vec![0; n], sums, labelled: false, bounds }
    }

    /// Labels all rows and brings the sums up to date, both while a block of rows is in the cache.
    pub(super) fn pass(&mut self, centroids: &Centroids) {
        let (d, scale, follows) = (self.dimension, self.scale, self.labelled);
        // Few parts, as each has sums of k x d, and yet enough for threads that are held up.
        let least = self.labels.len().div_ceil(CHUNK).div_ceil(8 * rayon::current_num_threads());
        let part = || Part::new(centroids);
        let chunks = self.points.par_chunks(CHUNK * d).zip(self.labels.par_chunks_mut(CHUNK));
        let parts: Vec<Part> = match &mut self.bounds {
            None => {
                let work = |mut part: Part, (rows, labels): (&[f32], &mut [u32])| {
                    part.look(centroids, scale, rows, labels, follows);
                    part
                };
                chunks.with_min_len(least).fold(part, work).collect()
            }
            Some(Bounds { upper, lower, pruner: last }) => {
                let pruner = Pruner::new(centroids.clone(), last.as_ref());
                let stride = Pruner::stride(centroids.len(), d);
                let bounds = upper.par_chunks_mut(CHUNK).zip(lower.par_chunks_mut(CHUNK * stride));
                let chunks = chunks
                    .zip(bounds)
                    .map(|((rows, labels), (upper, lower))| (rows, RowBounds { labels, upper, lower }));
                let work = |mut part: Part, (rows, mut bounds): (&[f32], RowBounds<'_>)| {
                    part.prune(&pruner, scale, rows, &mut bounds, follows);
                    part
                };
                let parts = chunks.with_min_len(least).fold(part, work).collect();
                *last = Some(pruner);
                parts
            }
        };
        for part in &parts {
            part.delta.apply(&mut self.sums);
        }
        self.labelled = true;
    }

    /// Sums and counts of the last pass.
    pub(super) fn sums(&self) -> &Partial {
        &self.sums
    }

    /// Labels of the last pass.
    pub(super) fn labels(&self) -> &[u32] {
        &self.labels
    }

    pub(super) fn into_labels(self) -> Vec<u32> {
        self.labels
    }

    /// The sum of the squared distances of all rows to their centroids, in the scale's units.
    pub(super) fn inertia(&self, centroids: &Centroids) -> i128 {
        let nothing = || Partial::new(centroids.len(), self.dimension);
        let add = |mut partial: Partial, (rows, labels): (&[f32], &[u32])| {
            partial.add_rows(centroids, self.scale, rows, labels);
            partial
        };
        let chunks = self.points.par_chunks(CHUNK * self.dimension).zip(self.labels.par_chunks(CHUNK));
        chunks.fold(nothing, add).map(|partial| partial.inertia).sum()
    }
}

/// What the rows of some chunks change, and memory for finding it out.
struct Part {
    delta: Delta,
    /// Rows whose label changed: positions in the block and old labels.
    changes: Vec<(u32, u32)>,
    old: Vec<u32>,
    survivors: Vec<u32>,
    buffers: PruneBuffers,
}

impl Part {
    fn new(centroids: &Centroids) -> Self {
        Self {
            delta: Delta::new(centroids.len(), centroids.dimension()),
            changes: Vec::new(),
            old: Vec::new(),
            survivors: Vec::new(),
            buffers: PruneBuffers::default(),
        }
    }

    /// Looks at every row; `follows` if the labels are those of a pass before.
    fn look(&mut self, centroids: &Centroids, scale: &Scale, rows: &[f32], labels: &mut [u32], follows: bool) {
        let d = centroids.dimension();
        let block = (BLOCK_BYTES / (size_of::<f32>() * d)).clamp(1, CHUNK);
        for (rows, labels) in rows.chunks(block * d).zip(labels.chunks_mut(block)) {
            self.old.clear();
            self.old.extend_from_slice(labels);
            assign(centroids, rows, labels);
            if follows {
                let moved = (0u32..).zip(self.old.iter().zip(&*labels)).filter(|(_, (old, new))| old != new);
                self.changes.clear();
                self.changes.extend(moved.map(|(position, (&old, _))| (position, old)));
                self.delta.move_rows(scale, rows, &self.changes, labels);
            } else {
                self.delta.add_rows(scale, rows, labels);
            }
        }
    }

    /// Looks at the rows that may change; `follows` if labels and bounds are those of a pass before.
    fn prune(&mut self, pruner: &Pruner, scale: &Scale, rows: &[f32], bounds: &mut RowBounds<'_>, follows: bool) {
        if follows {
            pruner.drift(bounds, &mut self.survivors);
            self.changes.clear();
            pruner.settle(rows, bounds, &self.survivors, &mut self.changes, &mut self.buffers);
            self.delta.move_rows(scale, rows, &self.changes, bounds.labels);
        } else {
            pruner.fresh(rows, bounds, &mut self.buffers);
            self.delta.add_rows(scale, rows, bounds.labels);
        }
    }
}
