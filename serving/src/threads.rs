//! Threads for work that takes long.
//!
//! They take the next piece of work themselves. Were they woken for each, the machine would stand still in between, for a tenth of the time where
//! pieces take a millisecond.

use crate::query::QueryError;
use crossbeam_channel::{Receiver, Sender, unbounded};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use tokio::sync::oneshot;

/// Most threads.
const MOST: usize = 1024;

type Work = Box<dyn FnOnce() + Send>;

/// Some threads, and what waits for them in order of asking. They end with this value, once they have done what they work on.
#[derive(Debug)]
pub(crate) struct Threads {
    queue: Sender<Work>,
    count: usize,
}

impl Threads {
    /// Starts so many threads, at least one.
    ///
    /// # Errors
    /// When the system gives no more threads.
    pub(crate) fn start(count: usize) -> io::Result<Self> {
        let count = count.clamp(1, MOST);
        let (queue, next): (_, Receiver<Work>) = unbounded();
        for number in 0..count {
            let next = next.clone();
            thread::Builder::new()
                .name(format!("compute-{number}"))
                .spawn(move || next.iter().for_each(|work| work()))?;
        }
        Ok(Self { queue, count })
    }

    /// How many they are.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Has `work` done in its turn, unless nobody waits for it any more then.
    ///
    /// # Errors
    /// [`QueryError::Internal`] when it panics.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, QueryError> {
        let (answer, answered) = oneshot::channel();
        let work = move || {
            if !answer.is_closed() {
                // A caller that left meanwhile needs no answer.
                let _ = answer.send(catch_unwind(AssertUnwindSafe(work)));
            }
        };
        self.queue.send(Box::new(work)).map_err(|_| QueryError::ShuttingDown)?;
        match answered.await {
            Ok(Ok(result)) => Ok(result),
            Ok(Err(_panic)) => {
                tracing::error!("a piece of work panicked");
                Err(QueryError::Internal)
            }
            Err(_) => Err(QueryError::ShuttingDown),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, mpsc};

    #[tokio::test]
    async fn a_panic_is_an_answer_and_ends_no_thread() {
        let threads = Threads::start(1).unwrap();
        let work: fn() -> u32 = || panic!("as the test wants");
        assert_eq!(threads.run(work).await, Err(QueryError::Internal));
        assert_eq!(threads.run(|| 7).await, Ok(7));
    }

    #[tokio::test]
    async fn what_nobody_waits_for_is_not_done() {
        let threads = Threads::start(0).unwrap();
        assert_eq!(threads.count(), 1);
        let (release, held) = mpsc::channel::<()>();
        let done = Arc::new(AtomicUsize::new(0));
        let first = threads.run(move || held.recv().is_err());
        let count = |done: &Arc<AtomicUsize>| {
            let done = Arc::clone(done);
            move || done.fetch_add(1, Ordering::Relaxed)
        };
        let (left, kept) = (threads.run(count(&done)), threads.run(count(&done)));
        let (mut first, mut left, mut kept) = (Box::pin(first), Box::pin(left), Box::pin(kept));
        // Each is asked for in this order.
        assert!(futures::poll!(&mut first).is_pending());
        assert!(futures::poll!(&mut left).is_pending());
        assert!(futures::poll!(&mut kept).is_pending());
        drop(left);
        drop(release);
        assert_eq!(first.await, Ok(true));
        assert_eq!(kept.await, Ok(0));
        assert_eq!(done.load(Ordering::Relaxed), 1);
    }
}
