//! Large answers on their way out. Whoever asks for them and then reads slowly, or not at all, could fill the memory with them; so
//! their bytes count among those in flight until they are sent, and not for ever.

use crate::admission::{BoxError, Slot};
use crate::query::QueryError;
use axum::body::{Body, HttpBody};
use axum::response::Response;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt, StreamBody};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;

/// Answers up to this size are not counted.
const SMALL: usize = 256 << 10;

/// What is handed to a connection at once. It takes the next piece when it has sent most of this one.
const PIECE: usize = 64 << 10;

/// The caller did not read its answer.
#[derive(Debug, thiserror::Error)]
#[error("the answer was not read within {limit:?}")]
struct Unread {
    limit: Duration,
}

/// What is left to send, until it is given up.
type Rest = Mutex<Option<Left>>;

#[derive(Debug)]
struct Left {
    data: Bytes,
    /// Given back when the data is sent.
    permit: Option<OwnedSemaphorePermit>,
}

/// A body whose first frame is here already; what follows it is small.
struct Outgoing {
    rest: Arc<Rest>,
    body: Body,
    limit: Duration,
}

/// `response`, whose body is charged to `slot` and given up after `limit` if it is large; or [`QueryError::Overloaded`].
pub(crate) async fn bound(response: Response, slot: &Slot, limit: Duration) -> Result<Response, QueryError> {
    let small = |body: &Body| body.size_hint().exact().is_some_and(|size| size <= SMALL as u64);
    if response.body().is_end_stream() || small(response.body()) {
        return Ok(response);
    }
    let (head, mut body) = response.into_parts();
    // A message over gRPC has its size only once it is encoded, which its first frame is.
    let data = match body.frame().await.transpose() {
        Ok(Some(frame)) => match frame.into_data() {
            Ok(data) => data,
            Err(trailers) => {
                let body = StreamBody::new(futures::stream::iter([Ok::<_, BoxError>(trailers)]));
                return Ok(Response::from_parts(head, Body::new(body)));
            }
        },
        Ok(None) => Bytes::new(),
        Err(error) => {
            tracing::error!(%error, "an answer could not be made");
            return Err(QueryError::Internal);
        }
    };
    let permit = if data.len() > SMALL { Some(slot.answer(data.len())?) } else { None };
    let large = permit.is_some();
    let rest = Arc::new(Mutex::new(Some(Left { data, permit })));
    if large {
        tokio::spawn(give_up(Arc::downgrade(&rest), limit));
    }
    Ok(Response::from_parts(head, Body::new(Outgoing { rest, body, limit })))
}

/// Lets go of what is left after `limit`, though the connection may be stuck and never ask for it.
async fn give_up(rest: Weak<Rest>, limit: Duration) {
    tokio::time::sleep(limit).await;
    if let Some(rest) = rest.upgrade() {
        *rest.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

// === impl Outgoing ===

impl HttpBody for Outgoing {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut *self.rest.lock().unwrap_or_else(PoisonError::into_inner) {
            None => return Poll::Ready(Some(Err(Box::new(Unread { limit: self.limit })))),
            Some(Left { data, permit }) => {
                if !data.is_empty() {
                    // Copied: a slice that a stuck connection holds would keep all of it in memory.
                    let piece = Bytes::copy_from_slice(&data.split_to(PIECE.min(data.len())));
                    return Poll::Ready(Some(Ok(Frame::data(piece))));
                }
                *permit = None;
            }
        }
        Pin::new(&mut self.body).poll_frame(context).map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        let rest = self.rest.lock().unwrap_or_else(PoisonError::into_inner);
        rest.as_ref().is_some_and(|left| left.data.is_empty()) && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.lock().unwrap_or_else(PoisonError::into_inner);
        match rest.as_ref() {
            Some(left) if self.body.is_end_stream() => SizeHint::with_exact(left.data.len() as u64),
            Some(_) | None => SizeHint::default(),
        }
    }
}
