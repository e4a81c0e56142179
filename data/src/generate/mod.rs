//! Trying a clustering at scale needs data of any size whose answer is known. This makes seeded blobs: clusters with
//! known labels and some noise, straight to Parquet in any store.
//!
//! Every row is a pure function of the parameters and its number, so the data does not depend on how many objects it
//! is spread over, and any part can be made again. The normal variates are sums of twelve uniform ones (variance 1,
//! cut at 6 deviations): plain integer arithmetic, so the bits are the same on every machine and with every C library.

mod blobs;
mod upload;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{ArrayRef, FixedSizeListArray, Float32Array, Int32Array, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use futures::{StreamExt, TryStreamExt, stream};
use parquet::arrow::AsyncArrowWriter;
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use serde::{Deserialize, Serialize};

use crate::store::{Location, failure};
use crate::{Cause, DataError, block_rows};

pub use blobs::Blobs;
use upload::Upload;

/// Largest row group, in rows and in bytes of vectors; a writer holds one.
const GROUP_ROWS: usize = 64 << 10;
const GROUP_BYTES: usize = 32 << 20;

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generated {
    /// Rows in all objects.
    pub rows: u64,
    /// Number of objects.
    pub objects: u32,
    /// Bytes of all objects.
    pub bytes: u64,
}

/// Writes the blobs as `objects` Parquet objects below a prefix that holds none yet: columns `id` (int64, the row's
/// number), `vector` (fixed-size list of float32) and `label` (int32). Calls `progress` with the rows written so far.
/// Holds a few row groups of at most 32 MiB each.
///
/// # Errors
/// When a parameter is out of bounds, the prefix holds objects, or the store fails. An object that could not be
/// finished does not appear; those finished before remain.
pub async fn generate(
    target: &Location,
    blobs: &Blobs,
    objects: u32,
    progress: impl Fn(u64) + Send + Sync,
) -> Result<Generated, DataError> {
    blobs.check(target, objects)?;
    if let Some(found) = target.store.list(Some(&target.path)).next().await {
        match found {
            Ok(found) => {
                return Err(DataError::Exists {
                    uri: target.uri.clone(),
                    problem: format!("there are objects already, such as {}", found.location),
                    remedy: "choose another prefix, or remove them first".to_owned(),
                });
            }
            Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => return Err(failure(&target.uri, "listing objects", &error)),
        }
    }
    let centres: Arc<[f32]> = blobs.centres().into();
    let written = AtomicU64::new(0);
    let boundary = |object: u32| {
        u64::try_from(u128::from(blobs.rows) * u128::from(object) / u128::from(objects)).unwrap_or(blobs.rows)
    };
    let parallel = std::thread::available_parallelism().map_or(1, usize::from).min(4);
    let progress = |rows: u64| progress(written.fetch_add(rows, Ordering::Relaxed) + rows);
    let bytes: Vec<u64> = stream::iter(0..objects)
        .map(|object| {
            let name = format!("part-{object:05}.parquet");
            write_object(target, name, blobs, Arc::clone(&centres), boundary(object)..boundary(object + 1), &progress)
        })
        .buffer_unordered(parallel)
        .try_collect()
        .await?;
    Ok(Generated { rows: blobs.rows, objects, bytes: bytes.iter().sum() })
}

async fn write_object(
    target: &Location,
    name: String,
    blobs: &Blobs,
    centres: Arc<[f32]>,
    rows: std::ops::Range<u64>,
    progress: &(impl Fn(u64) + Send + Sync),
) -> Result<u64, DataError> {
    let path = target.path.clone().join(name.as_str());
    let schema = schema(blobs.dimension);
    let mut upload = Upload::new(target, &path);
    let result = async {
        let mut writer =
            AsyncArrowWriter::try_new(&mut upload, Arc::clone(&schema), Some(properties(blobs.dimension)))?;
        let step = block_rows(blobs.dimension) as u64;
        let mut first = rows.start;
        while first < rows.end {
            let count = step.min(rows.end - first);
            let (blobs, centres, schema) = (blobs.clone(), Arc::clone(&centres), Arc::clone(&schema));
            let batch = tokio::task::spawn_blocking(move || {
                batch(&blobs, &centres, schema, first, usize::try_from(count).unwrap_or(0))
            });
            writer.write(&batch.await.map_err(|error| ParquetError::External(error.into()))??).await?;
            first += count;
            progress(count);
        }
        writer.finish().await?;
        Ok::<u64, ParquetError>(writer.bytes_written() as u64)
    }
    .await;
    match result {
        Ok(bytes) => Ok(bytes),
        Err(error) => {
            upload.abandon().await;
            let uri = target.object_uri(&path);
            Err(upload.failure.take().unwrap_or_else(|| DataError::Unavailable {
                uri,
                action: "writing the object".to_owned(),
                remedy: "run again".to_owned(),
                source: Cause(error.to_string()),
            }))
        }
    }
}

fn schema(dimension: usize) -> SchemaRef {
    let item = Field::new("item", DataType::Float32, false);
    let width = i32::try_from(dimension).unwrap_or(i32::MAX);
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("vector", DataType::FixedSizeList(Arc::new(item), width), false),
        Field::new("label", DataType::Int32, false),
    ]))
}

fn properties(dimension: usize) -> WriterProperties {
    let rows = (GROUP_BYTES / 4 / dimension).clamp(1, GROUP_ROWS);
    // Random mantissas neither compress nor repeat, so trying costs time and saves nothing.
    WriterProperties::builder()
        .set_max_row_group_row_count(Some(rows))
        .set_dictionary_enabled(false)
        .set_column_dictionary_enabled(ColumnPath::from("label"), true)
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .build()
}

fn batch(
    blobs: &Blobs,
    centres: &[f32],
    schema: SchemaRef,
    first: u64,
    count: usize,
) -> Result<RecordBatch, ParquetError> {
    let blobs::Rows { values, labels } = blobs.make(centres, first, count);
    let ids = (first..first + count as u64).map(|id| i64::try_from(id).unwrap_or(i64::MAX));
    let item = Arc::new(Field::new("item", DataType::Float32, false));
    let width = i32::try_from(blobs.dimension).unwrap_or(i32::MAX);
    let vectors = FixedSizeListArray::try_new(item, width, Arc::new(Float32Array::from(values)), None)?;
    let columns: Vec<ArrayRef> =
        vec![Arc::new(Int64Array::from_iter_values(ids)), Arc::new(vectors), Arc::new(Int32Array::from(labels))];
    Ok(RecordBatch::try_new(schema, columns)?)
}
