//! A worker's share of a k-means step: from the splits it holds to one merged partial.

use coterie_algorithms::{
    kmeans::{self, Centroids, Farthest, assign, init::Sample},
    random::{Purpose, hash},
};

use super::{
    lloyd::Lloyd,
    seeding::Seeding,
    step::{Partial, Step},
};
use crate::{error::RunError, shard::store::SplitStore, training::compute::reduce};

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
                    let add =
                        |sum: i128, distance2: &f32| sum + i128::from(scale.quantize_distance2(f64::from(*distance2)));
                    let (distances, _) = seeding.nearest(item.chunk, buffers)?;
                    *potential = distances.iter().fold(*potential, add);
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
                let (distances, _) = seeding.nearest(chunk, buffers)?;
                let drawn = |(at, distance2): (usize, &f32)| {
                    let ordinal = first + at as u64;
                    kmeans::init::draw(*seed, *draw, ordinal, *distance2, *total, *oversampling).then_some(at)
                };
                let picks: Vec<usize> = distances.iter().enumerate().filter_map(drawn).collect();
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
        Step::Weigh { context, round, candidates } => {
            let seeding = Seeding::new(context, *round, candidates);
            let make = || Partial::Weights(vec![0; seeding.candidates()]);
            reduce(store.pass(splits, make, |partial, item, buffers| {
                let Partial::Weights(weights) = partial else { return Ok(()) };
                let (_, owners) = seeding.nearest(item.chunk, buffers)?;
                owners.iter().for_each(|&owner| weights[owner as usize] += 1);
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
