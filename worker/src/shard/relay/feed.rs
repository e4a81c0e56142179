//! A step's payload while it arrives: whoever asks gets what is there, and then what comes.

use bytes::{Bytes, BytesMut};
use futures::Stream;
use tokio::sync::watch;

/// See the module's documentation.
#[derive(Debug)]
pub(in crate::shard) struct Feed(watch::Sender<Arrived>);

#[derive(Debug, Default)]
struct Arrived {
    chunks: Vec<Bytes>,
    length: usize,
    complete: bool,
}

impl Default for Feed {
    fn default() -> Self {
        Self(watch::Sender::new(Arrived::default()))
    }
}

impl Feed {
    /// Bytes that have arrived.
    pub(in crate::shard) fn length(&self) -> usize {
        self.0.borrow().length
    }

    /// The next bytes.
    pub(in crate::shard) fn push(&self, chunk: Bytes) {
        self.0.send_modify(|arrived| {
            arrived.length += chunk.len();
            arrived.chunks.push(chunk);
        });
    }

    /// There is no more. Returns the whole.
    pub(in crate::shard) fn complete(&self) -> Bytes {
        self.0.send_modify(|arrived| arrived.complete = true);
        let arrived = self.0.borrow();
        let mut whole = BytesMut::with_capacity(arrived.length);
        arrived.chunks.iter().for_each(|chunk| whole.extend_from_slice(chunk));
        whole.freeze()
    }

    /// All chunks from the first on; `None` in their midst means that the rest will not come.
    pub(in crate::shard) fn follow(&self) -> impl Stream<Item = Option<Bytes>> + Send + use<> {
        let state = Some((self.0.subscribe(), 0usize));
        futures::stream::unfold(state, |state| async move {
            let (mut arrived, at) = state?;
            let wanted = |arrived: &Arrived| arrived.chunks.len() > at || arrived.complete;
            let next = match arrived.wait_for(wanted).await {
                Ok(arrived) => arrived.chunks.get(at).cloned(),
                Err(_gone) => return Some((None, None)),
            };
            next.map(|chunk| (Some(chunk), Some((arrived, at + 1))))
        })
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, StreamExt};

    use super::*;

    #[tokio::test]
    async fn early_and_late_readers_get_all_of_it() {
        let feed = Feed::default();
        let mut early = Box::pin(feed.follow());
        assert!(early.next().now_or_never().is_none(), "nothing is there yet");
        feed.push(Bytes::from_static(b"ab"));
        assert_eq!(early.next().await, Some(Some(Bytes::from_static(b"ab"))));
        feed.push(Bytes::from_static(b"c"));
        assert_eq!(feed.length(), 3);
        assert_eq!(feed.complete(), Bytes::from_static(b"abc"));
        assert_eq!(early.collect::<Vec<_>>().await, [Some(Bytes::from_static(b"c"))]);
        assert_eq!(feed.follow().count().await, 2);
    }

    #[tokio::test]
    async fn readers_hear_when_the_rest_will_not_come() {
        let feed = Feed::default();
        feed.push(Bytes::from_static(b"ab"));
        let reader = feed.follow();
        drop(feed);
        assert_eq!(reader.collect::<Vec<_>>().await, [Some(Bytes::from_static(b"ab")), None]);
    }
}
