//! A worker's life: it registers and works, until the run is over. Everything that can pass is tried again; whatever was half done
//! is thrown away when the lease is lost, and the worker registers anew.

use std::{
    future::Future,
    sync::{Arc, OnceLock, atomic::Ordering},
    time::Duration,
};

use coterie_crds::run::RunConfig;
use coterie_data::{plan::InputPlan, reader::Reader};
use coterie_protocol::{
    PROTOCOL_VERSION,
    internal::{Fence, HeartbeatRequest, RegisterRequest, Work},
};
use tonic::{Code, Status};

use super::{
    ShardOptions, Threads, Vitals,
    link::{self, Client},
    relay::{self, Relay, above::Above},
    rows::Space,
    steps::{Way, fail, work},
    store::SplitStore,
    usage,
};
use crate::{
    error::RunError,
    kmeans::lloyd::Lloyd,
    publish::{places::Places, rows::RowSink},
    task::AbortOnDrop,
    training::algorithm_metric,
};

/// Heartbeats per lease, at least, and the longest pause between two: they also carry the progress.
const BEATS: u64 = 5;
const LONGEST_BEAT: u64 = 500;
/// First and longest pause between attempts to reach the coordinator.
pub(super) const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// Attempts to set itself up before a worker gives up.
const TROUBLES: u32 = 5;
/// A worker gives up when it has not reached a coordinator for so long.
const LOST: Duration = Duration::from_secs(300);

/// Runs a worker until its run is over. `shutdown` makes it leave: its splits move to the others at once.
///
/// # Errors
/// When the coordinator cannot be reached for five minutes or refuses this worker for good, when this worker cannot set
/// itself up, or (so that whoever started it knows) when it was asked to stop.
pub async fn run(
    config: &RunConfig,
    options: &ShardOptions,
    shutdown: impl Future<Output = ()>,
) -> Result<(), RunError> {
    let mut shutdown = std::pin::pin!(shutdown);
    let mut pause = PAUSES.0;
    let mut reached = tokio::time::Instant::now();
    let mut troubles = 0;
    // Found out before the coordinator counts on this worker.
    drop(Space::new(options.row_budget, &options.scratch)?);
    let relay = Relay::default();
    let (relay_port, _server) = match relay::start(config, relay.clone()).await {
        Ok((port, server)) => (port, Some(server)),
        Err(error) => {
            tracing::warn!(%error, "this worker is not there for other workers");
            (0, None)
        }
    };
    let mut worker = Worker {
        threads: Threads::new(options.threads)?,
        relay,
        relay_port,
        config: config.clone(),
        options: options.clone(),
        store: None,
        lloyd: Lloyd::default(),
    };
    loop {
        let vitals = Arc::new(Vitals::default());
        let lease = Arc::new(OnceLock::new());
        // On a task of its own: computation blocks it, and the shutdown must be heard all the same.
        let mut life = tokio::spawn(worker.live(Arc::clone(&vitals), Arc::clone(&lease)));
        let joined = tokio::select! {
            joined = &mut life => joined,
            () = &mut shutdown => {
                vitals.abandoned.store(true, Ordering::Relaxed);
                life.abort();
                if let Some(lease) = lease.get() {
                    let _ = lease.report(&vitals, true).await;
                }
                return Err(RunError::transient("the worker was asked to stop; its splits go to the others"));
            }
        };
        let (back, lived) = joined.map_err(|error| RunError::transient(format!("the worker's task ended: {error}")))?;
        worker = back;
        match lived {
            Ok(Life::Finished) => return Ok(()),
            Ok(Life::Fenced) => {
                tracing::warn!(worker = options.name, "lease lost; registering again");
                (pause, reached) = (PAUSES.0, tokio::time::Instant::now());
            }
            Ok(Life::Trouble(error)) => {
                troubles += 1;
                if troubles >= TROUBLES || !error.is_transient() {
                    return Err(error);
                }
                tracing::warn!(worker = options.name, %error, "the worker cannot set itself up; trying again");
            }
            Err(error) if !error.is_transient() => return Err(error),
            Err(error) => {
                if lease.get().is_some() {
                    (pause, reached) = (PAUSES.0, tokio::time::Instant::now());
                }
                if reached.elapsed() > LOST {
                    return Err(error);
                }
                tracing::debug!(%error, "coordinator out of reach; trying again");
            }
        }
        tokio::time::sleep(pause.mul_f64(jitter())).await;
        pause = (pause * 2).min(PAUSES.1);
    }
}

/// A factor between a half and one, so that workers that lost their coordinator do not come back all at once.
fn jitter() -> f64 {
    let moment = format!("{} {}", std::process::id(), jiff::Timestamp::now().as_nanosecond());
    0.5 + f64::from(blake3::hash(moment.as_bytes()).as_bytes()[0]) / 512.0
}

/// How a registration ended.
pub(super) enum Life {
    Finished,
    Fenced,
    /// The worker could not set itself up for the run.
    Trouble(RunError),
}

/// A registration, and the connection for its signs of life.
#[derive(Clone, Debug)]
pub(super) struct Lease {
    pulse: Client,
    pub(super) fence: Fence,
    /// CPU time used before the registration.
    cpu_before: u64,
}

impl Lease {
    /// One heartbeat. A coordinator that is out of reach is no error: it may come back within the lease, and if another
    /// incarnation comes, its fence differs.
    pub(super) async fn report(&self, vitals: &Vitals, leaving: bool) -> Result<(), RunError> {
        let usage = usage::now();
        let request = HeartbeatRequest {
            fence: Some(self.fence.clone()),
            rows_done: vitals.rows_done.load(Ordering::Relaxed),
            bytes_read: vitals.bytes_read.load(Ordering::Relaxed),
            cpu_millis: usage.cpu_millis - self.cpu_before.min(usage.cpu_millis),
            peak_rss_bytes: usage.peak_rss_bytes,
            leaving,
        };
        match self.pulse.clone().heartbeat(request).await {
            Err(status) if status.code() == Code::FailedPrecondition => Err(RunError::transient(status.message())),
            Ok(_) | Err(_) => Ok(()),
        }
    }
}

/// What outlives a registration.
struct Worker {
    config: RunConfig,
    options: ShardOptions,
    threads: Threads,
    relay: Relay,
    /// Where other workers reach it; 0: nowhere.
    relay_port: u16,
    /// Splits decoded under an earlier registration; still good under the same plan.
    store: Option<SplitStore>,
    /// What passes over these splits found.
    lloyd: Lloyd,
}

impl Worker {
    /// From registration to the end of the run or the loss of the lease.
    async fn live(mut self, vitals: Arc<Vitals>, lease: Arc<OnceLock<Lease>>) -> (Self, Result<Life, RunError>) {
        let lived = self.registered(&vitals, &lease).await;
        (self, lived)
    }

    async fn registered(&mut self, vitals: &Arc<Vitals>, lease: &OnceLock<Lease>) -> Result<Life, RunError> {
        let (mut client, pulse) = link::connect(&self.config).await?;
        let registered = client
            .register(RegisterRequest {
                run: self.config.run.clone(),
                name: self.options.name.clone(),
                protocol: PROTOCOL_VERSION,
                threads: self.options.threads as u32,
                relay_port: u32::from(self.relay_port),
            })
            .await;
        let registered = match registered {
            Ok(registered) => registered.into_inner(),
            Err(status) if status.code() == Code::PermissionDenied => return Err(RunError::spec(status.message())),
            Err(status) => return Err(out_of_reach(&status)),
        };
        let fence = registered.fence.ok_or_else(|| RunError::transient("the coordinator gave no fence"))?;
        // Costs of the time before the first registration (start-up) count; those before a later one were reported.
        let cpu_before = if self.store.is_some() { usage::now().cpu_millis } else { 0 };
        let lease = lease.get_or_init(|| Lease { pulse, fence, cpu_before }).clone();
        let (mut store, sink) = match self.prepare(&registered.plan, &registered.version) {
            Ok(prepared) => prepared,
            Err(error) => {
                if !error.is_transient() {
                    // It concerns the run, not only this worker.
                    let nothing = Work { step: 0, splits: Vec::new(), place: None };
                    let _ = fail(&mut client, &lease.fence, &nothing, error.clone()).await;
                }
                return Ok(Life::Trouble(error));
            }
        };
        store.watch(Arc::clone(vitals));
        // The heartbeat lives on a task of its own: computation on this one cannot hold it up.
        let beats = beat(lease.clone(), Arc::clone(vitals), registered.lease_millis);
        let mut beats = AbortOnDrop(tokio::spawn(beats));
        let way = Way { coordinator: client, above: Above::new(self.config.tls.clone()), relay: self.relay.clone() };
        let ended = tokio::select! {
            ended = work(way, &lease, (&mut store, &mut self.lloyd), &sink, vitals) => ended,
            _ = &mut beats.0 => Ok(Life::Fenced),
        };
        self.store = Some(store);
        ended
    }

    /// What the work needs beside the coordinator.
    fn prepare(&mut self, plan: &[u8], version: &str) -> Result<(SplitStore, RowSink), RunError> {
        let plan: InputPlan = serde_json::from_slice(plan)
            .map_err(|error| RunError::transient(format!("decode the input plan: {error}")))?;
        let store = match self.store.take() {
            Some(store) if *store.plan() == plan => store,
            _ => {
                let plan = Arc::new(plan);
                let reader = Reader::open(&self.config.job.source, Arc::clone(&plan))?;
                let space = Space::new(self.options.row_budget, &self.options.scratch)?;
                SplitStore::new(plan, reader, space, self.threads.clone(), self.options.threads)
            }
        };
        Ok((store, sink(&self.config, version)?))
    }
}

/// Heartbeats until the lease is lost.
async fn beat(lease: Lease, vitals: Arc<Vitals>, lease_millis: u64) {
    let mut ticks = tokio::time::interval(Duration::from_millis((lease_millis / BEATS).clamp(1, LONGEST_BEAT)));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if lease.report(&vitals, false).await.is_err() {
            vitals.abandoned.store(true, Ordering::Relaxed);
            return;
        }
    }
}

pub(super) fn out_of_reach(status: &Status) -> RunError {
    RunError::transient(format!("the coordinator answered {}: {}", status.code(), status.message()))
}

fn sink(config: &RunConfig, version: &str) -> Result<RowSink, RunError> {
    let job = &config.job;
    let places = job.output.as_ref().map(|output| Places::of(output, version)).transpose()?;
    Ok(RowSink {
        places,
        id_name: job.source.columns.id.clone().unwrap_or_else(|| "row".to_owned()),
        metric: algorithm_metric(job.metric),
    })
}
