//! A second model that sees some of the same rows: how much would change for callers if one took the other's place?
//!
//! Nobody waits for it. Rows are taken aside while a request is answered, at a bounded rate, and assigned afterwards; what does not fit into the queue is left
//! out. When nobody asks for the result any more, as after a roll-out, the model's memory is given back; should somebody ask again, it is loaded
//! again.

mod matching;
mod pairs;

use crate::compute::Compute;
use crate::query::{Assignment, Matrix, Served};
use coterie_model::Model;
use futures::future::BoxFuture;
use pairs::Pairs;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{self, Receiver, Sender};

/// Rows a second that are compared, and rows that may come at once.
const ROWS_PER_SECOND: f64 = 1_000.0;

/// Requests that wait to be compared.
const QUEUE: usize = 256;

/// How often somebody looks whether the model is wanted, while nothing is to be compared.
const LOOK: Duration = Duration::from_secs(60);

/// Loads the second model again; `None` when it cannot be had.
pub(crate) type Again = Box<dyn Fn() -> BoxFuture<'static, Option<Arc<Model>>> + Send + Sync>;

/// Rows set aside, and where each stands in its request.
#[derive(Debug)]
pub(crate) struct Sample {
    matrix: Matrix,
    rows: Vec<usize>,
}

/// Rows with their clusters, to be compared.
#[derive(Debug)]
struct Work {
    matrix: Matrix,
    clusters: Vec<u32>,
}

/// The second model, and what came of the comparison.
pub(crate) struct Shadow {
    version: String,
    /// `None` while nobody wants it.
    served: Mutex<Option<Arc<Served>>>,
    again: Again,
    queue: Sender<Work>,
    work: Mutex<Option<Receiver<Work>>>,
    pairs: Mutex<Pairs>,
    allowance: Mutex<Allowance>,
}

/// Rows that may be taken.
#[derive(Debug)]
struct Allowance {
    rows: f64,
    filled: Instant,
    asked: Instant,
    /// How long rows are compared after somebody last asked for the result.
    interest: Duration,
}

/// What came of the comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Comparison {
    /// Version of the second model.
    pub(crate) version: String,
    /// Rows that both have assigned.
    pub(crate) rows: u64,
    /// Rows that are in another cluster after the best matching of clusters.
    pub(crate) reassigned: u64,
}

// === impl Shadow ===

impl Shadow {
    /// A comparison with `served`, which `again` loads again, while somebody asks for it at least once in `interest`.
    pub(crate) fn new(served: Served, again: Again, interest: Duration, now: Instant) -> Self {
        let (queue, work) = mpsc::channel(QUEUE);
        Self {
            version: served.version().to_owned(),
            served: Mutex::new(Some(Arc::new(served))),
            again,
            queue,
            work: Mutex::new(Some(work)),
            pairs: Mutex::default(),
            allowance: Mutex::new(Allowance { rows: ROWS_PER_SECOND, filled: now, asked: now, interest }),
        }
    }

    /// Sets some rows of a request aside, spread over it.
    pub(crate) fn sample(&self, matrix: &Matrix, now: Instant) -> Option<Sample> {
        let count = lock(&self.allowance).take(matrix.rows(), now);
        if count == 0 || self.queue.capacity() == 0 || self.served().is_none() {
            return None;
        }
        let rows: Vec<usize> = (0..count).map(|i| i * matrix.rows() / count).collect();
        Some(Sample { matrix: matrix.pick(&rows), rows })
    }

    /// Has the rows that were set aside compared with their answers, some time.
    pub(crate) fn offer(&self, sample: Sample, assignments: &[Assignment]) {
        let Sample { matrix, rows } = sample;
        let clusters = rows.iter().filter_map(|row| assignments.get(*row)).map(|found| found.cluster).collect();
        // Where the queue is full, the rows are left out.
        let _ = self.queue.try_send(Work { matrix, clusters });
    }

    /// Compares what is offered, until this is dropped. Only the first call does anything.
    pub(crate) async fn run(&self, compute: &Compute) {
        let Some(mut work) = lock(&self.work).take() else { return };
        let look = LOOK.min(lock(&self.allowance).interest);
        loop {
            match tokio::time::timeout(look, work.recv()).await {
                Ok(Some(work)) => self.compare(work, compute).await,
                Ok(None) => return,
                Err(_elapsed) => self.tend(compute).await,
            }
        }
    }

    async fn compare(&self, Work { matrix, clusters }: Work, compute: &Compute) {
        let Some(served) = self.served() else { return };
        // Rows that this model cannot answer say nothing.
        if let Ok(found) = compute.assign(&served, matrix, false).await {
            let mut pairs = lock(&self.pairs);
            for (cluster, other) in clusters.into_iter().zip(found) {
                pairs.count(cluster, other.cluster);
            }
        }
    }

    /// Gives the model back when nobody wants it any more, and loads it when somebody does again.
    async fn tend(&self, compute: &Compute) {
        let (version, wanted) = (&self.version, lock(&self.allowance).is_wanted(Instant::now()));
        if !wanted && lock(&self.served).take().is_some() {
            tracing::info!(version, "nobody asks for the comparison with another model, which is given back");
        }
        if wanted
            && self.served().is_none()
            && let Some(model) = (self.again)().await
            && let Ok(served) = compute.offload(move || Served::new(model)).await
        {
            tracing::info!(version, "answers are compared with another model again");
            *lock(&self.served) = Some(Arc::new(served));
        }
    }

    fn served(&self) -> Option<Arc<Served>> {
        lock(&self.served).clone()
    }

    /// What has come of it so far. May compute for some ten milliseconds.
    pub(crate) fn comparison(&self, now: Instant) -> Comparison {
        lock(&self.allowance).asked = now;
        let (rows, table) = lock(&self.pairs).table();
        Comparison { version: self.version.clone(), rows, reassigned: pairs::reassigned(rows, &table) }
    }
}

// === impl Allowance ===

impl Allowance {
    /// Takes up to so many rows; none when nobody is interested any more.
    fn take(&mut self, rows: usize, now: Instant) -> usize {
        let passed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.rows = (self.rows + passed * ROWS_PER_SECOND).min(ROWS_PER_SECOND);
        self.filled = now;
        if !self.is_wanted(now) {
            return 0;
        }
        let taken = rows.min(self.rows as usize);
        self.rows -= taken as f64;
        taken
    }

    fn is_wanted(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.asked) <= self.interest
    }
}

impl fmt::Debug for Shadow {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Shadow").field("version", &self.version).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTEREST: Duration = Duration::from_secs(7_200);

    fn allowance(now: Instant) -> Allowance {
        Allowance { rows: ROWS_PER_SECOND, filled: now, asked: now, interest: INTEREST }
    }

    #[test]
    fn rows_are_taken_at_a_bounded_rate() {
        let start = Instant::now();
        let mut allowance = allowance(start);
        assert_eq!(allowance.take(600, start), 600);
        assert_eq!(allowance.take(600, start), 400);
        assert_eq!(allowance.take(600, start), 0);
        let later = start + Duration::from_millis(100);
        assert_eq!(allowance.take(600, later), 100);
        assert_eq!(allowance.take(usize::MAX, later + Duration::from_secs(60)), 1_000);
    }

    #[test]
    fn without_interest_nothing_is_taken() {
        let start = Instant::now();
        let mut allowance = allowance(start);
        let much_later = start + INTEREST + Duration::from_secs(1);
        assert_eq!(allowance.take(5, much_later), 0);
        allowance.asked = much_later;
        assert_eq!(allowance.take(5, much_later), 5);
    }
}
