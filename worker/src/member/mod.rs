//! One pod of a run: the first process of its container, which looks after the others. Index 0 has the coordinator and a
//! worker, every other index a worker. A process that dies is back within seconds, long before the cluster would replace the
//! pod; an error that trying again cannot mend ends the pod with its code.
//!
//! | module | concern |
//! |---|---|
//! | [`memory`] | what coordinator and worker of one pod may use |
//! | [`status`] | what the pod shows of the run: progress, metrics |
//! | `http` | a small HTTP server for that |

mod http;
pub mod memory;
pub mod status;

use std::{future::Future, net::SocketAddr, path::PathBuf, time::Duration};

use coterie_crds::run::RunConfig;
use tokio::{net::TcpListener, sync::mpsc};

use self::status::Board;
use crate::{
    error::RunError,
    publish::summary::Summary,
    shard::observe,
    supervise::{
        Event,
        children::{Children, Recipe, Role},
        policy::Policy,
        supervise,
    },
    task::AbortOnDrop,
};

/// How often the coordinator is asked how it goes.
const ASK: Duration = Duration::from_secs(1);
/// Time that processes get to end by themselves when the pod is to end.
const GRACE: Duration = Duration::from_secs(20);
/// The same once the run is over: they have nothing to save.
const GRACE_AFTER: Duration = Duration::from_secs(5);
/// Stores and networks fail for minutes; after that the cluster may try another node.
const POLICY: Policy =
    Policy { killed: 50, ended: 10, gave_up: 8, pauses: (Duration::from_millis(250), Duration::from_secs(30)) };

/// A pod of a run.
#[derive(Clone, Debug)]
pub struct Member {
    /// Index within the run.
    pub index: u32,
    /// Name of its worker, unique in the run.
    pub name: String,
    /// The `coterie` binary.
    pub executable: PathBuf,
    /// The run's configuration file.
    pub run_config: PathBuf,
    /// Threads of the worker; its own choice when unset.
    pub threads: Option<usize>,
    /// Memory of all processes of the pod together, in bytes.
    pub memory: u64,
    /// Directory for scratch files and for what the processes leave in writing; must be writable.
    pub scratch: PathBuf,
    /// Where progress and metrics are shown.
    pub status: SocketAddr,
    /// Environment variables of the processes, beside the pod's own.
    pub environment: Vec<(&'static str, String)>,
}

/// Runs the pod's processes until the run is over: with its summary at index 0, without at others.
///
/// # Errors
/// Why the run, or this pod's part in it, ended early; or that `shutdown` came first, upon which the coordinator has saved its
/// checkpoint and the worker has given its splits back.
pub async fn run(
    config: &RunConfig,
    member: &Member,
    shutdown: impl Future<Output = ()>,
) -> Result<Option<Summary>, RunError> {
    let words = tempfile::Builder::new().prefix("words-").tempdir_in(&member.scratch).map_err(|error| {
        RunError::transient(format!(
            "make a directory in {}: {error}; mount a writable volume there, or name another with --scratch",
            member.scratch.display()
        ))
    })?;
    let leads = member.index == 0;
    let board = Board::new(&config.run, leads);
    let listener = TcpListener::bind(member.status)
        .await
        .map_err(|error| RunError::transient(format!("listen on {}: {error}", member.status)))?;
    let _showing = AbortOnDrop(tokio::spawn(http::serve(listener, board.router())));

    let worker = Role::Worker(member.name.clone());
    let (sender, reports) = mpsc::channel(1);
    let (roles, _watching) = if leads {
        let watching = tokio::spawn(observe::watch(config.clone(), ASK, sender));
        (vec![Role::Coordinator, worker], Some(AbortOnDrop(watching)))
    } else {
        (vec![worker], None)
    };
    let mut children = Children::new(Recipe {
        executable: member.executable.clone(),
        run_config: member.run_config.clone(),
        words: words.path().to_owned(),
        threads: member.threads,
        memory: if leads { memory::beside_coordinator(member.memory, &config.job) } else { member.memory },
        scratch: Some(member.scratch.clone()),
        environment: member.environment.clone(),
        listen: false,
    });
    let mut show = |event: Event<'_>| match event {
        Event::Started { name, pid } => tracing::info!(name, pid, "process started"),
        Event::Died { role, how } => {
            tracing::warn!(name = role.name(), how, "a process ended and is started again");
            board.died(role);
        }
        Event::Log(_) => {}
        Event::Progress(progress) => board.show(progress.map(|progress| progress.run.clone())),
    };
    let result = supervise(&mut children, &roles, &POLICY, reports, &mut show, shutdown).await;
    let over = result.as_ref().err().is_none_or(|error| !error.is_transient());
    children.end(if over { GRACE_AFTER } else { GRACE }).await;
    result
}
