//! Starting, and stopping without failing a request.

use crate::accept;
use crate::app::App;
use crate::grpc;
use crate::hot::{Handle, Hot};
use crate::metrics::{Metrics, Protocol};
use crate::query::Served;
use crate::rest;
use crate::settings::Settings;
use crate::shadow::Shadow;
use crate::shards::Peers;
use coterie_model::Model;
use futures::future::BoxFuture;
use std::future::Future;
use std::sync::Arc;
use std::time::Instant;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Sockets to serve on, bound by the caller. At least one.
#[derive(Debug)]
pub struct Listeners {
    /// For REST, health, metrics (HTTP/1.1).
    pub http: Option<TcpListener>,
    /// For gRPC (HTTP/2 without TLS).
    pub grpc: Option<TcpListener>,
}

/// A server did not run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// There is nothing to serve on.
    #[error("no address to serve on: give one for HTTP, for gRPC, or both")]
    NoListener,
    /// There are no threads to compute with.
    #[error("the threads that compute cannot be started")]
    Threads(#[source] std::io::Error),
    /// A task of the server ended by a defect.
    #[error("a server task failed")]
    Task(#[source] tokio::task::JoinError),
}

/// A server that has its model and does not run yet.
#[derive(Debug)]
pub struct Server {
    settings: Settings,
    hot: Arc<Hot>,
    metrics: Arc<Metrics>,
    shadow: Option<Shadow>,
    peers: Option<Peers>,
}

/// Serves `model` on `listeners` until `shutdown` completes and the requests in flight are answered, with default
/// [`Settings`]. See [`Server::run`].
///
/// # Errors
/// As [`Server::run`].
pub async fn run(
    listeners: Listeners,
    model: Arc<Model>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    Server::new(model, Settings::default()).run(listeners, shutdown).await
}

/// The comparison with another model, until this is dropped.
struct Comparing(tokio::task::JoinHandle<()>);

impl Drop for Comparing {
    fn drop(&mut self) {
        self.0.abort();
    }
}

// === impl Server ===

impl Server {
    /// Prepares to serve a model, which takes a pass over its centroids: an `Arc<Model>`, or [`Served`] for one with items.
    pub fn new(model: impl Into<Served>, settings: Settings) -> Self {
        let served = Arc::new(model.into());
        let metrics = Arc::new(Metrics::new());
        metrics.set_model(&served);
        Self { settings, hot: Arc::new(Hot::new(served)), metrics, shadow: None, peers: None }
    }

    /// Compares a sample of the answers with those of another model, after they were given; `GET /v1/traffic` tells the result. A model of another
    /// input dimension cannot be asked about the same rows, and is left out.
    ///
    /// When nobody asks for the result any more ([`Settings::shadow_interest`]) the other model is dropped; when somebody does again, `again` loads it.
    #[must_use]
    pub fn with_shadow(
        mut self,
        other: impl Into<Served>,
        again: impl Fn() -> BoxFuture<'static, Option<Arc<Model>>> + Send + Sync + 'static,
    ) -> Self {
        let other = other.into();
        let (expected, found) = (self.hot.get().input_dimension(), other.input_dimension());
        if expected == found {
            tracing::info!(version = other.version(), "answers are compared with another model");
            self.shadow = Some(Shadow::new(other, Box::new(again), self.settings.shadow_interest, Instant::now()));
        } else {
            let version = other.version();
            tracing::warn!(
                version,
                expected,
                found,
                "the other model takes vectors of another dimension; nothing is compared"
            );
        }
        self
    }

    /// Tells where the replicas of the shards are, for a model whose items are divided ([`coterie_model::items::Shard`]): of each shard, in
    /// order, the addresses of its replicas' gRPC as `host:port`. A name may stand for several replicas. Those of the server's own shard are
    /// not asked.
    #[must_use]
    pub fn with_peers(mut self, addresses: Vec<Vec<String>>) -> Self {
        self.peers = Some(Peers::new(addresses));
        self
    }

    /// A handle to replace the model while the server runs.
    pub fn handle(&self) -> Handle {
        Handle::new(Arc::clone(&self.hot), Arc::clone(&self.metrics))
    }

    /// Serves until `shutdown` completes.
    ///
    /// # Expected flow
    /// Readiness (HTTP and gRPC health) is withdrawn first. For `drain_delay`, so that load balancers notice, requests are
    /// answered as before, on old and new connections, but HTTP answers ask for the end of their connection. Then listeners
    /// close, idle connections are closed (gRPC callers are told first), and requests in flight have `drain_timeout` to
    /// finish before they are cut off. Dropping the future stops everything at once.
    ///
    /// # Errors
    /// [`ServeError`] when there is no listener, there are no threads, or on a defect.
    pub async fn run(self, listeners: Listeners, shutdown: impl Future<Output = ()>) -> Result<(), ServeError> {
        let Self { settings, hot, metrics, shadow, peers } = self;
        let Listeners { http, grpc } = listeners;
        if http.is_none() && grpc.is_none() {
            return Err(ServeError::NoListener);
        }
        let drain_delay = settings.drain_delay;
        let app = App::new(settings.clone(), hot, metrics, shadow, peers).map_err(ServeError::Threads)?;
        let app = Arc::new(app);
        let (stop, stopped) = watch::channel(false);
        let (grpc_router, mut health) = grpc::router(Arc::clone(&app), stopped.clone()).await;
        app.set_ready(true);
        let mut tasks = JoinSet::new();
        if let Some(listener) = http {
            let router = rest::router(Arc::clone(&app));
            tasks.spawn(accept::serve(listener, router, Protocol::Http, settings.clone(), stopped.clone()));
        }
        if let Some(listener) = grpc {
            tasks.spawn(accept::serve(listener, grpc_router, Protocol::Grpc, settings, stopped));
        }
        tracing::info!(version = app.hot.get().version(), "serving");
        let comparing = Comparing(tokio::spawn({
            let app = Arc::clone(&app);
            async move {
                if let Some(shadow) = &app.shadow {
                    shadow.run(&app.compute).await;
                }
            }
        }));

        tokio::select! {
            () = shutdown => {}
            Some(ended) = tasks.join_next() => ended.map_err(ServeError::Task)?,
        }
        tracing::info!("draining");
        app.set_ready(false);
        grpc::withdraw(&mut health).await;
        tokio::time::sleep(drain_delay).await;
        grpc::end_watches(&mut health).await;
        // The receivers live in the tasks; without tasks there is no one to tell.
        stop.send_replace(true);
        while let Some(ended) = tasks.join_next().await {
            ended.map_err(ServeError::Task)?;
        }
        drop(comparing);
        tracing::info!("stopped");
        Ok(())
    }
}
