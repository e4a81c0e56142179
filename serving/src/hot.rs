//! The model being served, and its replacement while requests are in flight.

use crate::metrics::Metrics;
use crate::query::Served;
use std::sync::Arc;
use tokio::sync::watch;

/// Where every request takes its model from, once: an answer never mixes two of them.
#[derive(Debug)]
pub(crate) struct Hot {
    served: watch::Sender<Arc<Served>>,
}

/// Puts a newer model in place of the one being served.
#[derive(Clone, Debug)]
pub struct Handle {
    hot: Arc<Hot>,
    metrics: Arc<Metrics>,
}

// === impl Hot ===

impl Hot {
    pub(crate) fn new(served: Arc<Served>) -> Self {
        Self { served: watch::Sender::new(served) }
    }

    /// The model of the moment.
    pub(crate) fn get(&self) -> Arc<Served> {
        Arc::clone(&self.served.borrow())
    }
}

// === impl Handle ===

impl Handle {
    pub(crate) fn new(hot: Arc<Hot>, metrics: Arc<Metrics>) -> Self {
        Self { hot, metrics }
    }

    /// Makes `model` answer every request that arrives from now on. Requests in flight finish with the model they began
    /// with. Preparing the model takes a pass over its centroids, on the calling thread.
    pub fn replace(&self, model: impl Into<Served>) {
        let served = Arc::new(model.into());
        self.metrics.set_model(&served);
        tracing::info!(version = served.version(), digest = served.digest(), "model replaced");
        self.hot.served.send_replace(served);
    }

    /// Version of the model being served.
    pub fn version(&self) -> String {
        self.hot.get().version().to_owned()
    }
}
