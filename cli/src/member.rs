//! `coterie worker --role member`: the first process of a training pod.

use std::{
    fs::OpenOptions,
    future::Future,
    io::Write,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use clap::Args;
use coterie_crds::run::STATUS_PORT;
use coterie_worker::{
    config,
    error::RunError,
    member::{self, Member},
    publish::{report, summary::Summary},
};

use crate::{observability::Logging, worker::Worker};

/// Where Kubernetes looks for a container's last words.
const TERMINATION_LOG: &str = "/dev/termination-log";

/// Options of a member of a run.
#[derive(Args)]
pub(crate) struct MemberOptions {
    /// Index of the pod within the run: 0 has the coordinator. For a member.
    #[arg(long, value_name = "N", env = "JOB_COMPLETION_INDEX")]
    index: Option<u32>,
    /// Address for health, progress and metrics of a member; port 8080 on all interfaces when unset.
    #[arg(long, value_name = "ADDR")]
    status_address: Option<SocketAddr>,
    /// Where a member writes how the run ended, as JSON; /dev/termination-log, if there is one, when unset.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

/// Runs the pod's processes and writes the report: at index 0 always, elsewhere when the pod's own worker cannot go on.
pub(crate) async fn execute(
    worker: &Worker,
    logging: &Logging,
    shutdown: impl Future<Output = ()>,
) -> Result<(), RunError> {
    let index = worker.member.index.ok_or_else(|| {
        RunError::spec("a member needs its index; give --index N or the environment variable JOB_COMPLETION_INDEX")
    })?;
    let result = run(worker, index, logging, shutdown).await;
    let report = match &result {
        Ok(Some(summary)) => Some(report::report(&Ok(summary.clone()))),
        Ok(None) => None,
        Err(error) if index != 0 && error.is_transient() => None,
        Err(error) => Some(report::report(&Err(error.clone()))),
    };
    if let Some(report) = report {
        write(worker.member.report.as_deref(), &report::encode(report));
    }
    result.map(drop)
}

async fn run(
    worker: &Worker,
    index: u32,
    logging: &Logging,
    shutdown: impl Future<Output = ()>,
) -> Result<Option<Summary>, RunError> {
    let config = config::read(&worker.run_config)?;
    let pod =
        || ["POD_NAME", "HOSTNAME"].iter().find_map(|name| std::env::var(name).ok().filter(|name| !name.is_empty()));
    let member = Member {
        index,
        name: worker.name.clone().or_else(pod).unwrap_or_else(|| format!("member-{index}")),
        executable: std::env::current_exe()
            .map_err(|error| RunError::transient(format!("find this program: {error}")))?,
        run_config: worker.run_config.clone(),
        threads: worker.threads,
        memory: worker.memory(),
        scratch: worker.scratch(),
        status: worker.member.status_address.unwrap_or_else(|| ([0, 0, 0, 0], STATUS_PORT).into()),
        environment: logging.environment(),
    };
    member::run(&config, &member, shutdown).await
}

/// A report that cannot be written must not change how the run ended.
fn write(path: Option<&Path>, text: &str) {
    let mut options = OpenOptions::new();
    // Kubernetes makes its file; elsewhere there is none, and none is made.
    options.write(true).truncate(true).create(path.is_some());
    let path = path.unwrap_or(Path::new(TERMINATION_LOG));
    if let Err(error) = options.open(path).and_then(|mut file| file.write_all(text.as_bytes())) {
        eprintln!("warning: the report was not written to {}: {error}", path.display());
    }
}
