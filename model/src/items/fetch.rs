//! The parts, fetched one after the other, verified and read.

use std::fs::File;
use std::io::{Seek, Write};
use std::path::Path as LocalPath;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float32Type, Int32Type, Int64Type};
use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::{ItemsError, Part, items_path};

/// Parts that are fetched at once.
const AT_ONCE: usize = 4;
/// Rows that are read at once.
const BATCH: usize = 8_192;

/// Some rows of a part.
pub(super) struct Rows<'a> {
    /// Place of the first among all items, in the order of the parts.
    pub(super) first: u64,
    pub(super) ids: RowIds<'a>,
    pub(super) clusters: &'a [i32],
    pub(super) vectors: &'a [f32],
}

/// Their ids.
pub(super) enum RowIds<'a> {
    Int(&'a [i64]),
    Text(&'a arrow::array::StringArray),
}

/// Gives all rows of these parts, each with the place of its first row, to `take`, in their order. Parts pass through files in `directory` that have no name, so memory stays
/// bounded whatever a part's size is.
pub(super) async fn all(
    store: &dyn ObjectStore,
    version: &Path,
    parts: &[(u64, &Part)],
    dimension: usize,
    directory: &LocalPath,
    mut take: impl FnMut(&Path, Rows<'_>) -> Result<(), ItemsError>,
) -> Result<(), ItemsError> {
    let mut files = std::pin::pin!(
        stream::iter(parts)
            .map(|&(first, part)| async move {
                let path = items_path(version).join(part.name.as_str());
                Ok::<_, ItemsError>((fetch(store, &path, part, directory).await?, path, first, part))
            })
            .buffered(AT_ONCE)
    );
    while let Some((file, path, first, part)) = files.try_next().await? {
        let rows = read(file, &path, first, dimension, &mut take)?;
        if rows != part.rows {
            return Err(damaged(&path, format!("{} rows", part.rows), format!("{rows} rows")));
        }
    }
    Ok(())
}

fn damaged(path: &Path, expected: String, found: String) -> ItemsError {
    ItemsError::Damaged { path: path.clone(), expected, found }
}

/// Fetches a part and checks it against the manifest.
async fn fetch(store: &dyn ObjectStore, path: &Path, part: &Part, directory: &LocalPath) -> Result<File, ItemsError> {
    let failed = |source| ItemsError::Store { action: "read", path: path.clone(), source };
    let local = |source| ItemsError::File { action: "write", file: directory.to_owned(), source };
    let mut file = tempfile::tempfile_in(directory).map_err(local)?;
    let result = store.get(path).await.map_err(failed)?;
    let sizes = |found: u64| damaged(path, format!("{} bytes", part.size), format!("{found} bytes"));
    if result.meta.size != part.size {
        return Err(sizes(result.meta.size));
    }
    let (mut hasher, mut size) = (blake3::Hasher::new(), 0);
    let mut chunks = result.into_stream();
    while let Some(chunk) = chunks.try_next().await.map_err(failed)? {
        size += chunk.len() as u64;
        if size > part.size {
            return Err(sizes(size));
        }
        hasher.update(&chunk);
        file.write_all(&chunk).map_err(local)?;
    }
    if size != part.size {
        return Err(sizes(size));
    }
    let digest = crate::digest::spell(hasher.finalize());
    if digest != part.digest {
        return Err(damaged(path, format!("digest {}", part.digest), format!("digest {digest}")));
    }
    file.rewind().map_err(local)?;
    Ok(file)
}

fn read(
    file: File,
    path: &Path,
    first: u64,
    dimension: usize,
    take: &mut impl FnMut(&Path, Rows<'_>) -> Result<(), ItemsError>,
) -> Result<u64, ItemsError> {
    let malformed = |what: String| ItemsError::Malformed { path: path.clone(), what };
    let reader = ParquetRecordBatchReaderBuilder::try_new(file)
        .and_then(|builder| builder.with_batch_size(BATCH).build())
        .map_err(|error| malformed(error.to_string()))?;
    let mut rows = 0;
    for batch in reader {
        let batch = batch.map_err(|error| malformed(error.to_string()))?;
        take(path, parse(&batch, first + rows, dimension).map_err(malformed)?)?;
        rows += batch.num_rows() as u64;
    }
    Ok(rows)
}

fn parse(batch: &RecordBatch, first: u64, dimension: usize) -> Result<Rows<'_>, String> {
    let column = |name: &str| {
        let column = batch.column_by_name(name).ok_or_else(|| format!("it has no column {name}"))?;
        if column.null_count() == 0 { Ok(column) } else { Err(format!("its column {name} has nulls")) }
    };
    let kind =
        |name: &str, found: &DataType, expected: &str| format!("its column {name} is {found}, expected {expected}");
    let ids = column("id")?;
    let ids = match ids.data_type() {
        DataType::Int64 => RowIds::Int(ids.as_primitive::<Int64Type>().values()),
        DataType::Utf8 => RowIds::Text(ids.as_string::<i32>()),
        other => return Err(kind("id", other, "Int64 or Utf8")),
    };
    let clusters = column("cluster")?;
    let clusters = clusters
        .as_primitive_opt::<Int32Type>()
        .ok_or_else(|| kind("cluster", clusters.data_type(), "Int32"))?
        .values();
    let vectors = column("vector")?;
    let expected = || kind("vector", vectors.data_type(), &format!("a list of {dimension} Float32"));
    let lists = vectors.as_fixed_size_list_opt().ok_or_else(expected)?;
    let numbers = lists.values().as_primitive_opt::<Float32Type>().ok_or_else(expected)?;
    if lists.value_length() as usize != dimension || numbers.len() != batch.num_rows() * dimension {
        return Err(expected());
    }
    Ok(Rows { first, ids, clusters, vectors: numbers.values() })
}
