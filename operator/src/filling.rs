//! Whether every watch has told once all there is.
//!
//! Many wait for that at a time: the reconciliations of all jobs, and who counts them. A store of `kube` wakes only the one that asked last
//! (`Store::wait_until_ready` keeps a single waker), so that the others would wait for ever; a channel wakes all.

use std::sync::Arc;

use futures::{Stream, StreamExt};
use kube::runtime::watcher::{self, Event};
use tokio::sync::watch;

/// Watches that have not told all yet are counted here.
#[derive(Clone)]
pub(crate) struct Filling(Arc<watch::Sender<usize>>);

/// Tells when all of them have.
pub(crate) struct Filled(watch::Receiver<usize>);

/// A watch has ended before it told all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a watch has ended")]
pub(crate) struct Ended;

/// No watches yet.
pub(crate) fn filling() -> (Filling, Filled) {
    let (sender, receiver) = watch::channel(0);
    (Filling(Arc::new(sender)), Filled(receiver))
}

// === impl Filling ===

impl Filling {
    /// Counts a watch, until it has told all. Stores are to be written before, and all watches counted before anybody waits.
    pub(crate) fn count<K: Send + 'static>(
        &self,
        events: impl Stream<Item = Result<Event<K>, watcher::Error>> + Send + 'static,
    ) -> impl Stream<Item = Result<Event<K>, watcher::Error>> + Send + 'static {
        self.0.send_modify(|missing| *missing += 1);
        let mut counted = Some(self.clone());
        events.inspect(move |event| {
            if matches!(event, Ok(Event::InitDone))
                && let Some(Self(missing)) = counted.take()
            {
                missing.send_modify(|missing| *missing -= 1);
            }
        })
    }
}

// === impl Filled ===

impl Filled {
    /// Completes when every watch has told all.
    pub(crate) async fn wait(&self) -> Result<(), Ended> {
        self.0.clone().wait_for(|missing| *missing == 0).await.map(drop).map_err(|_closed| Ended)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::{
        channel::mpsc::{UnboundedReceiver, unbounded},
        future,
    };
    use k8s_openapi::api::core::v1::ConfigMap;
    use tokio::time::timeout;

    use super::*;

    type Told = Result<Event<ConfigMap>, watcher::Error>;

    /// Tasks that wait, which are woken one by one if at all.
    fn waiting(filled: &Arc<Filled>) -> impl Future<Output = Vec<Result<(), Ended>>> {
        let wait = |_| {
            let filled = filled.clone();
            tokio::spawn(async move { filled.wait().await })
        };
        let tasks: Vec<_> = (0..5).map(wait).collect();
        async { future::join_all(tasks).await.into_iter().map(Result::unwrap).collect() }
    }

    #[tokio::test]
    async fn all_who_wait_are_woken_once_every_watch_has_told_all() {
        let (filling, filled) = filling();
        let filled = Arc::new(filled);
        let (one, events) = unbounded();
        let mut first = Box::pin(filling.count::<ConfigMap>(events));
        let (other, events): (_, UnboundedReceiver<Told>) = unbounded();
        let mut second = Box::pin(filling.count(events));
        drop(filling);
        let mut all = Box::pin(waiting(&filled));
        // What a watch tells twice counts once.
        for _ in 0..2 {
            one.unbounded_send(Ok(Event::Init)).unwrap();
            one.unbounded_send(Ok(Event::InitDone)).unwrap();
            assert!(first.next().await.is_some() && first.next().await.is_some());
        }
        assert!(timeout(Duration::from_millis(50), &mut all).await.is_err());
        other.unbounded_send(Ok(Event::InitDone)).unwrap();
        assert!(second.next().await.is_some());
        assert_eq!(timeout(Duration::from_secs(10), all).await.unwrap(), [Ok(()); 5]);
        // Who comes later, when all watches are gone, is told the same.
        drop((first, second));
        assert_eq!(filled.wait().await, Ok(()));
    }

    #[tokio::test]
    async fn a_watch_that_ends_early_is_an_error_for_all() {
        let (filling, filled) = filling();
        let filled = Arc::new(filled);
        let (_told, events): (_, UnboundedReceiver<Told>) = unbounded();
        let watch = Box::pin(filling.count(events));
        drop(filling);
        let all = waiting(&filled);
        drop(watch);
        assert_eq!(timeout(Duration::from_secs(10), all).await.unwrap(), [Err(Ended); 5]);
    }
}
