//! The splits a worker holds. A split is loaded from the source the first time a step needs it, whatever the step: a
//! worker that takes over in mid-run catches up by itself.

use std::{collections::BTreeMap, sync::Arc};

use coterie_algorithms::features::Pipeline;
use coterie_data::{Want, plan::InputPlan, reader::Reader};
use futures::{StreamExt, TryStreamExt};

use super::{
    Threads, Vitals,
    pass::{Item, fold},
    rows::{Builder, Chunk, Space, Tag},
};
use crate::{error::RunError, training::Context};

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
        self.held.retain(|split, _| splits.contains(split));
    }

    /// Makes sure the splits' source rows are here, as they were read.
    ///
    /// # Errors
    /// When the source cannot be read or holds what it must not.
    pub async fn load(&mut self, splits: &[u32]) -> Result<(), RunError> {
        self.held.retain(|split, held| held.pipeline.is_none() || !splits.contains(split));
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
        tokio::task::block_in_place(|| self.transform(&missing, pipeline, |_: &mut (), _, _| {}).map(drop))
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
        let passed = self.pass(splits, A::default, |accumulator, item, buffers| {
            let rows = item.chunk.values(&mut buffers.rows)?;
            pipeline.apply(rows, &mut buffers.values);
            see(accumulator, Seen { split: item.split, first: item.chunk.first, rows }, &buffers.values);
            item.chunk.replace(&buffers.values)
        });
        if passed.is_err() {
            // Some chunks went through the pipeline and some did not: none of them is what it seems to be.
            self.held.retain(|split, _| !splits.contains(split));
        }
        let accumulators = passed?;
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
        work: impl Fn(&mut A, Item<'_>, &mut super::pass::Buffers) -> Result<(), RunError> + Sync,
    ) -> Result<Vec<A>, RunError> {
        let mut items = Vec::new();
        for (split, held) in &mut self.held {
            if splits.contains(split) {
                items.extend(held.chunks.iter_mut().map(|chunk| Item { split: *split, chunk }));
            }
        }
        fold(&self.threads, &self.vitals, items, make, work)
    }

    /// Whether all chunks of the given splits are here and carry notes with this tag.
    #[must_use]
    pub fn noted(&self, splits: &[u32], tag: Tag) -> bool {
        let carries = |held: &Held| held.chunks.iter().all(|chunk| chunk.noted() == Some(tag));
        splits.iter().all(|split| self.held.get(split).is_some_and(carries))
    }

    /// Counts bytes that were read through [`reader`](Self::reader).
    pub fn count_bytes(&self) {
        self.vitals.read_so_far(self.reader.bytes_read());
    }

    /// Runs `work` on the worker's threads.
    pub fn install<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.threads.0.install(work)
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
        let Self { plan, reader, space, vitals, held, .. } = self;
        let loads = missing.into_iter().map(|split| {
            let load = load(reader, split, plan.dimension, space, vitals);
            async move { load.await.map(|held| (split, held)).map_err(|error| error.of_split(split)) }
        });
        let mut loads = std::pin::pin!(futures::stream::iter(loads).buffer_unordered(self.loading));
        // What has been loaded stays, whatever becomes of the others.
        while let Some((split, loaded)) = loads.try_next().await? {
            held.insert(split, loaded);
        }
        Ok(())
    }
}

async fn load(reader: &Reader, split: u32, dimension: usize, space: &Space, vitals: &Vitals) -> Result<Held, RunError> {
    let mut builder = Builder::new(dimension);
    let mut dropped = 0;
    let mut blocks = std::pin::pin!(reader.read(split, Want::default()));
    while let Some(block) = blocks.next().await {
        let block = block?;
        vitals.check()?;
        builder.push(&block.values, space)?;
        dropped += block.dropped;
        vitals.read_so_far(reader.bytes_read());
    }
    Ok(Held { chunks: builder.finish(space)?, dropped, pipeline: None })
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

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::atomic::Ordering;

    use coterie_algorithms::features::Transform;
    use coterie_crds::resolved::{Columns, InvalidRows, Source, Store};

    use super::*;

    /// A store over 100 rows of three columns, as one NPY file.
    pub(crate) async fn store(directory: &std::path::Path) -> SplitStore {
        let mut bytes =
            b"\x93NUMPY\x01\x00\x76\x00{'descr': '<f4', 'fortran_order': False, 'shape': (100, 3), }".to_vec();
        bytes.resize(127, b' ');
        bytes.push(b'\n');
        bytes.extend((0..300u16).flat_map(|value| f32::from(value).to_le_bytes()));
        std::fs::write(directory.join("rows.npy"), bytes).unwrap();
        let source = Source {
            uri: directory.display().to_string(),
            format: None,
            columns: Columns::default(),
            store: Store::default(),
            invalid_rows: InvalidRows::Fail,
        };
        let plan = Arc::new(coterie_data::plan::plan(&source).await.unwrap());
        let reader = Reader::open(&source, Arc::clone(&plan)).unwrap();
        let space = Space::new(1 << 20, directory).unwrap();
        SplitStore::new(plan, reader, space, Threads::new(2).unwrap(), 2)
    }

    fn values(store: &mut SplitStore) -> Vec<f32> {
        let parts = store.pass(&[0], Vec::new, |all: &mut Vec<f32>, item, buffers| {
            all.extend_from_slice(item.chunk.values(&mut buffers.rows)?);
            Ok(())
        });
        parts.unwrap().concat()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_transform_that_was_cut_short_is_not_applied_twice() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = store(directory.path()).await;
        let mut pipeline = Pipeline::new(3);
        pipeline.push(Transform::Center { mean: vec![1.0, 10.0, 100.0] });
        let expected: Vec<f32> =
            (0..300u16).map(|at| f32::from(at) - [1.0, 10.0, 100.0][usize::from(at) % 3]).collect();

        // The lease is lost after the rows were transformed and before the pass ends.
        store.load(&[0]).await.unwrap();
        let vitals = Arc::clone(&store.vitals);
        let lost = store.transform(&[0], &pipeline, |_: &mut (), _, _| vitals.abandoned.store(true, Ordering::Relaxed));
        assert!(lost.is_ok(), "one chunk: nothing was left to do");
        store.held.get_mut(&0).unwrap().pipeline = None;
        let lost = store.transform(&[0], &pipeline, |_: &mut (), _, _| {});
        assert!(lost.is_err());

        store.watch(Arc::default());
        store.prepare(&[0], &pipeline).await.unwrap();
        assert_eq!(values(&mut store), expected);
        // Once more changes nothing, and the source rows can be had again.
        store.prepare(&[0], &pipeline).await.unwrap();
        assert_eq!(values(&mut store), expected);
        store.load(&[0]).await.unwrap();
        assert_eq!(values(&mut store)[..4], [0.0, 1.0, 2.0, 3.0]);
        assert_eq!(store.counts(0), Some((100, 0)));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn notes_are_kept_until_the_rows_change() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = store(directory.path()).await;
        let tag = Tag { subject: 1, progress: 2 };
        assert!(!store.noted(&[0], tag));
        store.load(&[0]).await.unwrap();
        store.pass(&[0], || (), |(), item, _| item.chunk.note(tag, &vec![0.5; item.chunk.rows])).unwrap();
        assert!(store.noted(&[0], tag));
        assert!(!store.noted(&[0], Tag { progress: 3, ..tag }));
        store.retain(&[]);
        assert!(!store.noted(&[0], tag));
    }
}
