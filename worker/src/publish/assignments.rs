//! Each row's cluster, written as one Parquet object per split.
//!
//! A split's object depends on the split and the model only, so a split that is processed twice writes the same bytes.

use std::{collections::BTreeSet, sync::Arc};

use arrow::{
    array::{ArrayRef, Float32Array, Int32Array, Int64Array, RecordBatch, StringArray},
    datatypes::{DataType, Field, Schema},
};
use coterie_algorithms::{
    features::Pipeline,
    kmeans::{self, Centroids, assign},
    metric::Metric,
    score::Contingency,
};
use coterie_data::{
    Block, Ids, Want,
    reader::Reader,
    store::{Location, failure},
};
use futures::{StreamExt, TryStreamExt};
use object_store::{ObjectStore, ObjectStoreExt, buffered::BufWriter};
use parquet::{
    arrow::AsyncArrowWriter,
    basic::{Compression, ZstdLevel},
    file::properties::WriterProperties,
};

use crate::error::{RunError, chain};

/// Where assignments go, and what the rows' identifiers are called.
#[derive(Clone, Debug)]
pub struct AssignmentSink {
    /// The output and the version's directory below it; `None` when there is no output.
    pub location: Option<Location>,
    /// Name of the id column in the output.
    pub id_name: String,
    /// Distance written.
    pub metric: Metric,
}

/// Name of a split's object.
#[must_use]
pub fn part_name(split: u32) -> String {
    format!("part-{split:05}.parquet")
}

/// Removes all objects of a version's assignments but those named.
///
/// # Errors
/// When the store fails.
pub async fn sweep(location: &Location, keep: &BTreeSet<String>) -> Result<(), RunError> {
    let failed =
        |error: &object_store::Error| RunError::from(failure(&location.uri, "removing old assignments", error));
    let listed: Result<Vec<_>, _> = location.store.list(Some(&location.path)).try_collect().await;
    let listed = match listed {
        Ok(listed) => listed,
        Err(object_store::Error::NotFound { .. }) => return Ok(()),
        Err(error) => return Err(failed(&error)),
    };
    for object in listed {
        let kept = object.location.filename().is_some_and(|name| keep.contains(name));
        if !kept {
            location.store.delete(&object.location).await.map_err(|error| failed(&error))?;
        }
    }
    Ok(())
}

impl AssignmentSink {
    /// Reads a split again; writes its rows' clusters if `assignments`, counts its classes if `labels`.
    ///
    /// # Errors
    /// When the source cannot be read or the output cannot be written.
    #[allow(clippy::too_many_arguments)]
    pub async fn split(
        &self,
        reader: &Reader,
        split: u32,
        offset: u64,
        pipeline: &Pipeline,
        centroids: &Centroids,
        assignments: bool,
        labels: bool,
    ) -> Result<Contingency, RunError> {
        let mut contingency = Contingency::default();
        let mut writer: Option<AsyncArrowWriter<BufWriter>> = None;
        let mut ordinal = offset;
        let mut blocks = std::pin::pin!(reader.read(split, Want { ids: assignments, labels }));
        let (mut transformed, mut found) = (Vec::new(), Vec::new());
        while let Some(block) = blocks.next().await {
            let block = block?;
            tokio::task::block_in_place(|| {
                pipeline.apply(&block.values, &mut transformed);
                found.clear();
                found.resize(block.rows, 0);
                assign(centroids, &transformed, &mut found);
            });
            for (class, cluster) in block.labels.iter().flatten().zip(&found) {
                contingency.add(class, *cluster);
            }
            if assignments && block.rows > 0 {
                let batch = self.batch(&block, ordinal, &transformed, &found, centroids)?;
                let open = match &mut writer {
                    Some(open) => open,
                    None => writer.insert(self.open(split, &batch)?),
                };
                open.write(&batch).await.map_err(|error| self.failed(split, &error))?;
            }
            ordinal += block.rows as u64;
        }
        if let Some(writer) = writer {
            writer.close().await.map_err(|error| self.failed(split, &error))?;
        }
        Ok(contingency)
    }

    fn open(&self, split: u32, batch: &RecordBatch) -> Result<AsyncArrowWriter<BufWriter>, RunError> {
        let location =
            self.location.as_ref().ok_or_else(|| RunError::spec("spec.output.assignments needs spec.output.uri"))?;
        let path = location.path.clone().join(part_name(split));
        let buffer = BufWriter::new(Arc::clone(&location.store), path);
        let level = ZstdLevel::try_new(1).map_err(|error| self.failed(split, &error))?;
        let properties = WriterProperties::builder().set_compression(Compression::ZSTD(level)).build();
        AsyncArrowWriter::try_new(buffer, batch.schema(), Some(properties)).map_err(|error| self.failed(split, &error))
    }

    fn batch(
        &self,
        block: &Block,
        ordinal: u64,
        rows: &[f32],
        labels: &[u32],
        centroids: &Centroids,
    ) -> Result<RecordBatch, RunError> {
        let ids: ArrayRef = match &block.ids {
            Some(Ids::Int(ids)) => Arc::new(Int64Array::from(ids.clone())),
            Some(Ids::Text(ids)) => Arc::new(StringArray::from_iter_values(ids)),
            None => Arc::new(Int64Array::from_iter_values((ordinal..).take(block.rows).map(|row| row as i64))),
        };
        let distances = rows.chunks_exact(centroids.dimension()).zip(labels).map(|(row, label)| {
            let squared = kmeans::squared_distance(row, centroids.row(*label as usize));
            match self.metric {
                Metric::Euclidean => squared.sqrt() as f32,
                // Of unit vectors: |a - b|^2 = 2 (1 - cos).
                Metric::Cosine => (squared / 2.0) as f32,
            }
        });
        let schema = Schema::new(vec![
            Field::new(&self.id_name, ids.data_type().clone(), false),
            Field::new("cluster", DataType::Int32, false),
            Field::new("distance", DataType::Float32, false),
        ]);
        let clusters = Int32Array::from_iter_values(labels.iter().map(|label| *label as i32));
        let distances = Float32Array::from_iter_values(distances);
        RecordBatch::try_new(Arc::new(schema), vec![ids, Arc::new(clusters), Arc::new(distances)])
            .map_err(|error| RunError::transient(format!("assignments: {error}")))
    }

    fn failed(&self, split: u32, error: &dyn std::error::Error) -> RunError {
        let uri = self.location.as_ref().map_or("", |location| location.uri.as_str());
        RunError::transient(format!("writing assignments of split {split} to {uri}: {}", chain(error)))
    }
}
