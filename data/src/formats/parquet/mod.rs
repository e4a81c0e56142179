//! Parquet: a split is a row group. The footer is checked before the library decodes it, pages are fetched as the
//! decoder comes to them, and only the columns that are needed.

mod check;
mod chunks;
mod thrift;

use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::basic::Compression;
use parquet::file::metadata::{
    ColumnChunkMetaData, FooterTail, ParquetMetaDataOptions, ParquetMetaDataReader, ParquetStatisticsPolicy,
};
use tokio::runtime::Handle;

use crate::columns::Column;
use crate::contain::contain;
use crate::fetch::ObjectReader;
use crate::{DataError, arrow_rows, limits};
use check::PageBounds;
use chunks::{Chunks, Shared};

/// Bytes of the first request, from the object's end; most footers fit.
const TAIL: u64 = 64 << 10;

/// The remedy for damage.
const REWRITE: &str = "write the object again";

/// A checked footer.
#[derive(Clone, Debug)]
pub(crate) struct Header {
    metadata: ArrowReaderMetadata,
    /// Rows of each row group.
    pub(crate) row_groups: Vec<u64>,
}

impl Header {
    /// The columns of the schema.
    pub(crate) fn table(&self) -> Vec<Column> {
        arrow_rows::table(self.metadata.schema().fields().iter().map(AsRef::as_ref))
    }

    /// Ordinal in the object of a row group's first row.
    pub(crate) fn first_row(&self, row_group: usize) -> u64 {
        self.row_groups.iter().take(row_group).sum()
    }
}

fn damaged(object: &ObjectReader, place: impl Into<String>, problem: impl Into<String>) -> DataError {
    DataError::Corrupt {
        object: object.uri.to_string(),
        place: place.into(),
        problem: problem.into(),
        remedy: REWRITE.to_owned(),
    }
}

/// Reads and checks the footer.
pub(crate) async fn header(object: &ObjectReader) -> Result<Header, DataError> {
    let footer = |problem: String| damaged(object, "footer", problem);
    let tail = object.range(object.size.saturating_sub(TAIL)..object.size).await?;
    let (_, last) = tail
        .split_last_chunk::<8>()
        .ok_or_else(|| footer(format!("the object has only {} bytes, too few for Parquet", object.size)))?;
    let last = FooterTail::try_new(last).map_err(|_| {
        footer("the object does not end with the Parquet signature: it is cut off, or not Parquet".to_owned())
    })?;
    if last.is_encrypted_footer() {
        return Err(DataError::Schema {
            object: object.uri.to_string(),
            problem: "the footer is encrypted".to_owned(),
            remedy: "write the object without encryption".to_owned(),
        });
    }
    let length = last.metadata_length() as u64;
    if length > limits::FOOTER {
        return Err(DataError::Limit {
            object: object.uri.to_string(),
            place: "footer".to_owned(),
            problem: format!("the footer claims {length} bytes, more than {}", limits::FOOTER),
            remedy: "write fewer row groups or columns per object".to_owned(),
        });
    }
    if length + 12 > object.size {
        return Err(footer(format!("the footer claims {length} bytes, but the object has only {}", object.size)));
    }
    let bytes = if length + 8 <= tail.len() as u64 {
        tail.slice(tail.len() - 8 - usize::try_from(length).unwrap_or(0)..tail.len() - 8)
    } else {
        object.range(object.size - 8 - length..object.size - 8).await?
    };
    let size = object.size;
    // Decoding a large footer takes a while, so it does not happen on a thread that serves the network.
    let decoded =
        tokio::task::spawn_blocking(move || contain(|| decode(&bytes, size)).and_then(|decoded| decoded)).await;
    decoded.map_err(|_| footer("it could not be decoded".to_owned()))?.map_err(footer)
}

fn decode(bytes: &[u8], size: u64) -> Result<Header, String> {
    check::footer(bytes)?;
    // Statistics are not used; without them the decoded footer is much smaller.
    let options = ParquetMetaDataOptions::new()
        .with_column_stats_policy(ParquetStatisticsPolicy::SkipAll)
        .with_size_stats_policy(ParquetStatisticsPolicy::SkipAll);
    let metadata = ParquetMetaDataReader::decode_metadata_with_options(bytes, Some(&options))
        .map_err(|error| error.to_string())?;
    let mut row_groups = Vec::with_capacity(metadata.num_row_groups());
    for (index, row_group) in metadata.row_groups().iter().enumerate() {
        let rows = u64::try_from(row_group.num_rows())
            .map_err(|_| format!("row group {index} claims {} rows", row_group.num_rows()))?;
        // Even constant columns take some bytes per row group; beyond this the number is damage.
        if rows > size.saturating_mul(1 << 16) {
            return Err(format!("row group {index} claims {rows} rows in an object of {size} bytes"));
        }
        row_groups.push(rows);
    }
    let total: u64 = row_groups.iter().sum();
    if i64::try_from(total) != Ok(metadata.file_metadata().num_rows()) {
        return Err(format!(
            "the row groups have {total} rows together, but the object claims {}",
            metadata.file_metadata().num_rows()
        ));
    }
    let metadata = ArrowReaderMetadata::try_new(Arc::new(metadata), ArrowReaderOptions::new())
        .map_err(|error| error.to_string())?;
    Ok(Header { metadata, row_groups })
}

/// The batches of one row group. Blocks while it waits for the store.
pub(crate) struct Batches<'a> {
    object: &'a ObjectReader,
    row_group: usize,
    chunks: Arc<Chunks>,
    reader: ParquetRecordBatchReader,
    /// Rows still to come, as the footer says.
    left: u64,
}

/// Begins to read the named columns of a row group.
pub(crate) fn batches<'a>(
    object: &'a ObjectReader,
    handle: &Handle,
    header: &Header,
    row_group: usize,
    wanted: &[&str],
    batch_size: usize,
) -> Result<Batches<'a>, DataError> {
    let place = || format!("row group {row_group}");
    let metadata = header.metadata.metadata();
    if row_group >= metadata.num_row_groups() {
        return Err(damaged(object, place(), format!("the object has only {} row groups", metadata.num_row_groups())));
    }
    let roots: Vec<usize> = header
        .metadata
        .schema()
        .fields()
        .iter()
        .enumerate()
        .filter(|(_, field)| wanted.contains(&field.name().as_str()))
        .map(|(root, _)| root)
        .collect();
    let mask = ProjectionMask::roots(header.metadata.parquet_schema(), roots);
    let mut ranges = Vec::new();
    for (leaf, column) in metadata.row_group(row_group).columns().iter().enumerate() {
        if mask.leaf_included(leaf) {
            let range = chunk_range(column, object.size).map_err(|problem| damaged(object, place(), problem))?;
            check_codec(object, column)?;
            let bounds = PageBounds {
                uncompressed: u64::try_from(column.uncompressed_size()).unwrap_or(0),
                values: u64::try_from(column.num_values()).unwrap_or(0),
            };
            ranges.push((range, bounds));
        }
    }
    ranges.sort_by_key(|(range, _)| range.start);
    if ranges.windows(2).any(|pair| pair[0].0.end > pair[1].0.start) {
        return Err(damaged(object, place(), "the column chunks overlap"));
    }
    let chunks = Arc::new(Chunks::open(object, handle, ranges)?);
    let reader =
        ParquetRecordBatchReaderBuilder::new_with_metadata(Shared(Arc::clone(&chunks)), header.metadata.clone())
            .with_row_groups(vec![row_group])
            .with_projection(mask)
            .with_batch_size(batch_size)
            .build()
            .map_err(|error| chunks.take_failure().unwrap_or_else(|| damaged(object, place(), error.to_string())))?;
    Ok(Batches { object, row_group, chunks, reader, left: header.row_groups[row_group] })
}

fn chunk_range(column: &ColumnChunkMetaData, size: u64) -> Result<Range<u64>, String> {
    let start = column.dictionary_page_offset().unwrap_or(column.data_page_offset());
    let (start, length) = (u64::try_from(start).ok(), u64::try_from(column.compressed_size()).ok());
    let range = start.zip(length).and_then(|(start, length)| Some(start..start.checked_add(length)?));
    range.filter(|range| range.end <= size).ok_or_else(|| {
        format!("the column chunk {} lies outside the object: it is cut off or damaged", column.column_path())
    })
}

fn check_codec(object: &ObjectReader, column: &ColumnChunkMetaData) -> Result<(), DataError> {
    match column.compression() {
        Compression::BROTLI(_) | Compression::LZO => Err(DataError::Schema {
            object: object.uri.to_string(),
            problem: format!("column {} is compressed with {}", column.column_path(), column.compression()),
            remedy: "write it with ZSTD, SNAPPY, LZ4, GZIP or without compression".to_owned(),
        }),
        _ => Ok(()),
    }
}

impl Iterator for Batches<'_> {
    type Item = Result<RecordBatch, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        let place = || format!("row group {}", self.row_group);
        match self.reader.next() {
            Some(Ok(batch)) => match self.left.checked_sub(batch.num_rows() as u64) {
                Some(left) => {
                    self.left = left;
                    Some(Ok(batch))
                }
                None => Some(Err(damaged(self.object, place(), "it holds more rows than the footer says"))),
            },
            Some(Err(error)) => Some(Err(self
                .chunks
                .take_failure()
                .unwrap_or_else(|| damaged(self.object, place(), error.to_string())))),
            None if self.left > 0 => {
                let left = std::mem::take(&mut self.left);
                Some(Err(damaged(self.object, place(), format!("{left} rows are missing"))))
            }
            None => None,
        }
    }
}
