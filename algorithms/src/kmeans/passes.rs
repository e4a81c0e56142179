//! Passes over all rows in one process, each of which knows what the one before found out.

use rayon::prelude::*;

use super::local::CHUNK;
use super::{Centroids, Delta, Partial, PruneBuffers, Pruner, RowBounds, assign, kernel};
use crate::fixed::Scale;

/// Least k x d for which bounds may cost less than looking at every row.
const WORTH_BOUNDS: usize = 512;
/// From this k x d on, the kernel takes far longer than what bounds take beside it.
const LARGE: usize = 8192;
/// Bounds begin once no more than one in so many rows moved in a pass, beside large and beside small centroids. Before, most
/// rows would be open.
const STILL: [usize; 2] = [8, 256];

/// The state between passes.
pub(super) struct Passes<'a> {
    points: &'a [f32],
    dimension: usize,
    scale: &'a Scale,
    labels: Vec<u32>,
    /// Sums and counts under the labels; the inertia is not kept.
    sums: Partial,
    /// Rows whose label changed in the last pass, if there was one.
    moved: Option<usize>,
    /// Whether rows may be skipped.
    pruning: bool,
    bounds: Bounds,
}

/// What is known of the rows' distances.
#[derive(Default)]
struct Bounds {
    upper: Vec<f32>,
    lower: Vec<u16>,
    /// The pass that found it out, if it did.
    pruner: Option<Pruner>,
}

impl<'a> Passes<'a> {
    pub(super) fn new(points: &'a [f32], dimension: usize, scale: &'a Scale, k: usize, pruning: bool) -> Self {
        let n = points.len() / dimension;
        let (labels, sums) = (vec![0; n], Partial::new(k, dimension));
        let pruning = pruning && Pruner::pays(n as u64, k);
        Self { points, dimension, scale, labels, sums, moved: None, pruning, bounds: Bounds::default() }
    }

    /// Labels all rows and brings the sums up to date, both while a block of rows is in the cache.
    pub(super) fn pass(&mut self, centroids: &Centroids) {
        let (n, d, scale, labelled) = (self.labels.len(), self.dimension, self.scale, self.moved.is_some());
        let bounded = self.is_bounded(centroids);
        // Few parts, as each has sums of k x d, and yet enough for threads that are held up.
        let least = n.div_ceil(CHUNK).div_ceil(8 * rayon::current_num_threads());
        let part = || Part::new(centroids);
        let chunks = self.points.par_chunks(CHUNK * d).zip(self.labels.par_chunks_mut(CHUNK));
        let parts: Vec<Part> = if bounded {
            let Bounds { upper, lower, pruner: last } = &mut self.bounds;
            let pruner = Pruner::new(centroids.clone(), last.as_ref());
            let stride = Pruner::stride(centroids.len(), d);
            upper.resize(n, 0.0);
            lower.resize(n * stride, 0);
            let bounds = upper.par_chunks_mut(CHUNK).zip(lower.par_chunks_mut(CHUNK * stride));
            let chunks = chunks.zip(bounds);
            let chunks = chunks.map(|((rows, labels), (upper, lower))| (rows, RowBounds { labels, upper, lower }));
            let follows = last.is_some();
            let work = |mut part: Part, (rows, mut bounds): (&[f32], RowBounds<'_>)| {
                if follows {
                    part.follow(&pruner, scale, rows, &mut bounds);
                } else {
                    part.begin(&pruner, scale, rows, &mut bounds);
                }
                part
            };
            let parts = chunks.with_min_len(least).fold(part, work).collect();
            *last = Some(pruner);
            parts
        } else {
            let work = |mut part: Part, (rows, labels): (&[f32], &mut [u32])| {
                part.look(centroids, scale, rows, labels, labelled);
                part
            };
            chunks.with_min_len(least).fold(part, work).collect()
        };
        for part in &parts {
            part.delta.apply(&mut self.sums);
        }
        self.moved = Some(parts.iter().map(|part| part.moved).sum());
    }

    /// Whether the next pass keeps bounds.
    fn is_bounded(&self, centroids: &Centroids) -> bool {
        let size = centroids.values().len();
        let still = self.labels.len() / STILL[usize::from(size < LARGE)];
        let settled = || self.moved.is_some_and(|moved| moved <= still);
        self.pruning && size >= WORTH_BOUNDS && (self.bounds.pruner.is_some() || settled())
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
    /// Rows whose label changed.
    moved: usize,
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
            moved: 0,
            changes: Vec::new(),
            old: Vec::new(),
            survivors: Vec::new(),
            buffers: PruneBuffers::default(),
        }
    }

    /// Looks at every row. `labelled` if there are labels of a pass before.
    fn look(&mut self, centroids: &Centroids, scale: &Scale, rows: &[f32], labels: &mut [u32], labelled: bool) {
        let d = centroids.dimension();
        let block = kernel::block(centroids.panels());
        for (rows, labels) in rows.chunks(block * d).zip(labels.chunks_mut(block)) {
            self.old.clear();
            self.old.extend_from_slice(labels);
            assign(centroids, rows, labels);
            if labelled {
                self.follow_labels(scale, rows, labels);
            } else {
                self.delta.add_rows(scale, rows, labels);
                self.moved += labels.len();
            }
        }
    }

    /// Looks at every row, and finds its bounds.
    fn begin(&mut self, pruner: &Pruner, scale: &Scale, rows: &[f32], bounds: &mut RowBounds<'_>) {
        self.old.clear();
        self.old.extend_from_slice(bounds.labels);
        pruner.fresh(rows, bounds, &mut self.buffers);
        self.follow_labels(scale, rows, bounds.labels);
    }

    /// Looks at the rows that may change, by the bounds of the pass before.
    fn follow(&mut self, pruner: &Pruner, scale: &Scale, rows: &[f32], bounds: &mut RowBounds<'_>) {
        pruner.drift(bounds, &mut self.survivors);
        self.changes.clear();
        pruner.settle(rows, bounds, &self.survivors, &mut self.changes, &mut self.buffers);
        self.change(scale, rows, bounds.labels);
    }

    /// Lets the sums follow the labels, from the old ones.
    fn follow_labels(&mut self, scale: &Scale, rows: &[f32], labels: &[u32]) {
        let moved = (0u32..).zip(self.old.iter().zip(labels)).filter(|(_, (old, new))| old != new);
        self.changes.clear();
        self.changes.extend(moved.map(|(position, (&old, _))| (position, old)));
        self.change(scale, rows, labels);
    }

    fn change(&mut self, scale: &Scale, rows: &[f32], labels: &[u32]) {
        self.delta.move_rows(scale, rows, &self.changes, labels);
        self.moved += self.changes.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::Metric;
    use crate::random::{Purpose, Stream};

    /// A million rows, pass after pass, against looking at every row: the labels and the sums, exactly.
    #[test]
    #[cfg_attr(miri, ignore = "slow")]
    fn a_million_rows_are_labelled_as_without_bounds() {
        let (n, d, k) = (1_000_000, 8, 64);
        let stream = Stream::new(11, Purpose::Generate, 0);
        let number = |i: usize| (stream.uniform(i as u64) - 0.5) as f32;
        // Overlapping groups, fewer than clusters, so that some boundaries lie within groups.
        let points: Vec<f32> = (0..n * d).map(|i| number(i / d % 40 * d + i % d) + 0.4 * number(1000 + i)).collect();
        let scale = Scale::new(&vec![1.0; d], n as u64);
        let mut centroids = Centroids::new(d, points[..k * d].to_vec());
        let mut passes = Passes::new(&points, d, &scale, k, true);
        let mut bounded = 0;
        let mut labels = vec![0; n];
        for pass in 0..40 {
            passes.pass(&centroids);
            bounded += usize::from(passes.bounds.pruner.is_some());
            assign(&centroids, &points, &mut labels);
            let mut sums = Partial::new(k, d);
            sums.add_rows_only(&scale, &points, &labels);
            assert!(passes.labels() == labels, "labels of pass {pass}");
            assert!(*passes.sums() == sums, "sums of pass {pass}");
            centroids = Centroids::new(d, super::super::update(Metric::Euclidean, &centroids, &sums, &scale).centroids);
        }
        assert!(bounded >= 10, "only {bounded} of 40 passes had bounds");
    }
}
