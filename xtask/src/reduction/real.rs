//! k-means with real processes on hosts with real (if limited) links.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail};

use super::hosts::{Hosts, address};
use crate::context::Context;
use crate::process::{cargo, check, run as show};

/// Memory of a worker besides twice that of its rows, in MiB: rows stay in memory where they take no more than half.
const MEMORY: u64 = 512;
/// Port of the coordinator.
const PORT: u16 = 7070;

/// What is tried.
pub(crate) struct Trial {
    pub(crate) clusters: u64,
    pub(crate) dimension: u64,
    /// Rows of each worker; of few, a pass is nearly all communication.
    pub(crate) rows: u64,
    /// Passes over the rows.
    pub(crate) passes: u32,
    /// Gbit/s of each link and direction.
    pub(crate) bandwidth: f64,
    /// Workers form a tree, or each talks to the coordinator alone.
    pub(crate) tree: bool,
}

/// The programs that take part.
pub(crate) struct Programs {
    coterie: PathBuf,
    run_config: PathBuf,
}

impl Programs {
    /// Builds them; `coterie` only when no path to it is given.
    pub(crate) fn find(context: &Context, coterie: Option<PathBuf>) -> Result<Self> {
        show(cargo(context).args(["build", "--locked", "--workspace", "--example", "run_config"]))?;
        let coterie = match coterie {
            Some(coterie) => fs::canonicalize(&coterie).with_context(|| coterie.display().to_string())?,
            None => {
                show(cargo(context).args(["build", "--locked", "--release", "--package", "coterie"]))?;
                context.target().join("release/coterie")
            }
        };
        Ok(Self { coterie, run_config: context.target().join("debug/examples/run_config") })
    }
}

/// Median seconds of a pass with so many workers.
pub(crate) fn run(programs: &Programs, trial: &Trial, workers: u64) -> Result<f64> {
    let directory = std::env::temp_dir().join(format!("coterie-reduce-{}", std::process::id()));
    fs::create_dir_all(&directory)?;
    let result = run_in(programs, trial, workers, &directory);
    let _ = fs::remove_dir_all(&directory);
    result
}

fn run_in(programs: &Programs, trial: &Trial, workers: u64, directory: &Path) -> Result<f64> {
    let Trial { clusters, dimension, passes, .. } = trial;
    let rows = trial.rows.max(2 * clusters);
    let data = directory.join("data");
    check(Command::new(&programs.coterie).args(["generate", "--output"]).arg(&data).args([
        "--rows",
        &(workers * rows).to_string(),
        "--dimension",
        &dimension.to_string(),
        // Far fewer groups than clusters, so that rows go on moving.
        "--clusters",
        "16",
        "--objects",
        &workers.to_string(),
    ]))?;
    let manifest = directory.join("job.yaml");
    fs::write(
        &manifest,
        format!(
            "apiVersion: coterie.dev/v1alpha1\nkind: ClusteringJob\nmetadata: {{name: reduce}}\nspec:\n  source: {{uri: {}, columns: {{vector: \
             vector}}}}\n  algorithm: {{kMeans: {{clusters: {clusters}, init: Random, maxIterations: {passes}, tolerance: \"0\"}}}}\n  \
             workers: {{replicas: {workers}}}\n  evaluation: {{sampleSize: 100}}\n  output: {{uri: {}}}\n",
            data.display(),
            directory.join("out").display()
        ),
    )?;
    let relay_from = if trial.tree { 0 } else { u64::MAX };
    let coordinator = format!("{}:{PORT}", address(0));
    check(
        Command::new(&programs.run_config).arg(&manifest).arg(directory).args([&coordinator, &relay_from.to_string()]),
    )?;
    let hosts = Hosts::up(workers + 1, trial.bandwidth)?;
    let log = directory.join("coordinator.log");
    let memory = format!("{}Mi", MEMORY + ((2 * rows * dimension * size_of::<f32>() as u64) >> 20));
    let start = |host: u64, role: &[&str]| -> Result<Child> {
        let mut command = hosts.command(host, &programs.coterie);
        command.args(["worker", "--threads", "1", "--memory", &memory, "--run-config"]).arg(directory.join("run.json"));
        command.arg("--role").args(role).stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(if host == 0 { File::create(&log)?.into() } else { Stdio::null() });
        command.spawn().context("cannot start `ip netns exec`")
    };
    let mut main = start(0, &["coordinator", "--log", "coterie_worker=debug", "--log-json"])?;
    let names: Vec<String> = (1..=workers).map(|host| format!("worker-{host}")).collect();
    let mut others =
        (1..).zip(&names).map(|(host, name)| start(host, &["worker", "--name", name])).collect::<Result<Vec<_>>>()?;
    let status = main.wait()?;
    for child in &mut others {
        let _ = child.kill();
        let _ = child.wait();
    }
    let text = fs::read_to_string(&log)?;
    if !status.success() {
        bail!("the coordinator ended with {status}: {}", text.lines().last().unwrap_or_default());
    }
    median_pass(&text).with_context(|| format!("the coordinator's log tells of no passes:\n{text}"))
}

/// Median time from one pass's beginning to the next one's, by the coordinator's log.
fn median_pass(log: &str) -> Option<f64> {
    let begins: Vec<f64> = log
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|line| line["fields"]["message"] == "step begins" && line["fields"]["stage"] == "Iterate")
        .filter_map(|line| seconds_of_day(line["timestamp"].as_str()?))
        .collect();
    let mut passes: Vec<f64> = begins.windows(2).map(|pair| (pair[1] - pair[0]).rem_euclid(86_400.0)).collect();
    // The first ones still open connections.
    passes.drain(..passes.len().min(2));
    passes.sort_by(f64::total_cmp);
    passes.get(passes.len() / 2).copied()
}

/// Seconds since midnight of a time as in `2026-01-31T12:34:56.789Z`.
fn seconds_of_day(timestamp: &str) -> Option<f64> {
    let time = timestamp.split('T').nth(1)?.trim_end_matches('Z');
    let parts: Option<Vec<f64>> = time.split(':').map(|part| part.parse().ok()).collect();
    match parts?[..] {
        [hours, minutes, seconds] => Some((hours * 60.0 + minutes) * 60.0 + seconds),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_are_timed_by_their_beginnings() {
        let line = |time: &str, stage: &str| {
            format!(r#"{{"timestamp":"2026-01-31T{time}Z","fields":{{"message":"step begins","stage":"{stage}"}}}}"#)
        };
        let times = ["23:59:57.5", "23:59:58", "23:59:59.0", "23:59:59.25", "00:00:00.75", "00:00:01"];
        let mut log: Vec<String> = times.iter().map(|time| line(time, "Iterate")).collect();
        log.insert(0, line("12:00:00", "Scan"));
        log.push("something else".to_owned());
        // The first two passes are left out: 0.25, 1.5 and 0.25 s are left.
        assert_eq!(median_pass(&log.join("\n")), Some(0.25));
        assert_eq!(median_pass(""), None);
    }
}
