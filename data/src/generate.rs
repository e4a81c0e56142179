//! Trying a clustering at scale needs data of any size whose answer is known. This makes seeded blobs: clusters with
//! known labels and some noise, straight to Parquet in any store.
//!
//! Every row is a pure function of the parameters and its number, so the data does not depend on how many objects it
//! is spread over, and any part can be made again. The normal variates are sums of twelve uniform ones (variance 1,
//! cut at 6 deviations): plain integer arithmetic, so the bits are the same on every machine and with every C library.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{ArrayRef, FixedSizeListArray, Float32Array, Int32Array, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use futures::{StreamExt, TryStreamExt, stream};
use object_store::buffered::BufWriter;
use object_store::path::Path;
use parquet::arrow::AsyncArrowWriter;
use parquet::arrow::async_writer::AsyncFileWriter;
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt;

use crate::store::{Location, failure};
use crate::{Cause, DataError, block_rows, limits};

/// Largest row group, in rows and in bytes of vectors; a writer holds one.
const GROUP_ROWS: usize = 64 << 10;
const GROUP_BYTES: usize = 32 << 20;
/// Bytes of one part of an upload.
const PART: usize = 8 << 20;
/// Half the edge of the cube that holds the blobs' centres.
const EXTENT: f64 = 10.0;
/// Streams of random numbers: rows take theirs by number, the centres one that no row has.
const CENTRES: u64 = u64::MAX;

/// Gaussian blobs around centres drawn uniformly, and some uniform noise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Blobs {
    /// Number of rows, n.
    pub rows: u64,
    /// Number of features, d.
    pub dimension: usize,
    /// Number of blobs, k.
    pub clusters: usize,
    /// Share of the rows that belong to no blob, 0 to 1. Their label is -1, and they fill a cube a little larger than
    /// that of the centres.
    pub noise: f64,
    /// Standard deviation of a blob in each feature; the centres lie in -10..10.
    pub deviation: f64,
    /// Seed of all choices.
    pub seed: u64,
}

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

/// Rows made at once.
struct Rows {
    values: Vec<f32>,
    labels: Vec<i32>,
}

impl Blobs {
    /// The centres, k x d row-major.
    #[must_use]
    pub fn centres(&self) -> Vec<f32> {
        let mut rng = self.rng(CENTRES);
        (0..self.clusters * self.dimension).map(|_| in_cube(&mut rng, EXTENT)).collect()
    }

    /// Some consecutive rows: values, row-major, and labels.
    #[must_use]
    pub fn rows(&self, first: u64, count: usize) -> (Vec<f32>, Vec<i32>) {
        let Rows { values, labels } = self.make(&self.centres(), first, count);
        (values, labels)
    }

    fn rng(&self, stream: u64) -> ChaCha8Rng {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(stream);
        rng
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
    fn make(&self, centres: &[f32], first: u64, count: usize) -> Rows {
        // The share of noise as a threshold on 64 random bits.
        let noise = (self.noise * 2f64.powi(64)) as u128;
        let base = self.rng(0);
        let mut rows = Rows { values: Vec::with_capacity(count * self.dimension), labels: Vec::with_capacity(count) };
        for row in first..first + count as u64 {
            let mut rng = base.clone();
            rng.set_stream(row);
            let is_noise = u128::from(rng.next_u64()) < noise;
            // The high half of the product is uniform over the clusters but for a bias below 2^-32.
            let cluster = ((u128::from(rng.next_u64()) * self.clusters as u128) >> 64) as usize;
            if is_noise {
                rows.labels.push(-1);
                rows.values.extend((0..self.dimension).map(|_| in_cube(&mut rng, 1.2 * EXTENT)));
            } else {
                rows.labels.push(i32::try_from(cluster).unwrap_or(i32::MAX));
                let centre = &centres[cluster * self.dimension..(cluster + 1) * self.dimension];
                rows.values.extend(
                    centre.iter().map(|centre| (f64::from(*centre) + self.deviation * normal(&mut rng)) as f32),
                );
            }
        }
        rows
    }

    fn check(&self, target: &Location, objects: u32) -> Result<(), DataError> {
        let refuse = |problem: String, remedy: &str| {
            Err(DataError::Settings { uri: target.uri.clone(), problem, remedy: remedy.to_owned() })
        };
        if self.rows == 0 || self.rows > i64::MAX as u64 / 2 {
            return refuse(format!("{} rows cannot be made", self.rows), "ask for at least one row");
        }
        if self.dimension == 0 || self.dimension > limits::DIMENSION {
            return refuse(
                format!("the dimension {} is out of bounds", self.dimension),
                "choose a dimension from 1 to 65536",
            );
        }
        if self.clusters == 0 || self.clusters.saturating_mul(self.dimension) > 1 << 28 {
            return refuse(
                format!("{} clusters cannot be made", self.clusters),
                "ask for at least one cluster, and clusters x dimension of at most 268435456",
            );
        }
        if !(0.0..=1.0).contains(&self.noise) {
            return refuse(format!("the share of noise {} is out of bounds", self.noise), "choose a share from 0 to 1");
        }
        if !(0.0..=1e6).contains(&self.deviation) {
            return refuse(
                format!("the deviation {} is out of bounds", self.deviation),
                "choose a deviation from 0 to 1000000",
            );
        }
        if objects == 0 || u64::from(objects) > self.rows || objects > 100_000 {
            return refuse(
                format!("{} rows cannot be spread over {objects} objects", self.rows),
                "ask for 1 to 100000 objects with at least one row each",
            );
        }
        Ok(())
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
fn in_cube(rng: &mut ChaCha8Rng, extent: f64) -> f32 {
    let unit = (rng.next_u64() >> 11) as f64 / 2f64.powi(53);
    ((2.0 * unit - 1.0) * extent) as f32
}

/// The sum of twelve uniform variates, less its mean.
fn normal(rng: &mut ChaCha8Rng) -> f64 {
    let mut sum = 0_u32;
    for _ in 0..3 {
        let bits = rng.next_u64();
        sum += [0, 16, 32, 48].iter().map(|shift| (bits >> shift) as u32 & 0xffff).sum::<u32>();
    }
    // Each part has the mean 65535/2 and very nearly the variance 65536^2/12.
    (f64::from(sum) - 6.0 * 65_535.0) / 65_536.0
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
    let Rows { values, labels } = blobs.make(centres, first, count);
    let ids = (first..first + count as u64).map(|id| i64::try_from(id).unwrap_or(i64::MAX));
    let item = Arc::new(Field::new("item", DataType::Float32, false));
    let width = i32::try_from(blobs.dimension).unwrap_or(i32::MAX);
    let vectors = FixedSizeListArray::try_new(item, width, Arc::new(Float32Array::from(values)), None)?;
    let columns: Vec<ArrayRef> =
        vec![Arc::new(Int64Array::from_iter_values(ids)), Arc::new(vectors), Arc::new(Int32Array::from(labels))];
    Ok(RecordBatch::try_new(schema, columns)?)
}

/// A writer that keeps the store's error, which the Parquet writer would turn into text, and can be abandoned.
struct Upload {
    writer: BufWriter,
    uri: String,
    failure: Option<DataError>,
    completing: bool,
}

impl Upload {
    fn new(target: &Location, path: &Path) -> Self {
        let writer = BufWriter::with_capacity(Arc::clone(&target.store), path.clone(), PART);
        Self { writer, uri: target.object_uri(path), failure: None, completing: false }
    }

    fn fail(&mut self, error: std::io::Error) -> ParquetError {
        let text = error.to_string();
        let error = match error.downcast::<object_store::Error>() {
            Ok(error) => error,
            Err(error) => object_store::Error::Generic { store: "writer", source: error.into() },
        };
        self.failure = Some(failure(&self.uri, "writing the object", &error));
        ParquetError::General(text)
    }

    /// Leaves nothing of an unfinished upload. One whose completion failed has been removed by then.
    async fn abandon(&mut self) {
        if self.completing {
            return;
        }
        if let Err(error) = self.writer.abort().await {
            tracing::warn!(uri = self.uri, %error, "an unfinished upload could not be removed");
        }
    }
}

impl AsyncFileWriter for &mut Upload {
    fn write(&mut self, bytes: bytes::Bytes) -> futures::future::BoxFuture<'_, parquet::errors::Result<()>> {
        Box::pin(async move {
            match self.writer.put(bytes).await {
                Ok(()) => Ok(()),
                Err(error) => Err(self.fail(error.into())),
            }
        })
    }

    fn complete(&mut self) -> futures::future::BoxFuture<'_, parquet::errors::Result<()>> {
        self.completing = true;
        Box::pin(async move {
            match self.writer.shutdown().await {
                Ok(()) => Ok(()),
                Err(error) => Err(self.fail(error)),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blobs() -> Blobs {
        Blobs { rows: 1000, dimension: 3, clusters: 4, noise: 0.1, deviation: 0.5, seed: 7 }
    }

    #[test]
    fn rows_depend_on_nothing_but_their_number() {
        let (all, labels) = blobs().rows(0, 1000);
        let (part, part_labels) = blobs().rows(400, 17);
        assert_eq!(part, all[1200..1251]);
        assert_eq!(part_labels, labels[400..417]);
        assert_ne!(Blobs { seed: 8, ..blobs() }.rows(0, 1000).0, all);
        // Fixed for ever: generated data and everything computed from it must not change with a release.
        assert_eq!(blobs().rows(0, 1), (FIRST.to_vec(), vec![FIRST_LABEL]));
    }

    const FIRST: [f32; 3] = [-3.534_320_6, 4.330_661_3, 1.299_415_8];
    const FIRST_LABEL: i32 = 0;

    #[test]
    fn blobs_have_the_shape_that_was_asked_for() {
        let blobs = Blobs { rows: 20_000, ..blobs() };
        let (values, labels) = blobs.rows(0, 20_000);
        let centres = blobs.centres();
        let noise = labels.iter().filter(|label| **label == -1).count();
        assert!((1800..2200).contains(&noise), "{noise}");
        for cluster in 0..4 {
            let members: Vec<&[f32]> = values
                .chunks(3)
                .zip(&labels)
                .filter(|(_, label)| **label == cluster as i32)
                .map(|(row, _)| row)
                .collect();
            assert!((4000..5000).contains(&members.len()), "{}", members.len());
            for feature in 0..3 {
                let centre = f64::from(centres[cluster * 3 + feature]);
                let differences = members.iter().map(|row| f64::from(row[feature]) - centre);
                let mean = differences.clone().sum::<f64>() / members.len() as f64;
                let deviation =
                    (differences.map(|difference| difference * difference).sum::<f64>() / members.len() as f64).sqrt();
                assert!(mean.abs() < 0.05 && (deviation - 0.5).abs() < 0.02, "{mean} {deviation}");
            }
        }
    }
}
