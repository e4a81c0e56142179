//! A worker's share of a k-means step: from the splits it holds to one merged partial.

use coterie_algorithms::{
    kmeans::{self, Centroids, Farthest, assign, init::Sample},
    random::{Purpose, hash},
};

use super::{
    lloyd::Lloyd,
    step::{Candidates, Partial, Step},
};
use crate::{
    error::RunError,
    shard::{
        pass::Buffers,
        rows::{Chunk, Tag},
        store::SplitStore,
    },
    training::{compute::reduce, step::Context},
};

/// A pass over `splits`, which are prepared, for `step`; `lloyd` remembers what earlier passes found.
///
/// # Errors
/// When scratch fails or the lease is lost.
pub fn pass(step: &Step, splits: &[u32], store: &mut SplitStore, lloyd: &mut Lloyd) -> Result<Partial, RunError> {
    match step {
        Step::Sample { context, seed, round, count } => {
            let dimension = context.pipeline.output_dimension();
            let make = || Partial::Sample(Sample::new(*count, dimension));
            reduce(store.pass(splits, make, |partial, item, buffers| {
                let Partial::Sample(sample) = partial else { return Ok(()) };
                let first = SplitStore::offset(context, item.split) + item.chunk.first;
                let rows = item.chunk.values(&mut buffers.rows)?;
                for (ordinal, row) in (first..).zip(rows.chunks_exact(dimension)) {
                    let key = hash(*seed, Purpose::Sample, *round, ordinal);
                    if sample.admits(key, ordinal) {
                        sample.offer(key, ordinal, row);
                    }
                }
                Ok(())
            })?)
        }
        Step::Seed { context, scale, round, candidates } => {
            let seeding = Seeding::new(context, *round, candidates);
            reduce(store.pass(
                splits,
                || Partial::Potential(0),
                |partial, item, buffers| {
                    let Partial::Potential(potential) = partial else { return Ok(()) };
                    seeding.distances(item.chunk, buffers)?;
                    let add =
                        |sum: i128, distance2: &f32| sum + i128::from(scale.quantize_distance2(f64::from(*distance2)));
                    *potential = buffers.values.iter().fold(*potential, add);
                    Ok(())
                },
            )?)
        }
        Step::Draw { context, seed, draw, round, candidates, total, oversampling, cap } => {
            let dimension = context.pipeline.output_dimension();
            let seeding = Seeding::new(context, *round, candidates);
            let make = || Partial::Sample(Sample::new(*cap, dimension));
            reduce(store.pass(splits, make, |partial, item, buffers| {
                let Partial::Sample(sample) = partial else { return Ok(()) };
                let first = SplitStore::offset(context, item.split) + item.chunk.first;
                let chunk = item.chunk;
                seeding.distances(chunk, buffers)?;
                let drawn = |(at, distance2): (usize, &f32)| {
                    let ordinal = first + at as u64;
                    kmeans::init::draw(*seed, *draw, ordinal, *distance2, *total, *oversampling).then_some(at)
                };
                let picks: Vec<usize> = buffers.values.iter().enumerate().filter_map(drawn).collect();
                if picks.is_empty() {
                    return Ok(());
                }
                let rows = chunk.values(&mut buffers.rows)?;
                for at in picks {
                    let ordinal = first + at as u64;
                    let key = hash(*seed, Purpose::Candidates, *draw, ordinal);
                    if sample.admits(key, ordinal) {
                        sample.offer(key, ordinal, &rows[at * dimension..(at + 1) * dimension]);
                    }
                }
                Ok(())
            })?)
        }
        Step::Weigh { context, candidates } => {
            let centroids = Centroids::new(context.pipeline.output_dimension(), candidates.clone());
            let make = || Partial::Weights(vec![0; centroids.len()]);
            reduce(store.pass(splits, make, |partial, item, buffers| {
                let Partial::Weights(weights) = partial else { return Ok(()) };
                let rows = item.chunk.values(&mut buffers.rows)?;
                label(&centroids, rows, item.chunk.rows, &mut buffers.labels);
                for label in &buffers.labels {
                    weights[*label as usize] += 1;
                }
                Ok(())
            })?)
        }
        Step::Assign { context, scale, centroids } => {
            let centroids = Centroids::new(context.pipeline.output_dimension(), centroids.clone());
            lloyd.assign(splits, store, scale, centroids).map(Partial::Sums)
        }
        Step::Farthest { context, centroids, count } => {
            let centroids = Centroids::new(context.pipeline.output_dimension(), centroids.clone());
            let make = || Partial::Farthest(Farthest::new(*count, centroids.dimension()));
            reduce(store.pass(splits, make, |partial, item, buffers| {
                let Partial::Farthest(farthest) = partial else { return Ok(()) };
                let first = SplitStore::offset(context, item.split) + item.chunk.first;
                let rows = item.chunk.values(&mut buffers.rows)?;
                label(&centroids, rows, item.chunk.rows, &mut buffers.labels);
                let labelled = rows.chunks_exact(centroids.dimension()).zip(&buffers.labels);
                for (ordinal, (row, &label)) in (first..).zip(labelled) {
                    let distance2 = kmeans::squared_distance(row, centroids.row(label as usize));
                    if farthest.admits(distance2, ordinal) {
                        farthest.offer(distance2, ordinal, label, row);
                    }
                }
                Ok(())
            })?)
        }
    }
}

/// Nearest centroid of each row.
pub(crate) fn label(centroids: &Centroids, rows: &[f32], count: usize, labels: &mut Vec<u32>) {
    labels.clear();
    labels.resize(count, 0);
    assign(centroids, rows, labels);
}

/// Subject of the notes that hold distances to candidates; the lower bits are the restart.
const SEEDING: u64 = 1 << 63;

/// Keeps each row's squared distance to the nearest candidate of k-means|| up to date.
struct Seeding {
    subject: u64,
    dimension: usize,
    /// Each batch, with the number of candidates up to and including it.
    batches: Vec<(usize, Centroids)>,
}

impl Seeding {
    fn new(context: &Context, round: u64, candidates: &Candidates) -> Self {
        let dimension = context.pipeline.output_dimension();
        let mut start = 0;
        let batches = candidates
            .batches
            .iter()
            .map(|&end| {
                let values = candidates.values[start * dimension..end * dimension].to_vec();
                start = end;
                (end, Centroids::new(dimension, values))
            })
            .collect();
        Self { subject: SEEDING | round, dimension, batches }
    }

    /// Leaves the chunk's distances in `buffers.values`, taking only what is not covered yet.
    fn distances(&self, chunk: &mut Chunk, buffers: &mut Buffers) -> Result<(), RunError> {
        // A coordinator that resumed from an older checkpoint may know fewer candidates than this worker does.
        let total = self.batches.last().map_or(0, |(end, _)| *end);
        let usable = |tag: &Tag| tag.subject == self.subject && tag.progress <= total as u64;
        let known = chunk.noted().filter(usable).map_or(0, |tag| tag.progress as usize);
        if known > 0 {
            chunk.recall(&mut buffers.values)?;
        } else {
            buffers.values.clear();
            buffers.values.resize(chunk.rows, f32::INFINITY);
        }
        let mut covered = known;
        for (end, batch) in self.batches.iter().filter(|(end, _)| *end > known) {
            let rows = chunk.values(&mut buffers.rows)?;
            label(batch, rows, chunk.rows, &mut buffers.labels);
            let labelled = rows.chunks_exact(self.dimension).zip(&buffers.labels);
            for (distance2, (row, label)) in buffers.values.iter_mut().zip(labelled) {
                let found = kmeans::squared_distance(row, batch.row(*label as usize)) as f32;
                *distance2 = distance2.min(found);
            }
            covered = *end;
        }
        if covered > known {
            let tag = Tag { subject: self.subject, progress: covered as u64 };
            chunk.note(tag, &buffers.values)?;
        }
        Ok(())
    }
}
