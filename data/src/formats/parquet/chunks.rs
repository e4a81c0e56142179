//! The library decodes Parquet page by page, but its readers for object stores fetch whole column chunks, which for
//! a row group of a million vectors are hundreds of MiB. Here the projected chunks of one row group are fetched at
//! once when they are small, and otherwise by windows that move along each chunk ahead of the decoder, so memory is
//! bounded by [`WHOLE`] or by two windows per column and the largest page, whatever the row group's size.

use std::io::Read;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Buf, Bytes, BytesMut};
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{ChunkReader, Length};
use tokio::runtime::Handle;

use super::check::{self, PageBounds};
use crate::DataError;
use crate::fetch::{ObjectReader, ReadAhead};

/// Row groups whose projected chunks take no more are fetched at once.
const WHOLE: u64 = 16 << 20;
/// Bytes of all windows together, beyond that; twice this is held.
const WINDOWS: u64 = 16 << 20;
/// Smallest and largest window of one column.
const WINDOW: Range<u64> = (256 << 10)..(4 << 20);
/// Bytes in which a page header must end.
const PAGE_HEADER: usize = 1 << 20;

/// One column chunk and the part of it that is here.
struct Chunk {
    range: Range<u64>,
    bounds: PageBounds,
    state: Mutex<State>,
}

struct State {
    /// Where `buffer` starts in the object.
    start: u64,
    buffer: Bytes,
    ahead: Option<ReadAhead>,
}

/// The projected column chunks of one row group.
pub(crate) struct Chunks {
    object: ObjectReader,
    handle: Handle,
    chunks: Vec<Chunk>,
    /// The store's error, kept aside because the library turns errors into text.
    failure: Mutex<Option<DataError>>,
}

impl Chunks {
    /// Begins to fetch the chunks, which are sorted by place and do not overlap.
    pub(crate) fn open(
        object: &ObjectReader,
        handle: &Handle,
        ranges: Vec<(Range<u64>, PageBounds)>,
    ) -> std::result::Result<Self, DataError> {
        let total: u64 = ranges.iter().map(|(range, _)| range.end - range.start).sum();
        let chunks = if total <= WHOLE {
            let wanted: Vec<Range<u64>> = ranges.iter().map(|(range, _)| range.clone()).collect();
            let buffers = handle.block_on(object.ranges(&wanted))?;
            ranges
                .into_iter()
                .zip(buffers)
                .map(|((range, bounds), buffer)| Chunk {
                    state: Mutex::new(State { start: range.start, buffer, ahead: None }),
                    range,
                    bounds,
                })
                .collect()
        } else {
            let window = (WINDOWS / ranges.len() as u64).clamp(WINDOW.start, WINDOW.end);
            ranges
                .into_iter()
                .map(|(range, bounds)| {
                    let ahead = ReadAhead::new(object.clone(), handle.clone(), range.clone(), window);
                    Chunk {
                        state: Mutex::new(State { start: range.start, buffer: Bytes::new(), ahead: Some(ahead) }),
                        range,
                        bounds,
                    }
                })
                .collect()
        };
        Ok(Self { object: object.clone(), handle: handle.clone(), chunks, failure: Mutex::new(None) })
    }

    /// The store's error behind a failure of the library, if that was the reason.
    pub(crate) fn take_failure(&self) -> Option<DataError> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn fail(&self, error: DataError) -> ParquetError {
        let text = error.to_string();
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        ParquetError::General(text)
    }

    fn chunk(&self, start: u64) -> Result<&Chunk> {
        let at = self.chunks.partition_point(|chunk| chunk.range.end <= start);
        self.chunks
            .get(at)
            .filter(|chunk| chunk.range.start <= start)
            .ok_or_else(|| ParquetError::General(format!("byte {start} lies outside the column chunks")))
    }

    /// Bytes of a chunk from `start`: at least `least`, or all that are left of it.
    fn bytes(&self, start: u64, least: usize) -> Result<(Bytes, &Chunk)> {
        let chunk = self.chunk(start)?;
        let left = usize::try_from(chunk.range.end - start).unwrap_or(usize::MAX);
        let least = least.min(left);
        let mut state = chunk.state.lock().unwrap_or_else(PoisonError::into_inner);
        if start < state.start {
            // The decoder went back, as it does for a dictionary that it skipped.
            let range = start..start + least as u64;
            return Ok((self.handle.block_on(self.object.range(range)).map_err(|error| self.fail(error))?, chunk));
        }
        let skip = usize::try_from(start - state.start).unwrap_or(usize::MAX);
        if skip <= state.buffer.len() {
            // What lies before is done with.
            state.buffer.advance(skip);
            state.start = start;
        }
        let mut pieces = Vec::new();
        let mut here = state.buffer.len();
        while here < least || state.start < start {
            let next = match &mut state.ahead {
                Some(ahead) => ahead.next().map_err(|error| self.fail(error))?,
                None => None,
            };
            let Some(mut next) = next else { return Err(ParquetError::EOF("the column chunk is cut off".to_owned())) };
            if state.start < start {
                // A page was skipped: the buffer and perhaps all of this window lie before.
                state.start += state.buffer.len() as u64;
                state.buffer = Bytes::new();
                let skip = usize::try_from(start - state.start).unwrap_or(usize::MAX).min(next.len());
                next.advance(skip);
                state.start += skip as u64;
                here = 0;
            }
            here += next.len();
            pieces.push(next);
        }
        if !pieces.is_empty() {
            state.buffer = if let ([piece], true) = (&pieces[..], state.buffer.is_empty()) {
                piece.clone()
            } else {
                let mut joined = BytesMut::with_capacity(here);
                joined.extend_from_slice(&state.buffer);
                pieces.iter().for_each(|piece| joined.extend_from_slice(piece));
                joined.freeze()
            };
        }
        Ok((state.buffer.clone(), chunk))
    }

    /// Bytes from a page header on, once the header has passed the checks.
    fn header(&self, start: u64) -> Result<Bytes> {
        let mut want = 4 << 10;
        loop {
            let (bytes, chunk) = self.bytes(start, want)?;
            match check::page(&bytes, chunk.bounds) {
                Ok(()) => return Ok(bytes),
                // The header may go on: statistics of long strings are in it.
                Err(_) if want < PAGE_HEADER && (bytes.len() as u64) < chunk.range.end - start => want *= 4,
                Err(problem) => {
                    return Err(ParquetError::General(format!(
                        "the page header at byte {start} is damaged: {problem}"
                    )));
                }
            }
        }
    }
}

/// The chunks as the library wants them; clones share them.
#[derive(Clone)]
pub(crate) struct Shared(pub(crate) Arc<Chunks>);

impl Length for Shared {
    fn len(&self) -> u64 {
        self.0.object.size
    }
}

impl ChunkReader for Shared {
    type T = HeaderReader;

    fn get_read(&self, start: u64) -> Result<Self::T> {
        Ok(HeaderReader { chunks: Arc::clone(&self.0), start, bytes: None })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        let (bytes, _) = self.0.bytes(start, length)?;
        if bytes.len() < length {
            return Err(ParquetError::EOF(format!(
                "{length} bytes are wanted at byte {start}, {} are left of the column chunk",
                bytes.len()
            )));
        }
        Ok(bytes.slice(..length))
    }
}

/// The library asks for a reader in order to decode a page header, but also at places where it then reads nothing; so
/// the check waits for the first read.
pub(crate) struct HeaderReader {
    chunks: Arc<Chunks>,
    start: u64,
    bytes: Option<Bytes>,
}

impl Read for HeaderReader {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let bytes = match &mut self.bytes {
            Some(bytes) => bytes,
            empty => empty.insert(self.chunks.header(self.start).map_err(std::io::Error::other)?),
        };
        let count = out.len().min(bytes.len());
        bytes.copy_to_slice(&mut out[..count]);
        Ok(count)
    }
}
