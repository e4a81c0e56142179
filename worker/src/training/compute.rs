//! A worker's share of a step: from the splits it holds to one merged partial.

use coterie_algorithms::{
    distinct::Distinct,
    features::Moments,
    kmeans::{Centroids, init::Sample},
    lsh::NOISE,
    score::Contingency,
};
use xxhash_rust::xxh3::xxh3_128_with_seed;

use super::{
    evaluation::{Evaluation, Measures},
    labels::{Labels, stretches},
    sampling::{self, Draw},
    step::{Context, Measured, Partial, Prepared, Published, Scanned, Step, Wanted, lower, raise},
};
use crate::{
    error::RunError,
    kmeans::{self, lloyd::Lloyd},
    lsh,
    machine::Merge,
    publish::rows::{Clusters, RowSink},
    shard::store::{Seen, SplitStore},
};

/// Processes `splits` for `step`; `lloyd` remembers what earlier passes of k-means found.
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
    let context = match step {
        Step::Scan | Step::Moments { .. } | Step::Prepare { .. } => None,
        Step::Publish { context, centroids, labels, wanted } => {
            return publish(store, sink, splits, context, (centroids, labels), *wanted).await;
        }
        Step::KMeans(step) => Some(step.context()),
        Step::Lsh(step) => Some(step.context()),
        Step::Evaluate { context, .. } | Step::Sample { context, .. } => Some(context),
    };
    match context {
        None => store.load(splits).await?,
        Some(context) => store.prepare(splits, &context.pipeline).await?,
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
        Step::KMeans(step) => kmeans::compute::pass(step, splits, store, lloyd).map(Partial::KMeans),
        Step::Lsh(step) => lsh::compute::pass(step, splits, store).map(Partial::Lsh),
        Step::Evaluate { context, scale, centroids, labels, metric, seed, sample, draw } => {
            let centroids = Centroids::new(context.pipeline.output_dimension(), centroids.clone());
            let measures = Measures { centroids: &centroids, scale, metric: *metric, seed: *seed, draw: *draw };
            evaluate(splits, store, context, &measures, labels, *sample)
        }
        Step::Sample { context, centroids, labels, seed, sample, draw } => {
            let centroids = Centroids::new(context.pipeline.output_dimension(), centroids.clone());
            sampled(splits, store, context, (&centroids, labels), (*seed, *draw), *sample)
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
    measures: &Measures<'_>,
    labels: &Labels,
    sample: usize,
) -> Result<Partial, RunError> {
    let (centroids, dimension) = (measures.centroids, measures.centroids.dimension());
    let make = || Partial::Evaluation(Box::new(Evaluation::new(centroids.len(), centroids.dimension(), sample)));
    reduce(store.pass(splits, make, |partial, item, buffers| {
        let Partial::Evaluation(evaluation) = partial else { return Ok(()) };
        let first = SplitStore::offset(context, item.split) + item.chunk.first;
        let rows = item.chunk.values(&mut buffers.rows)?;
        labels.of(centroids, first, rows, &mut buffers.labels)?;
        for stretch in stretches(&buffers.labels) {
            let first = first + stretch.start as u64;
            let rows = &rows[stretch.start * dimension..stretch.end * dimension];
            let labels = &buffers.labels[stretch];
            evaluation.add_rows(measures, first, rows, labels, &mut buffers.values);
        }
        Ok(())
    })?)
}

fn sampled(
    splits: &[u32],
    store: &mut SplitStore,
    context: &Context,
    (centroids, labels): (&Centroids, &Labels),
    (seed, draw): (u64, Draw),
    rows: usize,
) -> Result<Partial, RunError> {
    let dimension = centroids.dimension();
    let make = || Partial::Sampled(Sample::new(rows, dimension + 1));
    reduce(store.pass(splits, make, |partial, item, buffers| {
        let Partial::Sampled(sample) = partial else { return Ok(()) };
        let first = SplitStore::offset(context, item.split) + item.chunk.first;
        let keys = (0..item.chunk.rows).filter_map(|at| Some((at, draw.key(seed, first + at as u64)?)));
        let met: Vec<(usize, u64)> = keys.collect();
        if met.is_empty() {
            // Most chunks need not be read.
            return Ok(());
        }
        let rows = item.chunk.values(&mut buffers.rows)?;
        for (at, key) in met {
            let ordinal = first + at as u64;
            let row = &rows[at * dimension..][..dimension];
            labels.of(centroids, ordinal, row, &mut buffers.labels)?;
            if let &[label] = &buffers.labels[..]
                && label != NOISE
            {
                sampling::offer(sample, (key, ordinal), row, label, &mut buffers.values);
            }
        }
        Ok(())
    })?)
}

async fn publish(
    store: &SplitStore,
    sink: &RowSink,
    splits: &[u32],
    context: &Context,
    (centroids, labels): (&[f32], &Labels),
    wanted: Wanted,
) -> Result<Partial, RunError> {
    let centroids = Centroids::new(context.pipeline.output_dimension(), centroids.to_vec());
    let clusters = Clusters::new(&centroids, labels);
    let mut published = Published::default();
    for split in splits {
        let offset = SplitStore::offset(context, *split);
        published.merge(sink.split(store.reader(), *split, offset, &context.pipeline, &clusters, wanted).await?);
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

/// Merges the accumulators of a worker's threads.
///
/// # Errors
/// When there is none.
pub(crate) fn reduce<P: Merge>(parts: Vec<P>) -> Result<P, RunError> {
    let mut parts = parts.into_iter();
    let mut merged = parts.next().ok_or_else(|| RunError::transient("no compute thread answered"))?;
    for part in parts {
        merged.merge(part)?;
    }
    Ok(merged)
}
