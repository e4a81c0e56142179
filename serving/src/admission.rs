//! How much is taken on at once: a number of requests, and of bytes in their bodies and in large answers. What exceeds either is
//! refused at once rather than queued, so that callers can go elsewhere and memory stays bounded.
//!
//! A request counts as one to be answered when all of its body is there. Until then it is only arriving, of which many more are let
//! in: whoever dribbles bodies would otherwise keep everybody else out.

use crate::query::QueryError;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// An error of any kind, as bodies carry it.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The allowances.
#[derive(Debug)]
pub(crate) struct Admission {
    arriving: Arc<Semaphore>,
    requests: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
}

/// A request's share of them, given back when dropped.
#[derive(Debug)]
pub(crate) struct Slot(Arc<Share>);

#[derive(Debug)]
struct Share {
    requests: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    held: Mutex<Held>,
}

#[derive(Debug)]
struct Held {
    place: Place,
    bytes: Option<OwnedSemaphorePermit>,
}

/// Where a request stands; the permit is given back with it.
#[derive(Debug)]
enum Place {
    Arriving(#[allow(dead_code)] OwnedSemaphorePermit),
    Arrived(#[allow(dead_code)] OwnedSemaphorePermit),
}

/// A body whose bytes are charged to a [`Slot`] as they arrive.
pub(crate) struct Charged<B> {
    body: B,
    share: Arc<Share>,
    refuse: fn(QueryError) -> BoxError,
}

impl Admission {
    pub(crate) fn new(arriving: usize, requests: usize, bytes: usize) -> Self {
        let semaphore = |permits: usize| Arc::new(Semaphore::new(permits.clamp(1, Semaphore::MAX_PERMITS)));
        Self { arriving: semaphore(arriving), requests: semaphore(requests), bytes: semaphore(bytes) }
    }

    /// Takes on a request, or refuses it with [`QueryError::Overloaded`].
    pub(crate) fn enter(&self) -> Result<Slot, QueryError> {
        let place = Place::Arriving(take(&self.arriving, 1)?);
        let held = Mutex::new(Held { place, bytes: None });
        Ok(Slot(Arc::new(Share { requests: Arc::clone(&self.requests), bytes: Arc::clone(&self.bytes), held })))
    }
}

impl Slot {
    /// Charges what arrives of `body` to this slot. When the bytes run out, or too many requests are being answered when all is
    /// there, the body ends with `refuse`'s error; without a body the latter is told at once.
    pub(crate) fn charge<B: Body>(
        &self,
        body: B,
        refuse: fn(QueryError) -> BoxError,
    ) -> Result<Charged<B>, QueryError> {
        if body.is_end_stream() {
            self.0.arrived()?;
        }
        Ok(Charged { body, share: Arc::clone(&self.0), refuse })
    }

    /// Room for the bytes of an answer, until the permit is dropped.
    pub(crate) fn answer(&self, bytes: usize) -> Result<OwnedSemaphorePermit, QueryError> {
        take(&self.0.bytes, bytes)
    }
}

impl Share {
    /// All of the body is there.
    fn arrived(&self) -> Result<(), QueryError> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Place::Arriving(_) = held.place {
            held.place = Place::Arrived(take(&self.requests, 1)?);
        }
        Ok(())
    }

    fn charge(&self, bytes: usize) -> Result<(), QueryError> {
        let permit = take(&self.bytes, bytes)?;
        match &mut self.held.lock().unwrap_or_else(PoisonError::into_inner).bytes {
            Some(held) => held.merge(permit),
            held @ None => *held = Some(permit),
        }
        Ok(())
    }
}

fn take(semaphore: &Arc<Semaphore>, permits: usize) -> Result<OwnedSemaphorePermit, QueryError> {
    let permits = u32::try_from(permits).unwrap_or(u32::MAX);
    Arc::clone(semaphore).try_acquire_many_owned(permits).map_err(|_| QueryError::Overloaded)
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
            None => None,
            Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
            Some(Ok(frame)) => Some(frame),
        };
        let length = frame.as_ref().and_then(Frame::data_ref).map_or(0, Bytes::len);
        let mut admitted = self.share.charge(length);
        if frame.is_none() || self.body.is_end_stream() {
            admitted = admitted.and_then(|()| self.share.arrived());
        }
        Poll::Ready(match admitted {
            Ok(()) => frame.map(Ok),
            Err(error) => Some(Err((self.refuse)(error))),
        })
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

    fn body(length: usize) -> Full<Bytes> {
        Full::new(Bytes::from(vec![0; length]))
    }

    async fn arrive(slot: &Slot, length: usize) -> Result<Bytes, QueryError> {
        match slot.charge(body(length), |error| error.into())?.collect().await {
            Ok(collected) => Ok(collected.to_bytes()),
            Err(error) => Err(error.downcast_ref::<QueryError>().unwrap().clone()),
        }
    }

    #[tokio::test]
    async fn requests_beyond_the_allowance_are_refused_until_one_leaves() {
        let admission = Admission::new(9, 2, 100);
        let slots: Vec<Slot> = (0..3).map(|_| admission.enter().unwrap()).collect();
        // With a body or without one.
        assert!(arrive(&slots[0], 1).await.is_ok());
        assert!(arrive(&slots[1], 0).await.is_ok());
        for length in [0, 1] {
            assert_eq!(arrive(&slots[2], length).await.unwrap_err(), QueryError::Overloaded);
        }
        drop(slots);
        assert!(arrive(&admission.enter().unwrap(), 1).await.is_ok());
    }

    #[tokio::test]
    async fn what_is_still_arriving_keeps_nobody_out() {
        let admission = Admission::new(3, 1, 100);
        let arriving = [admission.enter().unwrap(), admission.enter().unwrap()];
        let waiting = arriving.each_ref().map(|slot| slot.charge(body(10), |error| error.into()).unwrap());
        let whole = admission.enter().unwrap();
        assert_eq!(admission.enter().unwrap_err(), QueryError::Overloaded);
        assert!(arrive(&whole, 1).await.is_ok());
        // Its place among the arriving is free again.
        assert!(admission.enter().is_ok());
        drop(waiting);
    }

    #[tokio::test]
    async fn bytes_are_charged_as_they_arrive_and_given_back_with_the_slot() {
        let admission = Admission::new(9, 9, 100);
        let first = admission.enter().unwrap();
        assert_eq!(arrive(&first, 70).await.unwrap().len(), 70);
        let second = admission.enter().unwrap();
        assert_eq!(arrive(&second, 31).await.unwrap_err(), QueryError::Overloaded);
        assert_eq!(second.answer(31).unwrap_err(), QueryError::Overloaded);
        drop(first);
        let answer = second.answer(31).unwrap();
        assert_eq!(arrive(&second, 70).await.unwrap_err(), QueryError::Overloaded);
        drop(answer);
        assert!(arrive(&second, 100).await.is_ok());
    }
}
