//! `coterie worker`: one process of a training run, or all those of one pod.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use coterie_crds::run::RunConfig;
use coterie_worker::{
    config, coordinator,
    error::RunError,
    shard::{self, ShardOptions, budget},
};
use serde::Serialize;

use crate::{
    Failure,
    member::{self, MemberOptions},
    observability::Logging,
    signals, size,
};

/// Run processes of a training run: the coordinator, a worker, or those of one pod. Started by `coterie run` and by the
/// operator.
#[derive(Args)]
pub(crate) struct Worker {
    /// Configuration of the run.
    #[arg(long, value_name = "FILE")]
    pub(crate) run_config: PathBuf,
    /// What this process does.
    #[arg(long, value_enum)]
    role: Role,
    /// Name of the worker, unique in its run: a second one of the same name replaces the first. Unset: the pod's name
    /// (POD_NAME, HOSTNAME) for a member, the process id for a worker.
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Threads that compute; all processors when unset.
    #[arg(long)]
    pub(crate) threads: Option<usize>,
    /// Memory the process may use (a member: with all its processes; for a coordinator: that each worker may use), as in 512Mi; its
    /// cgroup's limit when unset.
    #[arg(long, value_parser = size::parse)]
    memory: Option<u64>,
    /// Directory for rows that memory does not hold; the system's temporary directory when unset.
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,
    /// Where the coordinator or worker writes how it ended, as JSON.
    #[arg(long, value_name = "FILE")]
    outcome: Option<PathBuf>,
    /// End when standard input ends.
    #[arg(long)]
    leashed: bool,
    #[command(flatten)]
    pub(crate) member: MemberOptions,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Role {
    /// Plans, hands out work, merges, publishes.
    Coordinator,
    /// Computes.
    Worker,
    /// A pod: a worker, with the coordinator at index 0; starts again what dies.
    Member,
}

impl Worker {
    pub(crate) fn execute(self, logging: &Logging) -> Result<(), Failure> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(4)
            .enable_all()
            .build()
            .map_err(|error| Failure::transient(format!("start the runtime: {error}")))?;
        let result = runtime.block_on(async {
            match self.role {
                Role::Member => member::execute(&self, logging, self.shutdown()).await,
                Role::Coordinator | Role::Worker => self.process(&config::read(&self.run_config)?).await,
            }
        });
        // Reads of standard input cannot be interrupted.
        runtime.shutdown_background();
        Ok(result?)
    }

    async fn process(&self, config: &RunConfig) -> Result<(), RunError> {
        let mut said = false;
        let result = if self.role == Role::Coordinator {
            let leave_word = |result: &_| {
                said = true;
                self.leave_word(result)
            };
            coordinator::run(config, self.memory(), leave_word, self.shutdown()).await.map(Some)
        } else {
            let cores = std::thread::available_parallelism().map_or(1, usize::from);
            let options = ShardOptions {
                name: self.name.clone().unwrap_or_else(|| format!("worker-{}", std::process::id())),
                threads: self.threads.unwrap_or(cores),
                row_budget: budget::for_rows(self.memory()),
                scratch: self.scratch(),
            };
            shard::run(config, &options, self.shutdown()).await.map(|()| None)
        };
        if !said {
            self.leave_word(&result)?;
        }
        result.map(drop).map_err(|error| match self.outcome {
            // Whoever reads the outcome tells the user; saying it here as well would say it twice.
            Some(_) => RunError { message: String::new(), ..error },
            None => error,
        })
    }

    pub(crate) fn memory(&self) -> u64 {
        self.memory.unwrap_or_else(budget::process_limit)
    }

    pub(crate) fn scratch(&self) -> PathBuf {
        self.scratch.clone().unwrap_or_else(std::env::temp_dir)
    }

    /// Completes when this process is asked to stop.
    fn shutdown(&self) -> impl Future<Output = ()> + use<> {
        let leashed = self.leashed;
        async move {
            tokio::select! {
                () = signals::asked() => {}
                () = signals::leash_released(), if leashed => {}
            }
        }
    }

    /// Writes the outcome in one piece: a reader sees all of it or none.
    fn leave_word<T: Serialize>(&self, result: &Result<T, RunError>) -> Result<(), RunError> {
        let Some(path) = &self.outcome else { return Ok(()) };
        let text = serde_json::to_vec(result).map_err(|error| unwritten(path, &error))?;
        let temporary = path.with_extension("new");
        std::fs::write(&temporary, text).map_err(|error| unwritten(path, &error))?;
        std::fs::rename(&temporary, path).map_err(|error| unwritten(path, &error))
    }
}

fn unwritten(path: &Path, error: &dyn std::fmt::Display) -> RunError {
    RunError::transient(format!("write {}: {error}", path.display()))
}
