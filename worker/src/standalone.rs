//! A whole run as one process tree on this machine: a coordinator and N workers, the same processes that run in pods,
//! talking gRPC over loopback. The launcher starts them, restarts those that die, and shows how the run goes.

use std::{future::Future, path::PathBuf, time::Duration};

use coterie_crds::{
    resolved::ResolvedJob,
    run::{CoordinatorAddress, RunConfig},
};
use tokio::sync::mpsc;

use crate::{
    config,
    error::RunError,
    publish::{failed, summary::Summary},
    shard::observe,
    supervise::{
        children::{Children, Recipe, Role},
        policy::Policy,
        supervise,
    },
    task::AbortOnDrop,
    tls,
};
pub use crate::{shard::observe::Progress, supervise::Event};

/// How often the coordinator is asked how it goes.
const ASK: Duration = Duration::from_millis(200);
/// Time that processes get to end by themselves.
const GRACE: Duration = Duration::from_secs(5);
/// Someone waits at the terminal: what does not work soon is given up.
const POLICY: Policy =
    Policy { killed: 50, ended: 6, gave_up: 2, pauses: (Duration::from_millis(100), Duration::from_millis(800)) };

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
    /// Bytes of all workers' messages in a step from which on they pass them on among themselves.
    pub relay_from_bytes: u64,
    /// Environment variables of the processes, beside the launcher's own.
    pub environment: Vec<(&'static str, String)>,
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
    let number = number(launch).await?;
    // Private to this user; gone when the run ends.
    let directory = tempfile::Builder::new()
        .prefix("coterie-")
        .tempdir()
        .map_err(|error| RunError::transient(format!("make a temporary directory: {error}")))?;
    let path = directory.path();
    tls::create(path)?;
    let config = RunConfig {
        // The same again after an interruption, so that the run is resumed.
        run: format!("{}-r{number}", launch.job.name),
        version: launch.version.clone(),
        job: launch.job.clone(),
        coordinator: CoordinatorAddress::File(path.join("coordinator.addr")),
        lease_millis: launch.lease_millis,
        patience_millis: 10_000,
        tls: path.to_owned(),
        retention: None,
        relay_from_bytes: launch.relay_from_bytes,
    };
    config::write(&config, &path.join("run.json"))?;
    let mut children = Children::new(Recipe {
        executable: launch.executable.clone(),
        run_config: path.join("run.json"),
        words: path.to_owned(),
        threads: Some(launch.threads),
        memory: launch.memory,
        scratch: launch.scratch.clone(),
        environment: launch.environment.clone(),
        listen: true,
    });
    let workers = (1..=launch.job.workers).map(|number| Role::Worker(format!("worker-{number}")));
    let roles: Vec<Role> = std::iter::once(Role::Coordinator).chain(workers).collect();
    let (sender, reports) = mpsc::channel(1);
    // On a task of its own: a coordinator that does not answer must not make the launcher deaf.
    let _watching = AbortOnDrop(tokio::spawn(observe::watch(config, ASK, sender)));
    let result = supervise(&mut children, &roles, &POLICY, reports, on_event, shutdown).await;
    children.end(GRACE).await;
    result?.ok_or_else(|| RunError::transient("the run ended without word from its coordinator"))
}

/// Number of the version to publish, as it looks now; a version that was asked for must not exist yet.
async fn number(launch: &Launch) -> Result<String, RunError> {
    let output = launch
        .job
        .output
        .as_ref()
        .ok_or_else(|| RunError::spec("the job has no output: set spec.output.uri or give --output"))?;
    let location = coterie_data::store::open(&output.uri, &output.store)?;
    let store = location.store.as_ref();
    let version = match &launch.version {
        None => coterie_model::next_version(store, &location.path).await.map_err(|error| failed(&location, &error))?,
        Some(wanted) => {
            let existing =
                coterie_model::versions(store, &location.path).await.map_err(|error| failed(&location, &error))?;
            if existing.contains(wanted) {
                return Err(RunError::spec(format!(
                    "{}: model version {wanted} exists already and versions never change; leave --model-version out to \
                     write the next one, or choose another output",
                    location.uri
                )));
            }
            wanted.clone()
        }
    };
    Ok(version.trim_start_matches('v').to_owned())
}
