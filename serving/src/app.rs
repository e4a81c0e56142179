//! What every request shares.

use crate::admission::Admission;
use crate::cache::{Answer, Cache, Computed, Key};
use crate::compute::{AT_ONCE, Compute};
use crate::hot::Hot;
use crate::metrics::Metrics;
use crate::query::{self, Assignment, Matrix, Method, Neighbour, QueryError, Served, Similar, SimilarItem};
use crate::settings::Settings;
use crate::shadow::{Sample, Shadow};
use crate::shards::{self, Peers};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use tokio::sync::Semaphore;

/// State of a server.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) settings: Settings,
    pub(crate) hot: Arc<Hot>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) admission: Admission,
    /// For what other replicas ask: what waits for them here must not keep out what they wait for.
    pub(crate) peer_admission: Admission,
    pub(crate) compute: Compute,
    cache: Cache,
    /// One permit for each stream that may be open.
    pub(crate) streams: Arc<Semaphore>,
    /// What answers are compared with, if they are.
    pub(crate) shadow: Option<Shadow>,
    /// The replicas of the shards of the items, where those are divided.
    pub(crate) peers: Option<Peers>,
    ready: AtomicBool,
}

impl App {
    /// # Errors
    /// When the threads that compute cannot be started.
    pub(crate) fn new(
        settings: Settings,
        hot: Arc<Hot>,
        metrics: Arc<Metrics>,
        shadow: Option<Shadow>,
        peers: Option<Peers>,
    ) -> io::Result<Self> {
        let admission = |times: usize| {
            let most = |count: usize| count.saturating_mul(times);
            Admission::new(most(settings.max_arriving), most(settings.max_in_flight), settings.max_bytes_in_flight)
        };
        let others = peers.as_ref().map_or(0, |peers| peers.shards().saturating_sub(1));
        Ok(Self {
            admission: admission(1),
            peer_admission: admission(others as usize),
            compute: Compute::new(settings.compute_threads)?,
            cache: Cache::new(&settings.cache, Arc::clone(&metrics)),
            streams: Arc::new(Semaphore::new(settings.max_streams)),
            settings,
            hot,
            metrics,
            shadow,
            peers,
            ready: AtomicBool::new(false),
        })
    }

    /// Whether new requests are welcome.
    pub(crate) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    pub(crate) fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Release);
    }

    /// The model of the moment, when it is the one that the request names.
    pub(crate) fn served(&self, version: &str) -> Result<Arc<Served>, QueryError> {
        let served = self.hot.get();
        served.check_version(version)?;
        Ok(served)
    }

    /// Assigns rows, and counts them.
    pub(crate) async fn assign(
        &self,
        served: &Arc<Served>,
        matrix: Matrix,
        lone: bool,
    ) -> Result<Vec<Assignment>, QueryError> {
        let asked = self.asked(&matrix);
        let assignments = if lone && served.cost_per_row() > AT_ONCE {
            vec![self.assign_kept(served, matrix).await?]
        } else {
            self.compute.assign(served, matrix, lone).await?
        };
        self.count(served, asked, &assignments);
        Ok(assignments)
    }

    /// As [`App::assign`], with the `count` clusters nearest to each row, row after row.
    pub(crate) async fn assign_with_neighbours(
        &self,
        served: &Arc<Served>,
        matrix: Matrix,
        count: usize,
    ) -> Result<(Vec<Assignment>, Vec<u32>), QueryError> {
        let asked = self.asked(&matrix);
        let (assignments, near) = self.compute.assign_with_neighbours(served, matrix, count).await?;
        self.count(served, asked, &assignments);
        Ok((assignments, near))
    }

    /// When rows were asked about, and those of them that answers are compared for.
    fn asked(&self, matrix: &Matrix) -> (Instant, Option<Sample>) {
        let now = Instant::now();
        (now, self.shadow.as_ref().and_then(|shadow| shadow.sample(matrix, now)))
    }

    /// Counts rows that were assigned.
    fn count(&self, served: &Served, (now, sample): (Instant, Option<Sample>), assignments: &[Assignment]) {
        self.metrics.count_rows(assignments.len());
        served.count(now, assignments);
        if let Some((shadow, sample)) = self.shadow.as_ref().zip(sample) {
            shadow.offer(sample, assignments);
        }
    }

    /// The nearest cluster of a lone vector, which takes long enough to be kept.
    async fn assign_kept(&self, served: &Arc<Served>, matrix: Matrix) -> Result<Assignment, QueryError> {
        let key = Key::assign(served.identity(), &matrix.rows_in(0..matrix.rows()));
        let compute = async {
            let assignments = self.compute.assign(served, matrix, true).await?;
            let assignment = assignments.first().copied().ok_or(QueryError::Empty)?;
            Ok(Computed::Lasting(Answer::Assignment(assignment)))
        };
        let answer = self.cache.answer(key, compute).await?;
        let Answer::Assignment(assignment) = &*answer else { return Err(QueryError::Internal) };
        Ok(*assignment)
    }

    /// The clusters nearest to a vector.
    pub(crate) async fn nearest_clusters(
        &self,
        served: &Arc<Served>,
        vector: Vec<f32>,
        count: Option<u32>,
    ) -> Result<Vec<Neighbour>, QueryError> {
        if served.cost_per_row() <= AT_ONCE {
            return self.compute.nearest_clusters(served, vector, count).await;
        }
        let key = Key::nearest(served.identity(), &vector, count);
        let compute = async {
            let neighbours = self.compute.nearest_clusters(served, vector, count).await?;
            Ok(Computed::Lasting(Answer::Neighbours(neighbours)))
        };
        let answer = self.cache.answer(key, compute).await?;
        let Answer::Neighbours(neighbours) = &*answer else { return Err(QueryError::Internal) };
        Ok(neighbours.clone())
    }

    /// The items similar to what is asked for, and how they were found.
    ///
    /// Whoever asks the same meanwhile waits for this answer, so other shards are waited for as long as any request may take, not as long as this
    /// caller waits.
    pub(crate) async fn similar(
        &self,
        served: &Arc<Served>,
        question: Similar,
    ) -> Result<(Method, Vec<SimilarItem>), QueryError> {
        let key = Key::similar(served.identity(), &question, query::method(served, &question)?);
        let divided = served.items().is_some_and(|index| !index.shard().is_whole());
        let compute = async {
            if divided {
                let deadline = Instant::now() + self.settings.request_timeout;
                return shards::similar(self, served, question, deadline).await;
            }
            let (method, items) = self.compute.similar(served, question).await?;
            Ok(Computed::Lasting(Answer::Similar(method, items)))
        };
        let answer = self.cache.answer(key, compute).await?;
        let Answer::Similar(method, items) = &*answer else { return Err(QueryError::Internal) };
        Ok((*method, items.clone()))
    }
}
