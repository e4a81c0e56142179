//! How many rows of each cluster some parts hold, from one column of theirs.
//!
//! The manifest counts the rows of each cluster over all parts. A server that holds some of the parts has to know its own before it puts
//! rows where they belong. The column is a small share of a part, and the rest is not fetched. What is counted is checked later: all of a
//! part is verified when its rows are taken.

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::Int32Type;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::ObjectStore;
use object_store::path::Path;
use parquet::arrow::ProjectionMask;
use parquet::arrow::async_reader::{ParquetObjectReader, ParquetRecordBatchStreamBuilder};

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
    let object = ParquetObjectReader::new(Arc::clone(store), path.clone()).with_file_size(part.size);
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
