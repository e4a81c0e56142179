//! The model does not depend on workers, threads or faults: every run of the same job gives the same digest.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod support;

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use serde_json::Value;
use support::{Job, Running, input, signal, wait};

const LIMIT: Duration = Duration::from_secs(120);

fn digest(summary: &Value) -> String {
    let digest = summary["modelDigest"].as_str().unwrap().to_owned();
    assert!(digest.starts_with("blake3:") && digest.len() == 71, "{digest}");
    digest
}

/// Moments spread over a run, the same in every execution of the test.
fn moments(count: u32, length: Duration) -> impl Iterator<Item = Duration> {
    (0..count).map(move |at| length.mul_f64(f64::from(at * 7 % count) / f64::from(count)))
}

#[test]
fn workers_and_threads_do_not_show() {
    let reference = Job::digits().run(&["--workers", "1"]);
    assert_eq!(reference["rowsRead"], 1797);
    assert!(reference["converged"].as_bool().unwrap());
    for workers in ["2", "4", "7"] {
        let summary = Job::digits().run(&["--workers", workers]);
        assert_eq!(digest(&summary), digest(&reference), "{workers} workers");
        assert_eq!(summary["inertia"], reference["inertia"]);
        assert_eq!(summary["silhouette"], reference["silhouette"]);
    }
    let summary = Job::digits().run(&["--workers", "2", "--threads", "3", "--memory", "64Mi"]);
    assert_eq!(digest(&summary), digest(&reference), "three threads");
}

#[test]
fn another_seed_is_another_model() {
    let manifest = std::fs::read_to_string(support::root().join("examples/digits.yaml")).unwrap();
    let source = support::root().join("examples/data/digits.parquet").display().to_string();
    let manifest = manifest.replace("data/digits.parquet", &source);
    let seeded = |seed: u64| {
        let lines = manifest.lines().filter(|line| !line.trim_start().starts_with("seed:"));
        let text: Vec<&str> = lines.collect();
        Job::new(&format!("{}\n  seed: {seed}\n", text.join("\n").trim_end())).run(&["--workers", "1"])
    };
    let digests: BTreeSet<String> = (1..=3).map(|seed| digest(&seeded(seed))).collect();
    assert_eq!(digests.len(), 3);
}

#[test]
fn a_killed_worker_does_not_show_at_any_of_twenty_moments() {
    let clean = Job::digits();
    let start = Instant::now();
    let reference = digest(&clean.run(&["--workers", "3", "--quiet"]));
    let length = start.elapsed();
    let mut killed = 0;
    for moment in moments(20, length) {
        let job = Job::digits();
        let mut run = Running::start(&mut job.command(&["--workers", "3", "--quiet"]));
        std::thread::sleep(moment);
        if let Some(worker) = run.children("worker").first() {
            // Every fourth is asked to leave instead.
            signal(*worker, if killed % 4 == 3 { "TERM" } else { "KILL" });
            killed += 1;
        }
        run.finish(LIMIT);
        assert_eq!(digest(&job.summary()), reference, "killed after {moment:?}");
    }
    assert!(killed >= 5, "only {killed} of 20 moments met a worker");
}

/// A job that takes some seconds, so that faults meet it in the middle, and large enough for passes that skip rows.
struct Long {
    manifest: String,
    _data: tempfile::TempDir,
}

impl Long {
    fn new() -> Self {
        let data = support::directory();
        input::write(data.path(), input::Format::Parquet, &input::blobs(30_000, 64, 100), 8);
        let manifest = format!(
            "apiVersion: coterie.dev/v1alpha1\nkind: ClusteringJob\nmetadata: {{name: long}}\nspec:\n  source: {{uri: {}, columns: \
             {{id: id, vector: vector}}}}\n  algorithm: {{kMeans: {{clusters: 130, init: Random, maxIterations: 400, tolerance: \"0\"}}}}\n  \
             evaluation: {{sampleSize: 500}}\n",
            data.path().display()
        );
        Self { manifest, _data: data }
    }

    fn job(&self) -> Job {
        Job::new(&self.manifest)
    }
}

/// Waits until the run iterates, as its checkpoints tell: the claim, Scan, Moments, Prepare and Sample come before.
fn iterating(job: &Job, least: u64) {
    let checkpoints = job.directory.path().join("out/runs/long-r1");
    wait(LIMIT, "the run to iterate", || {
        let newest = std::fs::read_dir(&checkpoints)
            .ok()?
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.strip_prefix("checkpoint-")?.parse::<u64>().ok());
        newest.max().filter(|number| *number >= least)
    });
}

/// Runs the long job, disturbed once it has come to the checkpoint with this number; returns the digest.
fn disturbed(long: &Long, arguments: &[&str], least: u64, disturb: impl FnOnce(&Running)) -> String {
    let job = long.job();
    let mut run = Running::start(&mut job.command(arguments));
    iterating(&job, least);
    disturb(&run);
    run.finish(LIMIT);
    digest(&job.summary())
}

/// Stops the first worker for so many milliseconds.
fn stop(run: &Running, milliseconds: u64) {
    let worker = run.children("worker")[0];
    signal(worker, "STOP");
    std::thread::sleep(Duration::from_millis(milliseconds));
    signal(worker, "CONT");
}

#[test]
fn faults_in_the_middle_of_a_long_run_do_not_show() {
    let long = Long::new();
    let reference = long.job().run(&["--workers", "2", "--quiet"]);
    assert!(reference["iterations"].as_u64().unwrap() >= 15, "too short to be hit: {}", reference["iterations"]);
    let reference = digest(&reference);

    // The coordinator is killed: its successor resumes from the checkpoint.
    let killed = disturbed(&long, &["--workers", "2"], 12, |run| {
        let coordinators = run.children("coordinator");
        assert_eq!(coordinators.len(), 1);
        signal(coordinators[0], "KILL");
    });
    assert_eq!(killed, reference, "after the coordinator was killed");

    // A worker is stopped for longer than its lease and then goes on: what it sends then is fenced off.
    let stopped = disturbed(&long, &["--workers", "2", "--lease", "1"], 9, |run| stop(run, 2_500));
    assert_eq!(stopped, reference, "after a worker was stopped");

    // Everything is killed, and the same command is given again: it resumes.
    let job = long.job();
    let mut run = Running::start(&mut job.command(&["--workers", "2", "--quiet"]));
    iterating(&job, 11);
    let processes = [run.children("worker"), run.children("coordinator")].concat();
    signal(run.0.id(), "KILL");
    run.0.wait().unwrap();
    // The children are leashed to the launcher and end with it.
    wait(LIMIT, "the launcher's children to end", || {
        let alive = |pid: &&u32| {
            let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            !status.is_empty() && !status.contains(") Z ")
        };
        processes.iter().find(alive).is_none().then_some(())
    });
    let output = support::output(&mut job.command(&["--workers", "2", "--log", "info"]));
    assert!(output.status.success(), "{}", support::stderr(&output));
    assert!(support::stderr(&output).contains("run resumed"), "{}", support::stderr(&output));
    assert_eq!(digest(&job.summary()), reference, "after everything was killed");
    // A finished run leaves no checkpoints.
    let left = job.directory.path().join("out/runs/long-r1");
    assert!(std::fs::read_dir(&left).map_or(true, |mut entries| entries.next().is_none()));
}

/// Contributions that held several workers' shares, by what the coordinator logs.
fn merged(log: &str) -> usize {
    let judged = log.lines().filter(|line| line.contains("contribution judged") && line.contains("Accepted"));
    judged.filter(|line| !line.contains("workers=1 ")).count()
}

#[test]
fn partials_merged_on_the_way_do_not_show() {
    let reference = digest(&Job::digits().run(&["--workers", "1"]));
    let job = Job::digits();
    let tree = ["--workers", "7", "--relay-from", "0", "--quiet", "--log", "coterie_worker=debug"];
    let output = support::output(&mut job.command(&tree));
    assert!(output.status.success(), "{}", support::stderr(&output));
    assert_eq!(digest(&job.summary()), reference);
    let log = support::stderr(&output);
    assert!(merged(&log) >= 20, "only {} contributions were merged ones:\n{log}", merged(&log));
}

#[test]
fn faults_in_a_tree_of_workers_do_not_show() {
    let long = Long::new();
    let reference = digest(&long.job().run(&["--workers", "1", "--quiet"]));
    let tree = ["--workers", "6", "--relay-from", "0", "--lease", "2", "--quiet"];

    // Workers are killed one after the other: those above others, and those below.
    let killed = disturbed(&long, &tree, 8, |run| {
        for at in 0..4 {
            if let Some(worker) = run.children("worker").get(at) {
                signal(*worker, "KILL");
            }
            std::thread::sleep(Duration::from_millis(300));
        }
    });
    assert_eq!(killed, reference, "after four workers were killed");

    // One that others send to is stopped for longer than its lease.
    let stopped = disturbed(&long, &tree, 8, |run| stop(run, 4_000));
    assert_eq!(stopped, reference, "after a worker in the tree was stopped");

    // The coordinator is killed; the workers come back to its successor.
    let killed = disturbed(&long, &tree, 10, |run| signal(run.children("coordinator")[0], "KILL"));
    assert_eq!(killed, reference, "after the coordinator was killed");
}
