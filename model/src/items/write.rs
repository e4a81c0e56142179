//! One part of the items, written as Parquet.

use std::sync::Arc;

use arrow::array::{ArrayRef, FixedSizeListArray, Float32Array, Int32Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use bytes::Bytes;
use futures::future::BoxFuture;
use object_store::ObjectStore;
use object_store::buffered::BufWriter;
use object_store::path::Path;
use parquet::arrow::AsyncArrowWriter;
use parquet::arrow::async_writer::AsyncFileWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;

use super::{ItemsError, Part};

/// Numbers in the vectors of a row group, which the writer holds at once.
const ROW_GROUP: usize = 2 << 20;

/// Writes one part. What it writes depends on what it is given only, so a part written twice is the same.
pub struct PartWriter {
    path: Path,
    dimension: usize,
    rows: u64,
    writer: AsyncArrowWriter<Hashing>,
    schema: Arc<Schema>,
}

/// A file that is hashed on its way out.
struct Hashing {
    inner: BufWriter,
    hasher: blake3::Hasher,
    size: u64,
}

impl AsyncFileWriter for Hashing {
    fn write(&mut self, bytes: Bytes) -> BoxFuture<'_, parquet::errors::Result<()>> {
        self.hasher.update(&bytes);
        self.size += bytes.len() as u64;
        AsyncFileWriter::write(&mut self.inner, bytes)
    }

    fn complete(&mut self) -> BoxFuture<'_, parquet::errors::Result<()>> {
        AsyncFileWriter::complete(&mut self.inner)
    }
}

impl PartWriter {
    /// Begins the part `name` of the version in `version`, of vectors with `dimension` numbers and ids of type `ids`.
    ///
    /// # Errors
    /// When the schema is refused.
    pub fn new(
        store: Arc<dyn ObjectStore>,
        version: &Path,
        name: &str,
        ids: &DataType,
        dimension: usize,
    ) -> Result<Self, ItemsError> {
        let path = super::items_path(version).join(name);
        let number = Arc::new(Field::new_list_field(DataType::Float32, false));
        let width = i32::try_from(dimension).unwrap_or(i32::MAX);
        let schema = Arc::new(Schema::new(vec![
            Field::new("id", ids.clone(), false),
            Field::new("cluster", DataType::Int32, false),
            Field::new("vector", DataType::FixedSizeList(number, width), false),
        ]));
        // Vectors hardly shrink and repeat never.
        let vector = ColumnPath::from(vec!["vector".to_owned(), "list".to_owned(), "element".to_owned()]);
        let properties = WriterProperties::builder()
            .set_compression(Compression::UNCOMPRESSED)
            .set_column_dictionary_enabled(vector, false)
            .set_max_row_group_row_count(Some((ROW_GROUP / dimension.max(1)).max(1)))
            .build();
        let out = Hashing { inner: BufWriter::new(store, path.clone()), hasher: blake3::Hasher::new(), size: 0 };
        let writer = AsyncArrowWriter::try_new(out, Arc::clone(&schema), Some(properties))
            .map_err(|error| ItemsError::Malformed { path: path.clone(), what: error.to_string() })?;
        Ok(Self { path, dimension, rows: 0, writer, schema })
    }

    /// Adds rows: their ids, clusters, and vectors, row-major.
    ///
    /// # Errors
    /// When the lengths do not agree or the store fails.
    pub async fn write(&mut self, ids: ArrayRef, clusters: &[u32], vectors: &[f32]) -> Result<(), ItemsError> {
        let malformed =
            |error: &dyn std::fmt::Display| ItemsError::Malformed { path: self.path.clone(), what: error.to_string() };
        let number = Arc::new(Field::new_list_field(DataType::Float32, false));
        let width = i32::try_from(self.dimension).unwrap_or(i32::MAX);
        let numbers: ArrayRef = Arc::new(Float32Array::from(vectors.to_vec()));
        let vectors = FixedSizeListArray::try_new(number, width, numbers, None).map_err(|error| malformed(&error))?;
        let clusters = Int32Array::from_iter_values(clusters.iter().map(|cluster| *cluster as i32));
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), vec![ids, Arc::new(clusters), Arc::new(vectors)])
            .map_err(|error| malformed(&error))?;
        self.rows += batch.num_rows() as u64;
        let failed = stored("write", &self.path);
        self.writer.write(&batch).await.map_err(failed)
    }

    /// Ends the part.
    ///
    /// # Errors
    /// When the store fails; then the part is not there.
    pub async fn finish(mut self) -> Result<Part, ItemsError> {
        let failed = stored("write", &self.path);
        self.writer.finish().await.map_err(failed)?;
        let Hashing { hasher, size, .. } = self.writer.into_inner();
        let name = self.path.filename().unwrap_or_default().to_owned();
        Ok(Part { name, rows: self.rows, size, digest: crate::digest::spell(hasher.finalize()) })
    }
}

/// A failure of the writer or the reader of a part, which is nearly always one of the store.
pub(super) fn stored(
    action: &'static str,
    path: &Path,
) -> impl Fn(parquet::errors::ParquetError) -> ItemsError + use<> {
    let path = path.clone();
    move |error| match error {
        parquet::errors::ParquetError::External(error) => {
            let source = match error.downcast::<object_store::Error>() {
                Ok(source) => *source,
                Err(source) => object_store::Error::Generic { store: "items", source },
            };
            ItemsError::Store { action, path: path.clone(), source }
        }
        other => ItemsError::Malformed { path: path.clone(), what: other.to_string() },
    }
}
