//! The operator's effects. What is to be done about a `ClusteringJob` is decided in `coterie-operator-core`, from data; this crate provides that data
//! and carries the decision out.
//!
//! ```text
//! observe   watches keep stores of jobs and their objects         observe.rs
//!   plan    a pure function                                       coterie-operator-core
//! execute   status, objects, events, in this order                execute.rs
//!   report  failures sorted once, retried by their class          failure.rs, memory.rs, backoff.rs
//! ```
//!
//! Beside them: progress of runs and traffic of canaries are asked for ([`Poll`](coterie_operator_core::plan::Poll),
//! [`TrafficPoll`](coterie_operator_core::plan::TrafficPoll)), one of several replicas leads, and health and
//! metrics are served.
//!
//! # Guarantees
//! - A job for which nothing is to be done costs no request. The only writes of an idle operator renew its lease.
//! - Every write is sent by a replica that holds the lease at that moment, and fails when what it replaces has changed since it was observed.
//! - A crash between any two writes is harmless; see [`plan`](mod@coterie_operator_core::plan).
//! - Secrets are created and deleted, never read; their content is in no log, event or metric.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod ask;
mod backoff;
mod event;
mod execute;
mod failure;
#[cfg(test)]
mod fake;
mod filling;
mod follow;
mod http;
mod leadership;
mod memory;
mod metrics;
mod observe;
mod poll;
mod preflight;
mod reconcile;
mod traffic;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use coterie_crds::run::{SERVING_PORT, STATUS_PORT};
pub use coterie_operator_core::Settings;
use kube::Client;
use tokio::{
    net::TcpListener,
    sync::{Semaphore, oneshot, watch},
    task::JoinHandle,
    time::timeout,
};

use crate::{
    execute::Executor,
    http::Health,
    leadership::{Elector, Leadership, Timing},
    memory::Memory,
    metrics::Metrics,
    poll::Poller,
    reconcile::Shared,
    traffic::Watcher,
};

/// How long writes in flight may take to end when the operator stops.
const DRAIN: Duration = Duration::from_secs(20);

/// How the operator runs.
#[derive(Clone, Debug)]
pub struct Config {
    /// What plans are made with.
    pub settings: Settings,
    /// Namespaces to look after. Empty: all.
    pub namespaces: Vec<String>,
    /// Jobs reconciled at the same time, at least 1.
    pub concurrency: u16,
    /// Whether several replicas agree on one that writes. Without, there must be only one.
    pub leader_election: bool,
    /// This replica's name, which events and the lease tell: its pod's.
    pub instance: String,
    /// Namespace of the lease. `None`: the client's default, which in a pod is the pod's.
    pub lease_namespace: Option<String>,
}

/// The operator ended, and not because it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Neither a kubeconfig nor a pod's service account says where the API server is.
    #[error("no cluster is known: set KUBECONFIG to a kubeconfig file, or run in a pod with a service account")]
    UnknownCluster(#[source] Box<kube::config::InferConfigError>),
    /// The client cannot be made from the cluster's settings.
    #[error("make a client of the API server")]
    Client(#[source] Box<kube::Error>),
    /// Another replica may lead. The process has to end: Kubernetes starts it again, and it stands by.
    #[error("leadership was lost: the lease could not be renewed in time, or another replica holds it")]
    LeadershipLost,
    /// A task ended by a defect.
    #[error("a task of the operator failed")]
    Task(#[source] tokio::task::JoinError),
}

/// Runs the operator against the cluster that KUBECONFIG, or the pod it runs in, names, until `shutdown` completes. Then no
/// reconciliation is started, writes in flight are finished, and the lease is released.
///
/// # Errors
/// When no cluster is known, or leadership is lost. An API server that is away or lacks the resource is waited for.
pub async fn run(
    config: Config,
    listener: TcpListener,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), Error> {
    let mut cluster = kube::Config::infer().await.map_err(|error| Error::UnknownCluster(Box::new(error)))?;
    // A retry in the client would send a write again without asking whether this replica still leads.
    cluster.default_retry = false;
    tracing::info!(server = %cluster.cluster_url, version = config.settings.version, "operator started");
    let client = Client::try_from(cluster).map_err(|error| Error::Client(Box::new(error)))?;

    let metrics = Arc::new(Metrics::new(&config.settings.version));
    let health = Health::new(metrics.clone());
    let (stop, stopped) = oneshot::channel::<()>();
    let endpoint = tokio::spawn(http::serve(listener, health.clone(), async {
        let _ = stopped.await;
    }));
    let result = operate(config, client, metrics, &health, shutdown).await;
    drop(stop);
    // Scrapes in flight are not worth waiting for.
    let _ = timeout(Duration::from_secs(1), endpoint).await;
    result
}

/// Waits for the cluster and for leadership, then leads until told to stop.
async fn operate(
    config: Config,
    client: Client,
    metrics: Arc<Metrics>,
    health: &Health,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), Error> {
    tokio::pin!(shutdown);
    tokio::select! {
        () = &mut shutdown => return Ok(()),
        () = preflight::pass(&client, &config.namespaces) => {}
    }
    if !config.leader_election {
        health.set_ready();
        metrics.leader(true);
        let work = Work::start(config, &client, Leadership::sole(), metrics);
        return work.until(&mut shutdown, std::future::pending()).await;
    }
    let leadership = Leadership::standby();
    let namespace = config.lease_namespace.clone().unwrap_or_else(|| client.default_namespace().to_owned());
    let timing = Timing::default();
    let mut elector =
        Elector::new(client.clone(), &namespace, &config.instance, timing, leadership.clone(), metrics.clone());
    tokio::select! {
        () = &mut shutdown => {
            // The lease may have been won in the very moment.
            elector.release().await;
            return Ok(());
        }
        () = elector.acquire(|| health.set_ready()) => {}
    }
    tracing::info!(instance = config.instance, namespace, "this replica leads");
    let work = Work::start(config, &client, leadership, metrics);
    let result = work.until(&mut shutdown, elector.hold()).await;
    // After a loss there is nothing to release, and this only makes sure that nothing is written.
    elector.release().await;
    result
}

/// Reconciliations at work.
struct Work {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Work {
    fn start(config: Config, client: &Client, leadership: Leadership, metrics: Arc<Metrics>) -> Self {
        let Config { settings, namespaces, concurrency, leader_election: _, instance, lease_namespace: _ } = config;
        let interval = Duration::try_from(settings.progress_interval).unwrap_or_default().max(Duration::from_secs(1));
        let concurrency = concurrency.max(1);
        let shared = Arc::new(Shared {
            executor: Executor::new(client.clone(), leadership, instance, metrics.clone()),
            poller: Poller::new(interval, STATUS_PORT, metrics.clone()),
            watcher: Watcher::new(SERVING_PORT),
            memory: Memory::default(),
            permits: Semaphore::new(concurrency.into()),
            concurrency,
            settings,
            metrics: metrics.clone(),
        });
        let watched = if namespaces.is_empty() {
            vec![observe::watch(client, None, &metrics)]
        } else {
            // Whoever names a namespace twice still means it once.
            let namespaces: BTreeSet<String> = namespaces.into_iter().collect();
            namespaces.iter().map(|namespace| observe::watch(client, Some(namespace), &metrics)).collect()
        };
        let (stop, stopped) = watch::channel(false);
        Self { stop, task: tokio::spawn(reconcile::run(shared, watched, stopped)) }
    }

    /// Works until told to stop or until leadership is lost. The lease is renewed while the last writes end.
    async fn until(
        mut self,
        shutdown: impl Future<Output = ()>,
        lost: impl Future<Output = leadership::Lost>,
    ) -> Result<(), Error> {
        let working = async {
            tokio::select! {
                () = shutdown => tracing::info!("asked to stop; finishing writes in flight"),
                ended = &mut self.task => return ended.map_err(Error::Task),
            }
            self.stop.send_replace(true);
            match timeout(DRAIN, &mut self.task).await {
                Ok(ended) => ended.map_err(Error::Task),
                Err(_) => {
                    tracing::warn!("writes in flight took too long and are given up");
                    Ok(())
                }
            }
        };
        let result = tokio::select! {
            result = working => result,
            leadership::Lost = lost => Err(Error::LeadershipLost),
        };
        self.task.abort();
        result
    }
}
