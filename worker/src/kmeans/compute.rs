//! A worker's share of a step: from the splits it holds to one merged partial.

use coterie_algorithms::{
    distinct::Distinct,
    features::Moments,
    fixed::Scale,
    kmeans::{self, Centroids, Farthest, assign, init::Sample},
    random::{Purpose, hash},
    score::Contingency,
};
use xxhash_rust::xxh3::xxh3_128_with_seed;

use super::{
    evaluation::Evaluation,
    lloyd::Lloyd,
    step::{Candidates, Context, Measured, Partial, Prepared, Published, Scanned, Step, Wanted, lower, raise},
};
use crate::{
    error::RunError,
    machine::Merge,
    publish::rows::RowSink,
    shard::{
        pass::Buffers,
        rows::{Chunk, Tag},
        store::{Seen, SplitStore},
    },
};

/// Processes `splits` for `step`; `lloyd` remembers what earlier passes found.
///
/// # Errors
/// When the source, scratch or output fails, or the data is not what the job says.
pub async fn compute(
    step: &Step,
    splits: &[u32],
    store: &mut SplitStore,
    lloyd: &mut Lloyd,
    sink: &RowSink,
) -> Result<Partial, RunError> {
    match step {
        Step::Scan | Step::Moments { .. } | Step::Prepare { .. } => store.load(splits).await?,
        Step::Publish { context, centroids, wanted } => {
            return publish(store, sink, splits, context, centroids, *wanted).await;
        }
        Step::Sample { context, .. }
        | Step::Seed { context, .. }
        | Step::Draw { context, .. }
        | Step::Weigh { context, .. }
        | Step::Assign { context, .. }
        | Step::Farthest { context, .. }
        | Step::Evaluate { context, .. } => {
            let pipeline = context.pipeline.clone();
            store.prepare(splits, &pipeline).await?;
        }
    }
    // Threads compute; the async runtime goes on with heartbeats meanwhile.
    tokio::task::block_in_place(|| pass(step, splits, store, lloyd))
}

fn pass(step: &Step, splits: &[u32], store: &mut SplitStore, lloyd: &mut Lloyd) -> Result<Partial, RunError> {
    match step {
        Step::Scan => scan(splits, store),
        Step::Moments { pipeline, minimum, maximum, rows, covariance } => {
            let make = || {
                let dimension = pipeline.output_dimension();
                Partial::Moments(Box::new(Measured {
                    moments: Moments::new(minimum, maximum, *rows, *covariance),
                    minimum: vec![f32::INFINITY; dimension],
                    maximum: vec![f32::NEG_INFINITY; dimension],
                }))
            };
            reduce(store.pass(splits, make, |partial, item, buffers| {
                let Partial::Moments(measured) = partial else { return Ok(()) };
                let rows = item.chunk.values(&mut buffers.rows)?;
                pipeline.apply(rows, &mut buffers.values);
                for row in buffers.values.chunks_exact(pipeline.output_dimension()) {
                    lower(&mut measured.minimum, row);
                    raise(&mut measured.maximum, row);
                }
                measured.moments.add_rows(&buffers.values);
                Ok(())
            })?)
        }
        Step::Prepare { context, distinct } => prepare(splits, store, context, *distinct),
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
        Step::Evaluate { context, scale, centroids, seed, sample } => {
            evaluate(splits, store, context, scale, centroids, *seed, *sample)
        }
        Step::Publish { .. } => {
            Err(RunError::transient("publishing reads the source and makes no pass over kept rows"))
        }
    }
}

fn scan(splits: &[u32], store: &mut SplitStore) -> Result<Partial, RunError> {
    let dimension = store.dimension();
    let parts = store.pass(
        splits,
        || Scanned::new(dimension),
        |scanned, item, buffers| {
            for row in item.chunk.values(&mut buffers.rows)?.chunks_exact(dimension) {
                lower(&mut scanned.minimum, row);
                raise(&mut scanned.maximum, row);
            }
            Ok(())
        },
    )?;
    let mut counted = Scanned::new(dimension);
    for split in splits {
        let (rows, dropped) = store.counts(*split).unwrap_or_default();
        counted.rows.insert(*split, rows);
        counted.dropped += dropped;
    }
    reduce(parts.into_iter().chain([counted]).map(Partial::Scanned).collect())
}

fn prepare(splits: &[u32], store: &mut SplitStore, context: &Context, cap: usize) -> Result<Partial, RunError> {
    #[derive(Default)]
    struct Look(Option<Prepared>, Vec<u8>);
    let source = context.pipeline.input_dimension;
    let dimension = context.pipeline.output_dimension();
    let empty = || Prepared { max_abs: vec![0.0; dimension], distinct: Distinct::new(cap), fingerprint: 0 };
    let looks = store.transform(splits, &context.pipeline, |look: &mut Look, seen: Seen<'_>, prepared: &[f32]| {
        let found = look.0.get_or_insert_with(empty);
        let first = SplitStore::offset(context, seen.split) + seen.first;
        for (ordinal, row) in (first..).zip(seen.rows.chunks_exact(source)) {
            look.1.clear();
            // Adding zero makes -0.0 and 0.0 the same input; formats differ in whether they keep the sign.
            look.1.extend(row.iter().flat_map(|value| (value + 0.0).to_le_bytes()));
            found.fingerprint = found.fingerprint.wrapping_add(xxh3_128_with_seed(&look.1, ordinal));
        }
        for row in prepared.chunks_exact(dimension) {
            found.distinct.add_row(row);
            for (bound, value) in found.max_abs.iter_mut().zip(row) {
                *bound = bound.max(value.abs());
            }
        }
    })?;
    let found = looks.into_iter().filter_map(|look| look.0).chain([empty()]);
    reduce(found.map(Partial::Prepared).collect())
}

fn evaluate(
    splits: &[u32],
    store: &mut SplitStore,
    context: &Context,
    scale: &Scale,
    centroids: &[f32],
    seed: u64,
    sample: usize,
) -> Result<Partial, RunError> {
    let centroids = Centroids::new(context.pipeline.output_dimension(), centroids.to_vec());
    let make = || Partial::Evaluation(Box::new(Evaluation::new(centroids.len(), centroids.dimension(), sample)));
    reduce(store.pass(splits, make, |partial, item, buffers| {
        let Partial::Evaluation(evaluation) = partial else { return Ok(()) };
        let first = SplitStore::offset(context, item.split) + item.chunk.first;
        let rows = item.chunk.values(&mut buffers.rows)?;
        label(&centroids, rows, item.chunk.rows, &mut buffers.labels);
        evaluation.add_rows(&centroids, scale, seed, first, rows, &buffers.labels, &mut buffers.values);
        Ok(())
    })?)
}

async fn publish(
    store: &SplitStore,
    sink: &RowSink,
    splits: &[u32],
    context: &Context,
    centroids: &[f32],
    wanted: Wanted,
) -> Result<Partial, RunError> {
    let centroids = Centroids::new(context.pipeline.output_dimension(), centroids.to_vec());
    let mut published = Published::default();
    for split in splits {
        let offset = SplitStore::offset(context, *split);
        published.merge(sink.split(store.reader(), *split, offset, &context.pipeline, &centroids, wanted).await?);
        check_classes(&published.contingency)?;
        store.count_bytes();
    }
    Ok(Partial::Published(published))
}

/// Most classes of a label column.
const CLASSES: usize = 1 << 16;

/// Refuses a label column that identifies rows rather than classes them.
fn check_classes(contingency: &Contingency) -> Result<(), RunError> {
    if contingency.classes() <= CLASSES {
        return Ok(());
    }
    Err(RunError::data(format!(
        "spec.source.columns.label names a column with more than {CLASSES} different values; name a column of classes, or \
         leave label out"
    )))
}

/// Nearest centroid of each row.
pub(super) fn label(centroids: &Centroids, rows: &[f32], count: usize, labels: &mut Vec<u32>) {
    labels.clear();
    labels.resize(count, 0);
    assign(centroids, rows, labels);
}

/// Merges the accumulators of a worker's threads.
fn reduce(parts: Vec<Partial>) -> Result<Partial, RunError> {
    let mut parts = parts.into_iter();
    let mut merged = parts.next().ok_or_else(|| RunError::transient("no compute thread answered"))?;
    for part in parts {
        merged.merge(part)?;
    }
    Ok(merged)
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
