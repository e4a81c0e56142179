//! A worker's share of a step: from the splits it holds to one merged partial.

use std::ops::Range;

use coterie_algorithms::{
    fixed::Scale,
    kmeans,
    lsh::{Collector, Deal},
};
use rayon::prelude::*;

use super::{
    hashing::{Hashing, Rows, Table},
    step::{Partial, Step},
};
use crate::{
    error::RunError,
    shard::store::SplitStore,
    training::{
        Context,
        compute::reduce,
        labels::{Given, stretches},
    },
};

/// A pass over `splits`, which are prepared, for `step`.
///
/// # Errors
/// When scratch fails or the lease is lost.
pub fn pass(step: &Step, splits: &[u32], store: &mut SplitStore) -> Result<Partial, RunError> {
    match step {
        Step::Buckets { context, hashing, deal, parts } => buckets(splits, store, context, *hashing, *deal, parts),
        Step::Sums { context, scale, labels, clusters } => sums(splits, store, context, scale, labels, *clusters),
    }
}

/// Rows and keys that all threads together hold before they sort them into buckets, and each at least: 4 MiB, and 64 KiB.
const HELD: usize = 1 << 18;
const LEAST_HELD: usize = 1 << 12;

fn buckets(
    splits: &[u32],
    store: &mut SplitStore,
    context: &Context,
    hashing: Hashing,
    deal: Deal,
    parts: &Range<u32>,
) -> Result<Partial, RunError> {
    let dimension = context.pipeline.output_dimension();
    let tables = deal.table(parts.start)..deal.table(parts.end.saturating_sub(1)) + 1;
    let tables: Vec<(u32, Table)> = tables.map(|table| (table, hashing.table(dimension, table))).collect();
    let room = (HELD / store.install(rayon::current_num_threads)).max(LEAST_HELD);
    let make = || (Collector::new(parts.len(), room), Vec::new());
    let collected = store.pass(splits, make, |(collector, keys), item, buffers| {
        let first = SplitStore::offset(context, item.split) + item.chunk.first;
        let rows = Rows::new(item.chunk.values(&mut buffers.rows)?, dimension);
        for (table, hashes) in &tables {
            hashes.keys(&rows, keys);
            // The machine refuses more rows than fit.
            for ((row, values), key) in (first as u32..).zip(rows.iter()).zip(&*keys) {
                let part = deal.part(*table, *key);
                if parts.contains(&part) && hashing.has_keys(values) {
                    collector.push((part - parts.start) as usize, *key, row);
                }
            }
        }
        Ok(())
    })?;
    let finished = collected.into_par_iter().map(|(collector, _)| Partial::Buckets(collector.finish()));
    reduce(store.install(|| finished.collect()))
}

fn sums(
    splits: &[u32],
    store: &mut SplitStore,
    context: &Context,
    scale: &Scale,
    labels: &Given,
    clusters: usize,
) -> Result<Partial, RunError> {
    let dimension = context.pipeline.output_dimension();
    let make = || kmeans::Partial::new(clusters, dimension);
    let parts = store.pass(splits, make, |sums, item, buffers| {
        let first = SplitStore::offset(context, item.split) + item.chunk.first;
        buffers.labels.clear();
        labels.read(first, item.chunk.rows, &mut buffers.labels)?;
        let rows = item.chunk.values(&mut buffers.rows)?;
        for stretch in stretches(&buffers.labels) {
            let rows = &rows[stretch.start * dimension..stretch.end * dimension];
            sums.add_rows_only(scale, rows, &buffers.labels[stretch]);
        }
        Ok(())
    })?;
    let mut sums = make();
    parts.iter().for_each(|part| sums.merge(part));
    Ok(Partial::Sums(sums))
}
