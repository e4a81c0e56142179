//! Workers take splits and want rows. This reads a split as a stream of blocks: the store is read ahead, decoding
//! happens on a blocking thread, and at most a few blocks wait for the consumer, so memory stays bounded however
//! large the split is, and the threads that serve the network never decode.
//!
//! Every request is conditional on the entity tag in the plan. An object that was replaced in the meantime ends the
//! stream with [`DataError::Changed`]; it never yields a mixture of old and new rows. (A store that gives no tags, as
//! some web servers, is checked by the object's size alone.)

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use coterie_crds::resolved::Source;
use futures::{Stream, StreamExt, stream};
use object_store::path::Path;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::columns::Layout;
use crate::contain::contain;
use crate::fetch::ObjectReader;
use crate::formats::{Header, csv, ipc, npy, parquet};
use crate::plan::{InputPlan, Object, Part, Split};
use crate::rows::{Place, Rows};
use crate::store::{Location, open};
use crate::{Block, Cause, DataError, Want, arrow_rows, block_rows};

/// Blocks that wait for the consumer.
const WAITING: usize = 2;
/// Headers that are kept, since the splits of an object are read one after another.
const HEADERS: usize = 4;

/// Reads the splits of one plan. Cheap to clone; clones share the byte count.
#[derive(Clone, Debug)]
pub struct Reader {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    location: Location,
    plan: Arc<InputPlan>,
    layout: Layout,
    bytes: Arc<AtomicU64>,
    headers: Mutex<VecDeque<(u32, Header)>>,
}

/// What the decoding thread sends.
enum Message {
    Block(Block),
    Failed(DataError),
    /// Without this, a thread that was lost would look like the end of the split.
    Done,
}

impl Reader {
    /// Opens the store of a plan's objects.
    ///
    /// # Errors
    /// When the store's settings cannot be used.
    pub fn open(source: &Source, plan: Arc<InputPlan>) -> Result<Self, DataError> {
        Ok(Self::open_at(source, open(&source.uri, &source.store)?, plan))
    }

    /// Like [`Reader::open`], in a store that is open already.
    #[must_use]
    pub fn open_at(source: &Source, location: Location, plan: Arc<InputPlan>) -> Self {
        let layout = Layout {
            vector: plan.vector.clone(),
            features: plan.feature_names.clone(),
            dimension: plan.dimension,
            id: source.columns.id.clone(),
            label: source.columns.label.clone(),
            invalid: source.invalid_rows,
            sets: source.columns.sets.clone(),
        };
        let inner = Inner { location, plan, layout, bytes: Arc::default(), headers: Mutex::default() };
        Self { inner: Arc::new(inner) }
    }

    /// The blocks of a split, in the order of its rows. The stream must be polled inside a tokio runtime; reading
    /// begins with the first poll and ends soon after the stream is dropped. After an error the stream ends.
    ///
    /// A stream holds one of the runtime's blocking threads while it is read, and needs others for files of this
    /// machine, so a runtime with few blocking threads must read only some streams at once.
    pub fn read(
        &self,
        split: u32,
        want: Want,
    ) -> impl Stream<Item = Result<Block, DataError>> + Send + 'static + use<> {
        let inner = Arc::clone(&self.inner);
        stream::once(async move { start(inner, split, want) }).flatten()
    }

    /// Bytes fetched from the store so far, by this reader and its clones.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.inner.bytes.load(Ordering::Relaxed)
    }
}

fn start(inner: Arc<Inner>, split: u32, want: Want) -> impl Stream<Item = Result<Block, DataError>> + Send + 'static {
    let (sender, receiver) = mpsc::channel(WAITING);
    let handle = Handle::current();
    let uri = inner.location.uri.clone();
    tokio::task::spawn_blocking(move || {
        let result = contain(|| inner.decode(split, want, &handle, &sender));
        let message = match result {
            Ok(Ok(())) => Message::Done,
            Ok(Err(error)) => Message::Failed(error),
            Err(panic) => Message::Failed(inner.stopped(split, &panic)),
        };
        // When nobody listens any more, nobody needs to know.
        let _ = sender.blocking_send(message);
    });
    stream::unfold(Some((receiver, uri)), |state| async move {
        let (mut receiver, uri) = state?;
        match receiver.recv().await {
            Some(Message::Block(block)) => Some((Ok(block), Some((receiver, uri)))),
            Some(Message::Failed(error)) => Some((Err(error), None)),
            Some(Message::Done) => None,
            None => {
                let source = Cause("the process is shutting down".to_owned());
                Some((
                    Err(DataError::Unavailable {
                        uri,
                        action: "reading a split".to_owned(),
                        remedy: "run again".to_owned(),
                        source,
                    }),
                    None,
                ))
            }
        }
    })
}

/// Opens one object of a plan.
pub(crate) fn object_reader(
    location: &Location,
    object: &Object,
    bytes: &Arc<AtomicU64>,
) -> Result<ObjectReader, DataError> {
    let path = Path::parse(&object.path)
        .map_err(|error| crate::store::failure(&location.uri, "opening an object of the plan", &error.into()))?;
    let uri = location.object_uri(&path);
    Ok(ObjectReader::new(Arc::clone(&location.store), path, uri, object.size, object.etag.clone(), Arc::clone(bytes)))
}

/// The error for a decoder that panicked.
pub(crate) fn decoder_stopped(object: &str, part: Part, panic: &str) -> DataError {
    let place = match part {
        Part::RowGroup { index, .. } => format!("row group {index}"),
        Part::Rows { start, count } => format!("rows {start} to {}", start + count),
        Part::Bytes { start, end } => format!("bytes {start} to {end}"),
        Part::Batches { first, count } => format!("record batches {first} to {}", first + count),
    };
    DataError::Corrupt {
        object: object.to_owned(),
        place,
        problem: format!("it is damaged: the decoder stopped with {panic:?}"),
        remedy: "write the object again".to_owned(),
    }
}

impl Inner {
    fn split(&self, split: u32) -> Result<(&Split, &Object), DataError> {
        let found = self
            .plan
            .splits
            .get(split as usize)
            .and_then(|split| Some((split, self.plan.objects.get(split.object as usize)?)));
        found.ok_or_else(|| DataError::Settings {
            uri: self.location.uri.clone(),
            problem: format!("the plan has no split {split}"),
            remedy: "run again".to_owned(),
        })
    }

    fn stopped(&self, split: u32, panic: &str) -> DataError {
        match self.split(split) {
            Ok((split, object)) => {
                decoder_stopped(&self.location.object_uri(&Path::from(object.path.as_str())), split.part, panic)
            }
            Err(error) => error,
        }
    }

    /// The header of an object, from memory if it was read lately.
    fn header(&self, index: u32, object: &ObjectReader, handle: &Handle) -> Result<Header, DataError> {
        let lock = || self.headers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, header)) = lock().iter().find(|(at, _)| *at == index) {
            return Ok(header.clone());
        }
        let header = handle.block_on(Header::read(self.plan.format, object))?;
        let mut headers = lock();
        if headers.len() == HEADERS {
            headers.pop_front();
        }
        headers.push_back((index, header.clone()));
        Ok(header)
    }

    fn decode(&self, split: u32, want: Want, handle: &Handle, sender: &mpsc::Sender<Message>) -> Result<(), DataError> {
        let (split, object) = self.split(split)?;
        let object = object_reader(&self.location, object, &self.bytes)?;
        let header = self.header(split.object, &object, handle)?;
        let layout = Layout {
            id: self.layout.id.clone().filter(|_| want.ids),
            label: self.layout.label.clone().filter(|_| want.labels),
            ..self.layout.clone()
        };
        let mut send = |rows: Rows, place: Place<'_>| -> Result<bool, DataError> {
            let block = rows.finish(&object.uri, &layout, place)?;
            Ok(sender.blocking_send(Message::Block(block)).is_ok())
        };
        let step = block_rows(layout.dimension);
        match (&header, split.part) {
            (Header::Parquet(header), Part::RowGroup { index, rows }) => {
                let group = index as usize;
                if header.row_groups.get(group) != Some(&rows) {
                    return Err(DataError::Changed { object: object.uri.to_string() });
                }
                let mut first = header.first_row(group);
                for batch in parquet::batches(&object, handle, header, group, &layout.wanted(), step)? {
                    let batch = batch?;
                    let place = |row: usize| format!("row {} (row group {index})", first + row as u64);
                    if !send(arrow_rows::decode(&batch, &object.uri, &layout, &place)?, &place)? {
                        return Ok(());
                    }
                    first += batch.num_rows() as u64;
                }
                Ok(())
            }
            (Header::Arrow(header), Part::Batches { first, count }) => {
                for batch in ipc::batches(&object, handle, header, first as usize, count as usize, &layout.wanted())? {
                    let (index, batch) = batch?;
                    for start in (0..batch.num_rows()).step_by(step) {
                        let piece = batch.slice(start, step.min(batch.num_rows() - start));
                        let place = |row: usize| format!("row {} of record batch {index}", start + row);
                        if !send(arrow_rows::decode(&piece, &object.uri, &layout, &place)?, &place)? {
                            return Ok(());
                        }
                    }
                }
                Ok(())
            }
            (Header::Npy(header), Part::Rows { start, count }) => {
                if header.columns != layout.dimension as u64
                    || start.checked_add(count).is_none_or(|end| end > header.rows)
                {
                    return Err(DataError::Changed { object: object.uri.to_string() });
                }
                npy::read(&object, handle, header, start..start + count, &mut send)
            }
            (Header::Csv(header), Part::Bytes { start, end }) => {
                csv::read(&object, handle, header, start..end, &layout, &mut send)
            }
            (_, part) => Err(DataError::Settings {
                uri: object.uri.to_string(),
                problem: format!("the plan's part {part:?} does not fit the format {:?}", self.plan.format),
                remedy: "run again".to_owned(),
            }),
        }
    }
}
