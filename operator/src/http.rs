//! Health, readiness and metrics over HTTP.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::IntoResponse,
    routing::get,
};
use tokio::net::TcpListener;

use crate::metrics::{self, Metrics};

/// What the endpoints tell.
#[derive(Clone, Debug)]
pub(crate) struct Health {
    metrics: Arc<Metrics>,
    ready: Arc<AtomicBool>,
}

// === impl Health ===

impl Health {
    pub(crate) fn new(metrics: Arc<Metrics>) -> Self {
        Self { metrics, ready: Arc::default() }
    }

    /// The API server answers, and the election, if any, goes on. A replica that stands by is ready too.
    pub(crate) fn set_ready(&self) {
        self.ready.store(true, Ordering::Relaxed);
    }
}

/// Answers until `shutdown` completes.
pub(crate) async fn serve(
    listener: TcpListener,
    health: Health,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let router = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics_text))
        .with_state(health);
    axum::serve(listener, router).with_graceful_shutdown(shutdown).await
}

async fn ready(State(health): State<Health>) -> impl IntoResponse {
    if health.ready.load(Ordering::Relaxed) {
        (StatusCode::OK, "ok\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "waiting for the API server\n")
    }
}

async fn metrics_text(State(health): State<Health>) -> impl IntoResponse {
    ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], health.metrics.encode())
}
