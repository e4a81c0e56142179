//! `coterie run`: a whole job on this machine.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use clap::Args;
use coterie_crds::{
    resolved::{Output, ResolvedJob},
    run::RELAY_FROM_BYTES,
};
use coterie_model::items::Shard;
use coterie_serving::Settings;
use coterie_worker::{
    publish::summary::Summary,
    shard::budget,
    standalone::{self, Launch},
};

use crate::{Failure, manifest, observability::Logging, progress::Display, results, serve, signals, size};

/// Run a ClusteringJob on this machine, without Kubernetes: a coordinator and N worker processes.
///
/// Relative paths in the manifest are relative to the manifest. An interrupted run is resumed from its last checkpoint by
/// running it again.
#[derive(Args)]
pub(crate) struct Run {
    /// The manifest; - for standard input.
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
    /// Number of worker processes; spec.workers.replicas when unset.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=512))]
    workers: Option<u32>,
    /// Where the model goes, a directory or a URI; spec.output.uri when unset, and coterie-out/NAME without either.
    #[arg(long, value_name = "DIR_OR_URI")]
    output: Option<String>,
    /// Version to publish, as in v3; the next one when unset.
    #[arg(long, value_name = "VERSION", value_parser = version)]
    model_version: Option<String>,
    /// Serve the model over HTTP at this address once it is trained, as in 127.0.0.1:8080.
    #[arg(long, value_name = "ADDR")]
    serve: Option<SocketAddr>,
    /// Write a summary of the run as JSON.
    #[arg(long, value_name = "FILE.json")]
    summary: Option<PathBuf>,
    /// Show neither progress nor results.
    #[arg(short, long)]
    quiet: bool,
    /// Threads of each worker; all processors shared evenly when unset.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// Memory each worker may use, as in 512Mi: rows beyond it go to scratch files. Unset: an even share of what there is.
    #[arg(long, value_name = "SIZE", value_parser = size::parse)]
    memory: Option<u64>,
    /// Directory for scratch files; the system's temporary directory when unset.
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,
    /// Seconds of silence after which a worker's splits are given to others.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    lease: u64,
    /// Size of all workers' messages in a step from which on workers pass them on among themselves instead of each talking to the
    /// coordinator alone; 4Mi when unset. The model is the same.
    #[arg(long, value_name = "SIZE", value_parser = size::parse)]
    relay_from: Option<u64>,
}

impl Run {
    pub(crate) fn execute(self, logging: &Logging) -> Result<(), Failure> {
        let mut job = manifest::read(&self.file)?;
        if let Some(workers) = self.workers {
            job.workers = workers;
        }
        self.choose_output(&mut job);
        let writable = self.summary.as_deref().map(check_summary).transpose()?;
        let launch = self.launch(job, logging)?;
        let runtime = serve::runtime()?;
        let summary = runtime.block_on(self.train(&launch))?;
        if let Some(path) = writable {
            write_summary(path, &summary)?;
        }
        if !self.quiet {
            results::print(&summary);
        }
        match self.serve {
            Some(address) => {
                let store = launch.job.output.as_ref().map(|output| output.store.clone()).unwrap_or_default();
                let items = launch.job.items;
                let directory = items.map(|_| tempfile::tempdir()).transpose();
                let directory = directory
                    .map_err(|error| Failure::transient(format!("make a directory for the item index: {error}")))?;
                runtime.block_on(async {
                    let loaded = serve::load(&summary.model_uri, &store).await?;
                    let directory = directory.as_ref().map(|made| made.path());
                    let served = tokio::select! {
                        served = serve::served(loaded, items, Shard::WHOLE, directory, self.quiet) => served?,
                        () = signals::asked() => return Ok(()),
                    };
                    serve::serve(served, (None, None), Some(address), None, Settings::default(), self.quiet).await
                })
            }
            None => Ok(()),
        }
    }

    async fn train(&self, launch: &Launch) -> Result<Summary, Failure> {
        let mut display = Display::new(self.quiet);
        let summary = standalone::run(launch, &mut |event| display.show(event), signals::asked()).await;
        display.finish();
        Ok(summary?)
    }

    fn choose_output(&self, job: &mut ResolvedJob) {
        if let Some(uri) = &self.output {
            match &mut job.output {
                Some(output) => output.uri.clone_from(uri),
                None => {
                    job.output = Some(Output { uri: uri.clone(), assignments: false, store: job.source.store.clone() })
                }
            }
        } else if job.output.is_none() {
            let uri = format!("coterie-out/{}", job.name);
            job.output = Some(Output { uri, assignments: false, store: job.source.store.clone() });
        }
    }

    fn launch(&self, job: ResolvedJob, logging: &Logging) -> Result<Launch, Failure> {
        let executable =
            std::env::current_exe().map_err(|error| Failure::transient(format!("find this program: {error}")))?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let workers = job.workers.max(1);
        Ok(Launch {
            version: self.model_version.clone(),
            executable,
            threads: self.threads.map_or_else(|| (cores / workers as usize).max(1), usize::from),
            // A fifth is left to the system and the coordinator.
            memory: self.memory.unwrap_or_else(|| budget::process_limit() / 5 * 4 / u64::from(workers)),
            scratch: self.scratch.clone(),
            lease_millis: self.lease * 1000,
            relay_from_bytes: self.relay_from.unwrap_or(RELAY_FROM_BYTES),
            environment: logging.environment(),
            job,
        })
    }
}

fn version(text: &str) -> Result<String, String> {
    let number = text.strip_prefix('v').and_then(|number| number.parse::<u64>().ok()).filter(|number| *number > 0);
    match number {
        Some(number) if text == format!("v{number}") => Ok(text.to_owned()),
        _ => Err(format!("{text:?} is not a model version; write v and a number, as in v3")),
    }
}

/// Finds out before an hour of training that the summary has no place to go.
fn check_summary(path: &Path) -> Result<&Path, Failure> {
    let failed = |why: &str| Failure::usage(format!("--summary {}: {why}", path.display()));
    if path.is_dir() {
        return Err(failed("is a directory; give a file name"));
    }
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() && !parent.is_dir() => {
            Err(failed("its directory does not exist; create it first"))
        }
        Some(_) | None => Ok(path),
    }
}

fn write_summary(path: &Path, summary: &Summary) -> Result<(), Failure> {
    let failed =
        |error: &dyn std::fmt::Display| Failure::transient(format!("write the summary {}: {error}", path.display()));
    let mut text = serde_json::to_string_pretty(summary).map_err(|error| failed(&error))?;
    text.push('\n');
    std::fs::write(path, text).map_err(|error| failed(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_v_and_a_number() {
        assert_eq!(version("v12"), Ok("v12".to_owned()));
        for wrong in ["", "v", "3", "v0", "v03", "v1.0", "latest"] {
            assert!(version(wrong).is_err(), "{wrong}");
        }
    }
}
