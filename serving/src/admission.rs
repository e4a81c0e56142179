//! How much is taken on at once: a number of requests, and of bytes in their bodies. What exceeds either is refused at once
//! rather than queued, so that callers can go elsewhere and memory stays bounded.

use crate::query::QueryError;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// An error of any kind, as bodies carry it.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The two allowances.
#[derive(Debug)]
pub(crate) struct Admission {
    requests: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
}

/// A request's share of both, given back when dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    _request: OwnedSemaphorePermit,
    bytes: Arc<Semaphore>,
    held: Held,
}

type Held = Arc<Mutex<Option<OwnedSemaphorePermit>>>;

/// A body whose bytes are charged to a [`Slot`] as they arrive.
pub(crate) struct Charged<B> {
    body: B,
    bytes: Arc<Semaphore>,
    held: Held,
    refuse: fn(QueryError) -> BoxError,
}

impl Admission {
    pub(crate) fn new(requests: usize, bytes: usize) -> Self {
        let semaphore = |permits: usize| Arc::new(Semaphore::new(permits.clamp(1, Semaphore::MAX_PERMITS)));
        Self { requests: semaphore(requests), bytes: semaphore(bytes) }
    }

    /// Takes on a request, or refuses it with [`QueryError::Overloaded`].
    pub(crate) fn enter(&self) -> Result<Slot, QueryError> {
        let request = Arc::clone(&self.requests).try_acquire_owned().map_err(|_| QueryError::Overloaded)?;
        Ok(Slot { _request: request, bytes: Arc::clone(&self.bytes), held: Held::default() })
    }
}

impl Slot {
    /// Charges what arrives of `body` to this slot. When the bytes run out the body ends with `refuse`'s error.
    pub(crate) fn charge<B>(&self, body: B, refuse: fn(QueryError) -> BoxError) -> Charged<B> {
        Charged { body, bytes: Arc::clone(&self.bytes), held: Arc::clone(&self.held), refuse }
    }
}

impl<B> Body for Charged<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = match ready!(Pin::new(&mut self.body).poll_frame(context)) {
            None => return Poll::Ready(None),
            Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
            Some(Ok(frame)) => frame,
        };
        let length = frame.data_ref().map_or(0, Bytes::len);
        let permits = u32::try_from(length).unwrap_or(u32::MAX);
        let Ok(permit) = Arc::clone(&self.bytes).try_acquire_many_owned(permits) else {
            return Poll::Ready(Some(Err((self.refuse)(QueryError::Overloaded))));
        };
        match &mut *self.held.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(held) => held.merge(permit),
            held @ None => *held = Some(permit),
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{BodyExt, Full};

    #[test]
    fn requests_beyond_the_allowance_are_refused_until_one_leaves() {
        let admission = Admission::new(2, 100);
        let first = admission.enter().unwrap();
        let _second = admission.enter().unwrap();
        assert_eq!(admission.enter().unwrap_err(), QueryError::Overloaded);
        drop(first);
        assert!(admission.enter().is_ok());
    }

    #[tokio::test]
    async fn bytes_are_charged_as_they_arrive_and_given_back_with_the_slot() {
        let admission = Admission::new(9, 100);
        let body = |length: usize| Full::new(Bytes::from(vec![0; length]));
        let first = admission.enter().unwrap();
        let collected = first.charge(body(70), |error| error.into()).collect().await.unwrap();
        assert_eq!(collected.to_bytes().len(), 70);
        let second = admission.enter().unwrap();
        let error = second.charge(body(31), |error| error.into()).collect().await.unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&QueryError::Overloaded));
        drop(first);
        assert!(second.charge(body(100), |error| error.into()).collect().await.is_ok());
    }
}
