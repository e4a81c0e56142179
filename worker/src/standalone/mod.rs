//! A whole run as one process tree on this machine: a coordinator and N workers, the same processes that run in pods,
//! talking gRPC over loopback. The launcher starts them, restarts those that die, and shows how the run goes.

mod children;

use std::{future::Future, path::PathBuf, process::ExitStatus, time::Duration};

use coterie_crds::resolved::ResolvedJob;
use coterie_protocol::internal::{StatusRequest, StatusResponse};
use tokio::sync::mpsc;

use self::children::{Children, News, Role};
use crate::{
    config::{CoordinatorAddress, RunConfig},
    error::RunError,
    publish::{failed, summary::Summary},
    shard::observe,
    task::AbortOnDrop,
    tls,
};

/// How often the coordinator is asked how it goes.
const ASK: Duration = Duration::from_millis(200);
/// Time that processes get to end by themselves.
const GRACE: Duration = Duration::from_secs(5);
/// Restarts of one process before the run is given up.
const RESTARTS: u32 = 50;
/// The same for a process that ended with an error of its own.
const RESTARTS_AFTER_ERRORS: u32 = 6;
/// Times the coordinator is started again after it has given up for a passing reason.
const RETRIES: u32 = 2;
/// First pause before a restart; doubles up to a second.
const RESTART_PAUSE: Duration = Duration::from_millis(100);

/// What to run and how.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The job; its output must be set.
    pub job: ResolvedJob,
    /// Version to publish; the next one when unset.
    pub version: Option<String>,
    /// The `coterie` binary.
    pub executable: PathBuf,
    /// Threads of each worker.
    pub threads: usize,
    /// Memory limit of each worker in bytes.
    pub memory: u64,
    /// Directory for scratch; the system's temporary directory when unset.
    pub scratch: Option<PathBuf>,
    /// Milliseconds of silence after which a worker loses its splits.
    pub lease_millis: u64,
    /// Environment variables of the processes, beside the launcher's own.
    pub environment: Vec<(&'static str, String)>,
}

/// What happens during a run, for whoever shows it.
#[derive(Debug)]
pub enum Event<'a> {
    /// A process was started.
    Started {
        /// `coordinator` or `worker-N`.
        name: &'a str,
        /// Its process id.
        pid: u32,
    },
    /// A process ended before the run did and will be started again.
    Died {
        /// `coordinator` or `worker-N`.
        name: &'a str,
        /// How it ended.
        how: String,
    },
    /// A line that a process wrote to its standard error.
    Log(&'a str),
    /// Where the run stands.
    Progress(&'a Progress),
}

/// Where a run stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Progress {
    /// Scan, Features, Init, Iterate, Evaluate, Publish, Done.
    pub stage: String,
    /// Finished passes of the current restart.
    pub iteration: u32,
    /// Bound on passes.
    pub max_iterations: u32,
    /// Restart, from 1.
    pub restart: u32,
    /// Number of restarts.
    pub restarts: u32,
    /// Inertia of the last pass.
    pub inertia: f64,
    /// Squared centroid movement of the last pass.
    pub shift: f64,
    /// Kept rows, once known.
    pub rows: u64,
    /// Rows processed within the current step.
    pub step_rows: u64,
    /// Rows processed per second, over all workers.
    pub rows_per_second: f64,
    /// Workers that hold a lease.
    pub workers: u32,
    /// Splits done in the current step.
    pub splits_done: u32,
    /// Splits in total.
    pub splits_total: u32,
}

/// Runs a job to its end.
///
/// # Errors
/// Why there is no model, with the exit code that says whether trying again can help. Interrupted by `shutdown`, the
/// run can be resumed by running the same job again.
pub async fn run(
    launch: &Launch,
    on_event: &mut (dyn FnMut(Event<'_>) + Send),
    shutdown: impl Future<Output = ()>,
) -> Result<Summary, RunError> {
    let version = version(launch).await?;
    let run = format!("{}-r{}", launch.job.name, version.trim_start_matches('v'));
    // Private to this user; gone when the run ends.
    let directory = tempfile::Builder::new()
        .prefix("coterie-")
        .tempdir()
        .map_err(|error| RunError::transient(format!("make a temporary directory: {error}")))?;
    tls::create(directory.path())?;
    let config = RunConfig {
        run,
        version,
        job: launch.job.clone(),
        coordinator: CoordinatorAddress::File(directory.path().join("coordinator.addr")),
        lease_millis: launch.lease_millis,
        patience_millis: 10_000,
        tls: directory.path().to_owned(),
    };
    config.write(&directory.path().join("run.json"))?;
    let mut children = Children::new(launch, directory.path());
    let result = supervise(&config, launch, &mut children, on_event, shutdown).await;
    children.end(GRACE).await;
    result
}

/// The version to publish, which must not exist yet.
async fn version(launch: &Launch) -> Result<String, RunError> {
    let output = launch
        .job
        .output
        .as_ref()
        .ok_or_else(|| RunError::spec("the job has no output: set spec.output.uri or give --output"))?;
    let location = coterie_data::store::open(&output.uri, &output.store)?;
    let store = location.store.as_ref();
    let Some(wanted) = &launch.version else {
        return coterie_model::next_version(store, &location.path).await.map_err(|error| failed(&location, &error));
    };
    let existing = coterie_model::versions(store, &location.path).await.map_err(|error| failed(&location, &error))?;
    if existing.contains(wanted) {
        return Err(RunError::spec(format!(
            "{}: model version {wanted} exists already and versions never change; leave --model-version out to write the \
             next one, or choose another output",
            location.uri
        )));
    }
    Ok(wanted.clone())
}

async fn supervise(
    config: &RunConfig,
    launch: &Launch,
    children: &mut Children,
    on_event: &mut (dyn FnMut(Event<'_>) + Send),
    shutdown: impl Future<Output = ()>,
) -> Result<Summary, RunError> {
    children.start(Role::Coordinator, on_event)?;
    for number in 1..=launch.job.workers {
        children.start(Role::Worker(number), on_event)?;
    }
    let mut shutdown = std::pin::pin!(shutdown);
    let (sender, mut reports) = mpsc::channel(1);
    // On a task of its own: a coordinator that does not answer must not make the launcher deaf.
    let _watching = AbortOnDrop(tokio::spawn(watch(config.clone(), sender)));
    loop {
        tokio::select! {
            () = &mut shutdown => return Err(RunError::transient(
                "interrupted; run the same job again to resume it from its last checkpoint",
            )),
            news = children.news() => match news {
                News::Line(line) => on_event(Event::Log(&line)),
                News::Ended(Role::Coordinator, status) => {
                    let how = match children.outcome() {
                        Some(Err(error)) if error.is_transient() && children.restarts(Role::Coordinator) < RETRIES => {
                            format!("{status}: {error}")
                        }
                        Some(outcome) => return outcome,
                        None => status.to_string(),
                    };
                    restart(Role::Coordinator, (status, how), children, on_event).await?;
                    // One that gave up has sent its workers home; the next one needs them again.
                    for worker in (1..=launch.job.workers).map(Role::Worker) {
                        if !children.runs(worker) {
                            children.start(worker, on_event)?;
                        }
                    }
                }
                // It heard that the run is over before we did.
                News::Ended(Role::Worker(_), status) if status.success() => {}
                News::Ended(role, status) => restart(role, (status, status.to_string()), children, on_event).await?,
            },
            Some(progress) = reports.recv() => on_event(Event::Progress(&progress)),
        }
    }
}

async fn restart(
    role: Role,
    (status, how): (ExitStatus, String),
    children: &mut Children,
    on_event: &mut (dyn FnMut(Event<'_>) + Send),
) -> Result<(), RunError> {
    let name = role.name();
    let restarts = children.restarts(role);
    // A process that gave up by itself will do so again, other than one that was killed.
    let most = if status.code().is_some() { RESTARTS_AFTER_ERRORS } else { RESTARTS };
    if restarts >= most {
        return Err(RunError::transient(format!("{name} ended {restarts} times ({how}); its messages above say why")));
    }
    on_event(Event::Died { name: &name, how });
    tokio::time::sleep(RESTART_PAUSE * (1 << restarts.min(3))).await;
    children.start(role, on_event)
}

/// Asks the coordinator how it goes, again and again.
async fn watch(config: RunConfig, reports: mpsc::Sender<Progress>) {
    let mut ask = tokio::time::interval(ASK);
    ask.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut observer = None;
    loop {
        ask.tick().await;
        if observer.is_none() {
            observer = observe::connect(&config).await.ok();
        }
        let Some(asked) = &mut observer else { continue };
        match asked.status(StatusRequest { run: config.run.clone() }).await {
            Ok(response) => {
                if reports.send(Progress::from(response.into_inner())).await.is_err() {
                    return;
                }
            }
            // It may be another coordinator at another address the next time.
            Err(_) => observer = None,
        }
    }
}

impl From<StatusResponse> for Progress {
    fn from(status: StatusResponse) -> Self {
        Self {
            stage: status.stage,
            iteration: status.iteration,
            max_iterations: status.max_iterations,
            restart: status.restart,
            restarts: status.restarts,
            inertia: status.inertia,
            shift: status.shift,
            rows: status.rows,
            step_rows: status.step_rows,
            rows_per_second: status.rows_per_second,
            workers: status.workers_live,
            splits_done: status.splits_done,
            splits_total: status.splits_total,
        }
    }
}
