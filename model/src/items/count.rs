//! How many rows of each cluster some parts hold, from one column of theirs.
//!
//! The manifest counts the rows of each cluster over all parts. A server that holds some of the parts has to know its own before it puts
//! rows where they belong. The column is a small share of a part, and the rest is not fetched. What is counted is checked later: all of a
//! part is verified when its rows are taken.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::Int32Type;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::{AsyncFileReader, ParquetRecordBatchStreamBuilder};
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};

use super::write::stored;
use super::{ItemsError, Part, items_path};

/// Parts that are looked at at once.
const AT_ONCE: usize = 8;
/// Rows that are read at once.
const BATCH: usize = 65_536;

/// The rows of each of `clusters` clusters in these parts.
pub(super) async fn count(
    store: &Arc<dyn ObjectStore>,
    version: &Path,
    parts: &[(u64, &Part)],
    clusters: usize,
) -> Result<Vec<u64>, ItemsError> {
    let mut counts = vec![0; clusters];
    let mut all = std::pin::pin!(
        stream::iter(parts).map(|(_, part)| count_part(store, version, part, clusters)).buffer_unordered(AT_ONCE)
    );
    while let Some(found) = all.try_next().await? {
        counts.iter_mut().zip(found).for_each(|(sum, count)| *sum += count);
    }
    Ok(counts)
}

async fn count_part(
    store: &Arc<dyn ObjectStore>,
    version: &Path,
    part: &Part,
    clusters: usize,
) -> Result<Vec<u64>, ItemsError> {
    let path = items_path(version).join(part.name.as_str());
    let malformed = |what: &str| ItemsError::Malformed { path: path.clone(), what: what.to_owned() };
    let failed = stored("read", &path);
    let object = Object { store: Arc::clone(store), path: path.clone(), size: part.size };
    let builder = ParquetRecordBatchStreamBuilder::new(object).await.map_err(&failed)?;
    let mask = ProjectionMask::columns(builder.parquet_schema(), ["cluster"]);
    let mut batches = builder.with_projection(mask).with_batch_size(BATCH).build().map_err(&failed)?;
    let mut counts = vec![0; clusters];
    while let Some(batch) = batches.try_next().await.map_err(&failed)? {
        let column = batch.column_by_name("cluster").and_then(|column| column.as_primitive_opt::<Int32Type>());
        for cluster in column.ok_or_else(|| malformed("it has no column cluster of Int32"))?.values() {
            let place = usize::try_from(*cluster).ok().and_then(|cluster| counts.get_mut(cluster));
            *place.ok_or_else(|| malformed("it names a cluster that the model has not"))? += 1;
        }
    }
    Ok(counts)
}

/// An object of known size, of which ranges are fetched.
struct Object {
    store: Arc<dyn ObjectStore>,
    path: Path,
    size: u64,
}

impl AsyncFileReader for Object {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, parquet::errors::Result<Bytes>> {
        async move { Ok(self.store.get_range(&self.path, range).await?) }.boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        _options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, parquet::errors::Result<Arc<ParquetMetaData>>> {
        async move {
            let size = self.size;
            Ok(Arc::new(ParquetMetaDataReader::new().load_and_finish(self, size).await?))
        }
        .boxed()
    }
}
