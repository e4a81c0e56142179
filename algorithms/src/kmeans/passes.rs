//! Passes over all rows in one process, each of which knows what the one before found out.

use crossbeam_deque::{Injector, Steal};
use rayon::prelude::*;

use super::bounds::TOGETHER;
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
    /// One for each thread.
    parts: Vec<Part>,
}

/// What is known of the rows' distances.
#[derive(Default)]
struct Bounds {
    upper: Vec<f32>,
    lower: Vec<u16>,
    /// Lower bounds of a row; 0 while no bounds are kept.
    stride: usize,
    /// The pass that found it out, if it did.
    pruner: Option<Pruner>,
}

impl<'a> Passes<'a> {
    pub(super) fn new(points: &'a [f32], dimension: usize, scale: &'a Scale, k: usize, pruning: bool) -> Self {
        let n = points.len() / dimension;
        let (labels, sums) = (vec![0; n], Partial::new(k, dimension));
        let pruning = pruning && Pruner::pays(n as u64, k);
        Self {
            points,
            dimension,
            scale,
            labels,
            sums,
            moved: None,
            pruning,
            bounds: Bounds::default(),
            parts: Vec::new(),
        }
    }

    /// Labels all rows and brings the sums up to date, both while a block of rows is in the cache.
    pub(super) fn pass(&mut self, centroids: &Centroids) {
        let (scale, labelled) = (self.scale, self.moved.is_some());
        if self.is_bounded(centroids) {
            let last = self.bounds.pruner.take();
            let pruner = Pruner::new(centroids.clone(), last.as_ref());
            self.bounds.stride = Pruner::stride(centroids.len(), self.dimension);
            self.each_chunk(centroids, |part, rows, mut bounds| match last {
                Some(_) => part.follow(&pruner, scale, rows, &mut bounds),
                None => part.begin(&pruner, scale, rows, &mut bounds),
            });
            self.bounds.pruner = Some(pruner);
        } else {
            self.each_chunk(centroids, |part, rows, bounds| {
                part.look(centroids, scale, rows, bounds.labels, labelled);
            });
        }
        for part in &self.parts {
            part.delta.apply(&mut self.sums);
        }
        self.moved = Some(self.parts.iter().map(|part| part.moved).sum());
    }

    /// Does some work on the rows of each chunk and what is known of them. Each thread takes the next chunk when it is done with one,
    /// so that one that is held up holds up nobody.
    fn each_chunk(&mut self, centroids: &Centroids, work: impl Fn(&mut Part, &[f32], RowBounds<'_>) + Sync) {
        let (n, d, stride) = (self.labels.len(), self.dimension, self.bounds.stride);
        let chunk = chunk(n);
        self.bounds.upper.resize(if stride > 0 { n } else { 0 }, 0.0);
        self.bounds.lower.resize(n * stride, 0);
        let (mut upper, mut lower) = (self.bounds.upper.as_mut_slice(), self.bounds.lower.as_mut_slice());
        let queue = Injector::new();
        for (rows, labels) in self.points.chunks(chunk * d).zip(self.labels.chunks_mut(chunk)) {
            let count = if stride > 0 { labels.len() } else { 0 };
            let bounds = (upper.split_off_mut(..count), lower.split_off_mut(..count * stride));
            if let (Some(upper), Some(lower)) = bounds {
                queue.push((rows, RowBounds { labels, upper, lower }));
            }
        }
        self.parts.resize_with(rayon::current_num_threads(), || Part::new(centroids));
        self.parts.par_iter_mut().with_max_len(1).for_each(|part| {
            part.delta.clear();
            part.moved = 0;
            loop {
                match queue.steal() {
                    Steal::Success((rows, bounds)) => work(part, rows, bounds),
                    Steal::Retry => {}
                    Steal::Empty => break,
                }
            }
        });
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

/// Rows per unit of parallel work, of `n`, for full tiles: fewer than [`CHUNK`] where these would not keep all threads busy to the end.
fn chunk(n: usize) -> usize {
    n.div_ceil(8 * rayon::current_num_threads()).next_multiple_of(TOGETHER).clamp(TOGETHER, CHUNK)
}

/// What the chunks that a thread takes in a pass change, and memory for finding it out.
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
