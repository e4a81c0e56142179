//! What every request shares.

use crate::admission::Admission;
use crate::compute::Compute;
use crate::hot::Hot;
use crate::metrics::Metrics;
use crate::query::{Assignment, Matrix, QueryError, Served};
use crate::settings::Settings;
use crate::shadow::Shadow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// State of a server.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) settings: Settings,
    pub(crate) hot: Arc<Hot>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) admission: Admission,
    pub(crate) compute: Compute,
    /// What answers are compared with, if they are.
    pub(crate) shadow: Option<Shadow>,
    ready: AtomicBool,
}

impl App {
    pub(crate) fn new(settings: Settings, hot: Arc<Hot>, metrics: Arc<Metrics>, shadow: Option<Shadow>) -> Self {
        Self {
            admission: Admission::new(settings.max_in_flight, settings.max_bytes_in_flight),
            compute: Compute::new(settings.compute_threads),
            settings,
            hot,
            metrics,
            shadow,
            ready: AtomicBool::new(false),
        }
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
        let shadow = self.shadow.as_ref();
        let sample = shadow.and_then(|shadow| shadow.sample(&matrix, Instant::now()));
        let assignments = self.compute.assign(served, matrix, lone).await?;
        self.metrics.count_rows(assignments.len());
        if let Some((shadow, sample)) = shadow.zip(sample) {
            shadow.offer(sample, &assignments);
        }
        Ok(assignments)
    }
}
