//! A worker's Lloyd passes. Most rows keep their cluster from one pass to the next, and mostly that can be proved from
//! bounds without looking at the row: a pass then touches only the rows that may have moved, and the sums follow the few
//! that have. Exact: labels and sums are those of a pass over all rows.

use coterie_algorithms::{
    fixed::Scale,
    kmeans::{Centroids, Delta, Partial, PruneBuffers, Pruner, RowBounds},
};

use super::compute::label;
use crate::{
    error::RunError,
    shard::{rows::Tag, store::SplitStore},
};

/// Least k x d for which bounds (see [`Pruner::stride`]) cost less than looking at every row: a pass over rows is fast.
const WORTH_BOUNDS: usize = 8192;
/// Subject of the notes that hold bounds.
const BOUNDS: u64 = 1 << 62;

/// What a worker remembers between passes.
#[derive(Debug, Default)]
pub struct Lloyd {
    passes: u64,
    last: Option<Last>,
}

/// The last pass over a set of splits.
#[derive(Debug)]
struct Last {
    tag: Tag,
    splits: Vec<u32>,
    /// The pass that left the rows' bounds.
    pruner: Pruner,
    sums: Partial,
}

/// One thread's buffers: bounds of a chunk (labels, upper, lower two to a word), rows that may have moved, rows that have.
#[derive(Default)]
struct Buffers {
    bounds: Vec<f32>,
    survivors: Vec<u32>,
    changes: Vec<(u32, u32)>,
    prune: PruneBuffers,
}

impl Lloyd {
    /// Labels the rows of the splits and sums them per cluster. The sums' inertia is 0: it follows from the sums.
    ///
    /// # Errors
    /// When scratch fails or the lease is lost.
    pub fn assign(
        &mut self,
        splits: &[u32],
        store: &mut SplitStore,
        scale: &Scale,
        centroids: Centroids,
    ) -> Result<Partial, RunError> {
        // Taken: a pass that fails half-way leaves nothing to build upon.
        let last = self.last.take().filter(|last| last.splits == splits && store.noted(splits, last.tag));
        let rows: u64 = splits.iter().filter_map(|split| store.counts(*split)).map(|(rows, _)| rows).sum();
        if centroids.len() * centroids.dimension() < WORTH_BOUNDS || !Pruner::pays(rows, centroids.len()) {
            return plain(splits, store, scale, &centroids);
        }
        self.passes += 1;
        let tag = Tag { subject: BOUNDS, progress: self.passes };
        let pruner = store.install(|| Pruner::new(centroids, last.as_ref().map(|last| &last.pruner)));
        let sums = match last {
            Some(last) => follow(splits, store, scale, &pruner, last, tag)?,
            None => start(splits, store, scale, &pruner, tag)?,
        };
        self.last = Some(Last { tag, splits: splits.to_vec(), pruner, sums: sums.clone() });
        Ok(sums)
    }
}

/// A pass without memory.
fn plain(splits: &[u32], store: &mut SplitStore, scale: &Scale, centroids: &Centroids) -> Result<Partial, RunError> {
    let make = || Partial::new(centroids.len(), centroids.dimension());
    let parts = store.pass(splits, make, |sums, item, buffers| {
        let rows = item.chunk.values(&mut buffers.rows)?;
        label(centroids, rows, item.chunk.rows, &mut buffers.labels);
        sums.add_rows_only(scale, rows, &buffers.labels);
        Ok(())
    })?;
    Ok(merged(parts, make()))
}

/// The first pass with memory: over all rows.
fn start(
    splits: &[u32],
    store: &mut SplitStore,
    scale: &Scale,
    pruner: &Pruner,
    tag: Tag,
) -> Result<Partial, RunError> {
    let (k, d) = (pruner.centroids().len(), pruner.centroids().dimension());
    let stride = Pruner::stride(k, d);
    let make = || (Partial::new(k, d), Buffers::default());
    let parts = store.pass(splits, make, |(sums, mine), item, buffers| {
        let count = item.chunk.rows;
        let rows = item.chunk.values(&mut buffers.rows)?;
        mine.bounds.clear();
        mine.bounds.resize((2 + stride / 2) * count, 0.0);
        let mut bounds = view(&mut mine.bounds, count);
        pruner.fresh(rows, &mut bounds, &mut mine.prune);
        sums.add_rows_only(scale, rows, bounds.labels);
        item.chunk.note(tag, &mine.bounds)
    })?;
    Ok(merged(parts.into_iter().map(|(sums, _)| sums), Partial::new(k, d)))
}

/// A pass that follows the last one.
fn follow(
    splits: &[u32],
    store: &mut SplitStore,
    scale: &Scale,
    pruner: &Pruner,
    last: Last,
    tag: Tag,
) -> Result<Partial, RunError> {
    let (k, d) = (pruner.centroids().len(), pruner.centroids().dimension());
    let make = || (Delta::new(k, d), Buffers::default());
    let parts = store.pass(splits, make, |(delta, mine), item, buffers| {
        let count = item.chunk.rows;
        item.chunk.recall(&mut mine.bounds)?;
        let mut bounds = view(&mut mine.bounds, count);
        mine.survivors.clear();
        pruner.drift(&mut bounds, &mut mine.survivors);
        if !mine.survivors.is_empty() {
            let rows = item.chunk.values(&mut buffers.rows)?;
            mine.changes.clear();
            pruner.settle(rows, &mut bounds, &mine.survivors, &mut mine.changes, &mut mine.prune);
            delta.move_rows(scale, rows, &mine.changes, bounds.labels);
        }
        item.chunk.note(tag, &mine.bounds)
    })?;
    let mut sums = last.sums;
    for (delta, _) in &parts {
        delta.apply(&mut sums);
    }
    Ok(sums)
}

/// A chunk's notes as labels, upper and lower bounds. There is an even number of lower bounds per row.
fn view(notes: &mut [f32], count: usize) -> RowBounds<'_> {
    let (labels, distances) = notes.split_at_mut(count);
    let (upper, lower) = distances.split_at_mut(count);
    RowBounds { labels: bytemuck::cast_slice_mut(labels), upper, lower: bytemuck::cast_slice_mut(lower) }
}

fn merged(parts: impl IntoIterator<Item = Partial>, mut sums: Partial) -> Partial {
    for part in parts {
        sums.merge(&part);
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::store::tests::store;

    /// Centroids that move a little, jump, coincide, and come to rest.
    fn centroids(pass: u16) -> Centroids {
        let step = if pass > 8 { 8 } else { pass };
        let row = |k: u16| {
            let at = f32::from(k * 67 % 300) + f32::from(step) * if step == 5 { 40.0 } else { 1.5 };
            [at, at + 1.0, at + 2.0 - f32::from(step)]
        };
        let mut values: Vec<f32> = (0..6).flat_map(row).collect();
        values.extend(row(0));
        Centroids::new(3, values)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn following_passes_give_the_sums_of_plain_ones() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = store(directory.path()).await;
        store.load(&[0]).await.unwrap();
        let scale = Scale::new(&[300.0; 3], 100);
        tokio::task::block_in_place(|| {
            let mut last: Option<Last> = None;
            for pass in 0..12 {
                let tag = Tag { subject: BOUNDS, progress: u64::from(pass) + 1 };
                let expected = plain(&[0], &mut store, &scale, &centroids(pass)).unwrap();
                assert_eq!(expected.rows(), 100);
                let pruner = Pruner::new(centroids(pass), last.as_ref().map(|last| &last.pruner));
                let sums = match last.take() {
                    Some(last) => {
                        assert!(store.noted(&[0], last.tag));
                        follow(&[0], &mut store, &scale, &pruner, last, tag).unwrap()
                    }
                    None => start(&[0], &mut store, &scale, &pruner, tag).unwrap(),
                };
                assert_eq!(sums, expected, "pass {pass}");
                last = Some(Last { tag, splits: vec![0], pruner, sums });
            }
        });
    }
}
