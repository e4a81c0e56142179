//! All bytes come through here: ranges of one object, each conditional on the object being the one that was
//! planned, counted, bounded in number, and either coalesced (many columns at once) or read ahead (one after
//! another).

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use futures::FutureExt;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStore};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::store::failure;
use crate::{Cause, DataError};

/// Requests under way for one object.
const CONCURRENT: usize = 16;
/// Ranges closer than this are fetched together.
const GAP: u64 = 64 << 10;

/// One object, read by ranges. Clones share the tag and the counter.
#[derive(Clone, Debug)]
pub(crate) struct ObjectReader {
    store: Arc<dyn ObjectStore>,
    path: Path,
    /// The object's URI for messages.
    pub(crate) uri: Arc<str>,
    /// Size in bytes, as planned.
    pub(crate) size: u64,
    /// The entity tag; learnt with the first answer when it was not known before.
    etag: Arc<OnceLock<String>>,
    bytes: Arc<AtomicU64>,
    permits: Arc<Semaphore>,
}

impl ObjectReader {
    pub(crate) fn new(
        store: Arc<dyn ObjectStore>,
        path: Path,
        uri: String,
        size: u64,
        etag: Option<String>,
        bytes: Arc<AtomicU64>,
    ) -> Self {
        let known = OnceLock::new();
        if let Some(etag) = etag {
            let _ = known.set(etag);
        }
        Self {
            store,
            path,
            uri: uri.into(),
            size,
            etag: Arc::new(known),
            bytes,
            permits: Arc::new(Semaphore::new(CONCURRENT)),
        }
    }

    /// The entity tag, once known.
    pub(crate) fn etag(&self) -> Option<String> {
        self.etag.get().cloned()
    }

    /// The bytes of a range inside the object.
    pub(crate) async fn range(&self, range: Range<u64>) -> Result<Bytes, DataError> {
        if range.start >= range.end {
            return Ok(Bytes::new());
        }
        let action = format!("reading bytes {}..{} of the object", range.start, range.end);
        let _permit = self.permits.acquire().await;
        // A weak tag never matches If-Match, so it is only compared with the answer's.
        let if_match = self.etag.get().filter(|etag| !etag.starts_with("W/")).cloned();
        let options = GetOptions { range: Some(GetRange::Bounded(range.clone())), if_match, ..GetOptions::default() };
        let answer =
            self.store.get_opts(&self.path, options).await.map_err(|error| failure(&self.uri, &action, &error))?;
        let changed = || DataError::Changed { object: self.uri.to_string() };
        if answer.meta.size != self.size {
            return Err(changed());
        }
        if let Some(etag) = &answer.meta.e_tag
            && self.etag.get_or_init(|| etag.clone()) != etag
        {
            return Err(changed());
        }
        let bytes = answer.bytes().await.map_err(|error| failure(&self.uri, &action, &error))?;
        self.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        if bytes.len() as u64 != range.end - range.start {
            return Err(DataError::Unavailable {
                uri: self.uri.to_string(),
                action,
                remedy: "run again; if it persists, check the store".to_owned(),
                source: Cause(format!("{} bytes came instead of {}", bytes.len(), range.end - range.start)),
            });
        }
        Ok(bytes)
    }

    /// Several ranges, in the order asked for; near ones are fetched together.
    pub(crate) async fn ranges(&self, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, DataError> {
        // Boxed, since the compiler cannot see that this future is Send for every lifetime otherwise.
        object_store::coalesce_ranges(ranges, |range| self.range(range).boxed(), GAP).await
    }
}

/// The consecutive chunks of a range, the next one always under way. For use on a blocking thread.
#[derive(Debug)]
pub(crate) struct ReadAhead {
    object: ObjectReader,
    handle: Handle,
    next: u64,
    end: u64,
    chunk: u64,
    pending: Option<JoinHandle<Result<Bytes, DataError>>>,
}

impl ReadAhead {
    /// Begins to read at once.
    pub(crate) fn new(object: ObjectReader, handle: Handle, range: Range<u64>, chunk: u64) -> Self {
        let mut ahead = Self { object, handle, next: range.start, end: range.end, chunk: chunk.max(1), pending: None };
        ahead.begin();
        ahead
    }

    fn begin(&mut self) {
        if self.next < self.end {
            let range = self.next..self.end.min(self.next + self.chunk);
            self.next = range.end;
            let object = self.object.clone();
            self.pending = Some(self.handle.spawn(async move { object.range(range).await }));
        }
    }

    /// The next chunk; `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Bytes>, DataError> {
        let Some(pending) = self.pending.take() else { return Ok(None) };
        let bytes = self.handle.block_on(pending).map_err(|_| interrupted(&self.object))??;
        self.begin();
        Ok(Some(bytes))
    }
}

/// The error of a read whose task ended without an answer.
pub(crate) fn interrupted(object: &ObjectReader) -> DataError {
    DataError::Unavailable {
        uri: object.uri.to_string(),
        action: "reading the object".to_owned(),
        remedy: "run again".to_owned(),
        source: Cause("the process is shutting down".to_owned()),
    }
}

impl Drop for ReadAhead {
    fn drop(&mut self) {
        if let Some(pending) = &self.pending {
            pending.abort();
        }
    }
}
