//! The splits a worker holds. A split is loaded from the source the first time a step needs it, whatever the step: a
//! worker that takes over in mid-run catches up by itself.

use std::{collections::BTreeMap, sync::Arc};

use coterie_algorithms::features::Pipeline;
use coterie_data::{Want, plan::InputPlan, reader::Reader};
use futures::{StreamExt, TryStreamExt};

use super::{
    Threads, Vitals,
    pass::{Item, fold},
    rows::{Builder, Chunk, Space, free},
};
use crate::{error::RunError, kmeans::step::Context};

/// One split's rows.
#[derive(Debug)]
struct Held {
    chunks: Vec<Chunk>,
    dropped: u64,
    /// The pipeline the rows went through; `None` while they are the source's.
    pipeline: Option<Pipeline>,
}

impl Held {
    fn rows(&self) -> u64 {
        self.chunks.iter().map(|chunk| chunk.rows as u64).sum()
    }
}

/// The splits of one worker.
#[derive(Debug)]
pub struct SplitStore {
    plan: Arc<InputPlan>,
    reader: Reader,
    space: Space,
    threads: Threads,
    vitals: Arc<Vitals>,
    held: BTreeMap<u32, Held>,
    loading: usize,
}

impl SplitStore {
    /// An empty store over a plan; `loading` splits are loaded at a time.
    #[must_use]
    pub fn new(plan: Arc<InputPlan>, reader: Reader, space: Space, threads: Threads, loading: usize) -> Self {
        let vitals = Arc::default();
        Self { plan, reader, space, threads, vitals, held: BTreeMap::new(), loading: loading.max(1) }
    }

    /// Counts into, and heeds, the vitals of the current registration.
    pub fn watch(&mut self, vitals: Arc<Vitals>) {
        vitals.begin(self.reader.bytes_read());
        self.vitals = vitals;
    }

    /// The plan its splits come from.
    #[must_use]
    pub fn plan(&self) -> &InputPlan {
        &self.plan
    }

    /// Columns of the source.
    #[must_use]
    pub fn dimension(&self) -> usize {
        self.plan.dimension
    }

    /// The source, for what is not kept.
    #[must_use]
    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    /// Forgets splits that are no longer this worker's.
    pub fn retain(&mut self, splits: &[u32]) {
        let space = &self.space;
        self.held.retain(|split, held| {
            let keep = splits.contains(split);
            if !keep {
                free(&held.chunks, space);
            }
            keep
        });
    }

    /// Makes sure the splits' source rows are here, as they were read.
    ///
    /// # Errors
    /// When the source cannot be read or holds what it must not.
    pub async fn load(&mut self, splits: &[u32]) -> Result<(), RunError> {
        let stale: Vec<u32> = splits
            .iter()
            .copied()
            .filter(|split| self.held.get(split).is_some_and(|held| held.pipeline.is_some()))
            .collect();
        for split in stale {
            if let Some(held) = self.held.remove(&split) {
                free(&held.chunks, &self.space);
            }
        }
        self.fetch(splits).await
    }

    /// Makes sure the splits' rows are here and went through the pipeline.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub async fn prepare(&mut self, splits: &[u32], pipeline: &Pipeline) -> Result<(), RunError> {
        let ready = |held: Option<&Held>| held.is_some_and(|held| held.pipeline.as_ref() == Some(pipeline));
        let missing: Vec<u32> = splits.iter().copied().filter(|split| !ready(self.held.get(split))).collect();
        if missing.is_empty() {
            return Ok(());
        }
        self.load(&missing).await?;
        self.transform(&missing, pipeline, |_: &mut (), _, _| {}).map(drop)
    }

    /// Puts the pipeline's output in place of the source rows; `see` is shown both (source rows, transformed rows).
    ///
    /// # Errors
    /// When scratch fails.
    pub fn transform<A: Send + Default>(
        &mut self,
        splits: &[u32],
        pipeline: &Pipeline,
        see: impl Fn(&mut A, Seen<'_>, &[f32]) + Sync,
    ) -> Result<Vec<A>, RunError> {
        let accumulators = self.pass(splits, A::default, |accumulator, item, space, buffers| {
            let rows = item.chunk.values(space, &mut buffers.rows)?;
            pipeline.apply(rows, &mut buffers.values);
            see(accumulator, Seen { split: item.split, first: item.chunk.first, rows }, &buffers.values);
            item.chunk.replace(&buffers.values, space)
        })?;
        for split in splits {
            if let Some(held) = self.held.get_mut(split) {
                held.pipeline = Some(pipeline.clone());
            }
        }
        Ok(accumulators)
    }

    /// A pass over the chunks of the given splits.
    ///
    /// # Errors
    /// The first error of `work`.
    pub fn pass<A: Send>(
        &mut self,
        splits: &[u32],
        make: impl Fn() -> A + Sync,
        work: impl Fn(&mut A, Item<'_>, &Space, &mut super::pass::Buffers) -> Result<(), RunError> + Sync,
    ) -> Result<Vec<A>, RunError> {
        let mut items = Vec::new();
        for (split, held) in &mut self.held {
            if splits.contains(split) {
                items.extend(held.chunks.iter_mut().map(|chunk| Item { split: *split, chunk }));
            }
        }
        fold(&self.threads, &self.vitals, &self.space, items, make, work)
    }

    /// Kept and dropped rows of a split that is here.
    #[must_use]
    pub fn counts(&self, split: u32) -> Option<(u64, u64)> {
        self.held.get(&split).map(|held| (held.rows(), held.dropped))
    }

    /// Ordinal of a split's first row.
    #[must_use]
    pub fn offset(context: &Context, split: u32) -> u64 {
        context.offsets.get(split as usize).copied().unwrap_or(0)
    }

    async fn fetch(&mut self, splits: &[u32]) -> Result<(), RunError> {
        let missing: Vec<u32> = splits.iter().copied().filter(|split| !self.held.contains_key(split)).collect();
        let (space, reader, vitals, dimension) = (&self.space, &self.reader, &self.vitals, self.plan.dimension);
        let loads = missing.into_iter().map(|split| async move {
            let mut builder = Builder::new(dimension);
            let mut dropped = 0;
            let filled = async {
                let mut blocks = std::pin::pin!(reader.read(split, Want::default()));
                while let Some(block) = blocks.next().await {
                    let block = block?;
                    vitals.check()?;
                    builder.push(&block.values, space)?;
                    dropped += block.dropped;
                    vitals.read_so_far(reader.bytes_read());
                }
                Ok::<_, RunError>(())
            };
            let filled = filled.await;
            let chunks = builder.finish(space);
            match (filled, chunks) {
                (Ok(()), Ok(chunks)) => Ok((split, Held { chunks, dropped, pipeline: None })),
                (Err(error), Ok(chunks)) => {
                    free(&chunks, space);
                    Err(error)
                }
                (_, Err(error)) => Err(error),
            }
        });
        let loaded: Vec<(u32, Held)> =
            futures::stream::iter(loads).buffer_unordered(self.loading).try_collect().await?;
        self.held.extend(loaded);
        Ok(())
    }
}

/// Source rows shown during [`SplitStore::transform`].
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// Index of the split.
    pub split: u32,
    /// Position of the first row within the split.
    pub first: u64,
    /// The source rows.
    pub rows: &'a [f32],
}
