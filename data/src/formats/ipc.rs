//! Arrow IPC files (Feather V2): a split is some record batches. A batch is fetched and decoded as a whole, so memory
//! is bounded by the largest batch of the object (twice that while the next small one is under way).

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::ipc::convert::try_fb_to_schema;
use arrow::ipc::reader::{FileDecoder, read_footer_length};
use arrow::ipc::{Block, MetadataVersion, root_as_footer, root_as_message};
use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::columns::Column;
use crate::contain::contain;
use crate::fetch::ObjectReader;
use crate::{DataError, arrow_rows, limits};

/// Bytes of the first request, from the object's end.
const TAIL: u64 = 64 << 10;
/// Batches up to this size are fetched while the one before is decoded.
const AHEAD: u64 = 16 << 20;

/// A checked footer.
#[derive(Clone, Debug)]
pub(crate) struct Header {
    schema: SchemaRef,
    version: MetadataVersion,
    dictionaries: Vec<Block>,
    batches: Vec<Block>,
}

impl Header {
    /// The columns of the schema.
    pub(crate) fn table(&self) -> Vec<Column> {
        arrow_rows::table(self.schema.fields().iter().map(AsRef::as_ref))
    }

    /// Bytes of each record batch.
    pub(crate) fn sizes(&self) -> Vec<u64> {
        self.batches.iter().map(|block| range(block).map_or(0, |range| range.end - range.start)).collect()
    }
}

fn damaged(object: &ObjectReader, place: impl Into<String>, problem: impl Into<String>) -> DataError {
    DataError::Corrupt {
        object: object.uri.to_string(),
        place: place.into(),
        problem: problem.into(),
        remedy: "write the object again".to_owned(),
    }
}

fn range(block: &Block) -> Option<std::ops::Range<u64>> {
    let start = u64::try_from(block.offset()).ok()?;
    let length = u64::try_from(block.metaDataLength()).ok()?.checked_add(u64::try_from(block.bodyLength()).ok()?)?;
    Some(start..start.checked_add(length)?)
}

/// Reads and checks the footer.
pub(crate) async fn header(object: &ObjectReader) -> Result<Header, DataError> {
    let footer = |problem: String| damaged(object, "footer", problem);
    let tail = object.range(object.size.saturating_sub(TAIL)..object.size).await?;
    let (_, last) = tail
        .split_last_chunk::<10>()
        .ok_or_else(|| footer(format!("the object has only {} bytes, too few for Arrow", object.size)))?;
    let length = match read_footer_length(*last) {
        Ok(length) => length as u64,
        Err(_) => {
            let start = object.range(0..object.size.min(8)).await?;
            if start.starts_with(b"FEA1") {
                return Err(footer(
                    "it is Feather V1; write Feather V2, which is the Arrow IPC file format".to_owned(),
                ));
            }
            if start.starts_with(&[0xff; 4]) {
                return Err(footer(
                    "it is an Arrow IPC stream; write the Arrow IPC file format (RecordBatchFileWriter)".to_owned(),
                ));
            }
            return Err(footer(
                "the object does not end with the Arrow signature: it is cut off, or not an Arrow IPC file".to_owned(),
            ));
        }
    };
    if length > limits::FOOTER {
        return Err(DataError::Limit {
            object: object.uri.to_string(),
            place: "footer".to_owned(),
            problem: format!("the footer claims {length} bytes, more than {}", limits::FOOTER),
            remedy: "write fewer record batches or columns per object".to_owned(),
        });
    }
    let Some(data) = object.size.checked_sub(10 + length) else {
        return Err(footer(format!("the footer claims {length} bytes, but the object has only {}", object.size)));
    };
    let bytes = if length + 10 <= tail.len() as u64 {
        tail.slice(tail.len() - 10 - usize::try_from(length).unwrap_or(0)..tail.len() - 10)
    } else {
        object.range(data..object.size - 10).await?
    };
    let decoded =
        tokio::task::spawn_blocking(move || contain(|| decode(&bytes, data)).and_then(|decoded| decoded)).await;
    let header = decoded.map_err(|_| footer("it could not be decoded".to_owned()))?.map_err(footer)?;
    for (index, size) in header.sizes().into_iter().enumerate() {
        if size > limits::BATCH {
            return Err(DataError::Limit {
                object: object.uri.to_string(),
                place: format!("record batch {index}"),
                problem: format!("the batch takes {size} bytes, more than {}", limits::BATCH),
                remedy: "write smaller record batches, for example of 65536 rows".to_owned(),
            });
        }
    }
    Ok(header)
}

fn decode(bytes: &[u8], data: u64) -> Result<Header, String> {
    let footer = root_as_footer(bytes).map_err(|error| error.to_string())?;
    let schema = footer.schema().ok_or("there is no schema")?;
    let schema = Arc::new(try_fb_to_schema(schema).map_err(|error| error.to_string())?);
    let dictionaries = checked(footer.dictionaries().into_iter().flatten(), data)?;
    let batches = checked(footer.recordBatches().into_iter().flatten(), data)?;
    Ok(Header { schema, version: footer.version(), dictionaries, batches })
}

fn checked<'a>(blocks: impl Iterator<Item = &'a Block>, data: u64) -> Result<Vec<Block>, String> {
    blocks
        .map(|block| {
            let fits = range(block).is_some_and(|range| range.end <= data) && block.metaDataLength() > 0;
            fits.then_some(*block)
                .ok_or_else(|| "a record batch lies outside the object: it is cut off or damaged".to_owned())
        })
        .collect()
}

/// The wanted columns of some batches. Blocks while it waits for the store.
pub(crate) struct Batches<'a> {
    object: &'a ObjectReader,
    handle: Handle,
    decoder: FileDecoder,
    blocks: Vec<Block>,
    first: usize,
    next: usize,
    pending: Option<JoinHandle<Result<Bytes, DataError>>>,
}

/// Begins to read the named columns of some batches.
pub(crate) fn batches<'a>(
    object: &'a ObjectReader,
    handle: &Handle,
    header: &Header,
    first: usize,
    count: usize,
    wanted: &[&str],
) -> Result<Batches<'a>, DataError> {
    let blocks = header.batches.get(first..first + count).ok_or_else(|| {
        damaged(
            object,
            format!("record batch {first}"),
            format!("the object has only {} record batches", header.batches.len()),
        )
    })?;
    let fields = header.schema.fields();
    let projection: Vec<usize> = fields
        .iter()
        .enumerate()
        .filter(|(_, field)| wanted.contains(&field.name().as_str()))
        .map(|(at, _)| at)
        .collect();
    let needs_dictionaries = projection.iter().any(|at| has_dictionary(fields[*at].data_type()));
    let mut decoder = FileDecoder::new(Arc::clone(&header.schema), header.version);
    if needs_dictionaries {
        for (index, block) in header.dictionaries.iter().enumerate() {
            let place = || format!("dictionary {index}");
            let bytes = handle.block_on(object.range(range(block).unwrap_or(0..0)))?;
            check_message(&bytes, block).map_err(|problem| damaged(object, place(), problem))?;
            decoder
                .read_dictionary(block, &Buffer::from(bytes))
                .map_err(|error| damaged(object, place(), error.to_string()))?;
        }
    }
    let mut batches = Batches {
        object,
        handle: handle.clone(),
        decoder: decoder.with_projection(projection),
        blocks: blocks.to_vec(),
        first,
        next: 0,
        pending: None,
    };
    batches.begin();
    Ok(batches)
}

/// Whether a column is encoded by a dictionary, or what its lists hold is.
fn has_dictionary(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(..) => true,
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            has_dictionary(item.data_type())
        }
        _ => false,
    }
}

impl Batches<'_> {
    fn begin(&mut self) {
        if let Some(range) = self.blocks.get(self.next).and_then(range) {
            let object = self.object.clone();
            self.pending = Some(self.handle.spawn(async move { object.range(range).await }));
        }
    }
}

impl Iterator for Batches<'_> {
    /// The batch's index in the object, and the batch.
    type Item = Result<(usize, RecordBatch), DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        let block = *self.blocks.get(self.next)?;
        let index = self.first + self.next;
        if self.pending.is_none() {
            self.begin();
        }
        self.next += 1;
        let bytes = match self.handle.block_on(self.pending.take()?) {
            Ok(Ok(bytes)) => bytes,
            Ok(Err(error)) => return Some(Err(error)),
            Err(_) => return Some(Err(crate::fetch::interrupted(self.object))),
        };
        if self.blocks.get(self.next).and_then(range).is_some_and(|range| range.end - range.start <= AHEAD) {
            self.begin();
        }
        let damaged = |problem: String| damaged(self.object, format!("record batch {index}"), problem);
        if let Err(problem) = check_message(&bytes, &block) {
            return Some(Err(damaged(problem)));
        }
        match self.decoder.read_record_batch(&block, &Buffer::from(bytes)) {
            Ok(Some(batch)) => Some(Ok((index, batch))),
            Ok(None) => Some(Err(damaged("it is not a record batch".to_owned()))),
            Err(error) => Some(Err(damaged(error.to_string()))),
        }
    }
}

/// Checks the lengths in a message that the library reserves memory for: compressed buffers say how long they become.
fn check_message(bytes: &Bytes, block: &Block) -> Result<(), String> {
    let metadata = usize::try_from(block.metaDataLength()).map_err(|_| "its header has no length")?;
    let (header, body) = bytes.split_at_checked(metadata).ok_or("it is cut off")?;
    // The message is preceded by a marker and its length, or by its length alone in old files.
    let skip = if header.starts_with(&[0xff; 4]) { 8 } else { 4 };
    let message =
        root_as_message(header.get(skip..).ok_or("its header is cut off")?).map_err(|error| error.to_string())?;
    let batch = message
        .header_as_record_batch()
        .or_else(|| message.header_as_dictionary_batch().and_then(|dictionary| dictionary.data()));
    let Some(batch) = batch else { return Ok(()) };
    if batch.compression().is_none() {
        return Ok(());
    }
    let mut total = 0_u64;
    for buffer in batch.buffers().into_iter().flatten() {
        let start = usize::try_from(buffer.offset()).map_err(|_| "a buffer lies before the batch")?;
        if buffer.length() == 0 {
            continue;
        }
        let length = body
            .get(start..)
            .and_then(|rest| rest.first_chunk::<8>())
            .map(|length| i64::from_le_bytes(*length))
            .ok_or("a buffer is cut off")?;
        total = total.saturating_add(u64::try_from(length).unwrap_or(0));
    }
    if total > limits::BATCH {
        return Err(format!("its buffers claim {total} bytes once decompressed, more than {}", limits::BATCH));
    }
    Ok(())
}

/// Whether any batch has rows. Reads headers of batches until one has.
pub(crate) async fn has_rows(object: &ObjectReader, header: &Header) -> Result<bool, DataError> {
    for (index, block) in header.batches.iter().enumerate() {
        let start = u64::try_from(block.offset()).unwrap_or(0);
        let bytes = object.range(start..start + u64::try_from(block.metaDataLength()).unwrap_or(0)).await?;
        let rows = contain(|| {
            let skip = if bytes.starts_with(&[0xff; 4]) { 8 } else { 4 };
            let message = root_as_message(bytes.get(skip..).unwrap_or_default()).map_err(|error| error.to_string())?;
            Ok(message.header_as_record_batch().map_or(0, |batch| batch.length()))
        });
        if rows
            .and_then(|rows: Result<i64, String>| rows)
            .map_err(|problem| damaged(object, format!("record batch {index}"), problem))?
            > 0
        {
            return Ok(true);
        }
    }
    Ok(false)
}
