//! `coterie worker`: one process of a training run.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use coterie_worker::{
    config::RunConfig,
    coordinator,
    error::RunError,
    publish::summary::Summary,
    shard::{self, ShardOptions, budget},
};

use crate::{Failure, signals, size};

/// Run one process of a training run: the coordinator or a worker. Started by `coterie run` and by the operator.
#[derive(Args)]
pub(crate) struct Worker {
    /// Configuration of the run.
    #[arg(long, value_name = "FILE")]
    run_config: PathBuf,
    /// What this process does.
    #[arg(long, value_enum)]
    role: Role,
    /// Name of the worker, unique in its run: a second one of the same name replaces the first. The process id when unset.
    #[arg(long)]
    name: Option<String>,
    /// Threads that compute; all processors when unset.
    #[arg(long)]
    threads: Option<usize>,
    /// Memory the process may use, as in 512Mi; its cgroup's limit when unset.
    #[arg(long, value_parser = size::parse)]
    memory: Option<u64>,
    /// Directory for rows that memory does not hold; the system's temporary directory when unset.
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,
    /// Where the coordinator writes how the run ended, as JSON.
    #[arg(long, value_name = "FILE")]
    outcome: Option<PathBuf>,
    /// End when standard input ends.
    #[arg(long)]
    leashed: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Role {
    Coordinator,
    Worker,
}

impl Worker {
    pub(crate) fn execute(self) -> Result<(), Failure> {
        let config = RunConfig::read(&self.run_config)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(4)
            .enable_all()
            .build()
            .map_err(|error| Failure::transient(format!("start the runtime: {error}")))?;
        let result = runtime.block_on(self.process(&config));
        // Reads of standard input cannot be interrupted.
        runtime.shutdown_background();
        Ok(result?)
    }

    async fn process(&self, config: &RunConfig) -> Result<(), RunError> {
        let leashed = self.leashed;
        let shutdown = async move {
            tokio::select! {
                () = signals::asked() => {}
                () = signals::leash_released(), if leashed => {}
            }
        };
        match self.role {
            Role::Coordinator => {
                let mut said = false;
                let result = coordinator::run(
                    config,
                    |result| {
                        said = true;
                        self.leave_word(result)
                    },
                    shutdown,
                )
                .await;
                if !said {
                    self.leave_word(&result)?;
                }
                result.map(drop).map_err(|error| match self.outcome {
                    // Whoever reads the outcome tells the user; saying it here as well would say it twice.
                    Some(_) => RunError { message: String::new(), ..error },
                    None => error,
                })
            }
            Role::Worker => {
                let cores = std::thread::available_parallelism().map_or(1, usize::from);
                let options = ShardOptions {
                    name: self.name.clone().unwrap_or_else(|| format!("worker-{}", std::process::id())),
                    threads: self.threads.unwrap_or(cores),
                    row_budget: budget::for_rows(self.memory.unwrap_or_else(budget::process_limit)),
                    scratch: self.scratch.clone().unwrap_or_else(std::env::temp_dir),
                };
                shard::run(config, &options, shutdown).await
            }
        }
    }

    /// Writes the outcome in one piece: a reader sees all of it or none.
    fn leave_word(&self, result: &Result<Summary, RunError>) -> Result<(), RunError> {
        let Some(path) = &self.outcome else { return Ok(()) };
        let failed = |error: &dyn std::fmt::Display| RunError::transient(format!("write {}: {error}", path.display()));
        let text = serde_json::to_vec(result).map_err(|error| failed(&error))?;
        let temporary = path.with_extension("new");
        std::fs::write(&temporary, text).map_err(|error| failed(&error))?;
        std::fs::rename(&temporary, path).map_err(|error| failed(&error))
    }
}
