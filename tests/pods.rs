//! Pods of a run, as the operator starts them, on this machine.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod support;

use std::{
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

use coterie_crds::run::{
    CoordinatorAddress, PublishedModel, RELAY_FROM_BYTES, Retention, RunConfig, RunProgress, RunReport,
};
use serde_json::{Value, json};
use support::{Job, Running, children, coterie, directory, free_port, input, serve::request, signal, wait};
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_secs(120);

fn manifest(name: &str, data: &Path, output: &Path, algorithm: &str) -> String {
    format!(
        "apiVersion: coterie.dev/v1alpha1\nkind: ClusteringJob\nmetadata: {{name: {name}}}\nspec:\n  source: {{uri: {}, columns: {{id: \
         id, vector: vector}}}}\n  algorithm: {{kMeans: {algorithm}}}\n  workers: {{replicas: 2}}\n  evaluation: {{sampleSize: \
         500}}\n  output: {{uri: {}, assignments: true}}\n",
        data.display(),
        output.display()
    )
}

/// One run and the pods that do it.
struct Pods {
    directory: TempDir,
    config: RunConfig,
    status: Vec<u16>,
    pods: Vec<Option<Running>>,
}

impl Pods {
    fn new(run: &str, manifest: &str, pods: usize) -> Self {
        let directory = directory();
        let mut job = coterie_crds::validate(manifest).unwrap();
        job.workers = pods as u32;
        coterie_worker::tls::create(directory.path()).unwrap();
        let config = RunConfig {
            run: run.to_owned(),
            version: None,
            job,
            coordinator: CoordinatorAddress::Address(format!("127.0.0.1:{}", free_port())),
            lease_millis: 2_000,
            patience_millis: 10_000,
            tls: directory.path().to_owned(),
            retention: None,
            relay_from_bytes: RELAY_FROM_BYTES,
        };
        let status = (0..pods).map(|_| free_port()).collect();
        Self { directory, config, status, pods: (0..pods).map(|_| None).collect() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn start(mut self) -> Self {
        coterie_worker::config::write(&self.config, &self.path("run.json")).unwrap();
        (0..self.pods.len()).for_each(|index| self.start_pod(index));
        self
    }

    fn start_pod(&mut self, index: usize) {
        let mut command = coterie();
        command
            .arg("worker")
            .arg("--run-config")
            .arg(self.path("run.json"))
            .args(["--role", "member", "--memory", "256Mi"]);
        command.arg("--status-address").arg(format!("127.0.0.1:{}", self.status[index]));
        command.arg("--report").arg(self.path(&format!("report-{index}")));
        command.arg("--scratch").arg(self.directory.path()).args(["--threads", "1"]);
        command.env("JOB_COMPLETION_INDEX", index.to_string()).env("POD_NAME", format!("pod-{index}"));
        command.stderr(Stdio::inherit());
        self.pods[index] = Some(Running::start(&mut command));
    }

    fn pid(&self, index: usize) -> u32 {
        self.pods[index].as_ref().unwrap().0.id()
    }

    fn ended(&mut self, index: usize) -> ExitStatus {
        let pod = self.pods[index].as_mut().unwrap();
        wait(LIMIT, "a pod to end", || pod.0.try_wait().unwrap())
    }

    /// All pods end with success.
    fn finish(&mut self) -> PublishedModel {
        for index in 0..self.pods.len() {
            let status = self.ended(index);
            assert!(status.success(), "pod {index}: {status}");
        }
        match self.report(0).unwrap() {
            RunReport::Published(model) => model,
            RunReport::Failed(failure) => panic!("{failure:?}"),
        }
    }

    fn report(&self, index: usize) -> Option<RunReport> {
        let text = std::fs::read(self.path(&format!("report-{index}"))).ok()?;
        assert!(text.len() <= 4096);
        Some(serde_json::from_slice(&text).unwrap())
    }

    fn progress(&self) -> Option<RunProgress> {
        let (code, body) = request(self.status[0], "GET", "/status", None).ok()?;
        (code == 200).then(|| serde_json::from_str(&body).unwrap())
    }

    /// Waits until the run has made so many passes.
    fn iterating(&self, least: u32) -> RunProgress {
        wait(LIMIT, "the run to iterate", || {
            std::thread::sleep(Duration::from_millis(50));
            self.progress().filter(|progress| progress.stage == "Iterate" && progress.iteration >= least)
        })
    }

    fn child(&self, index: usize, role: &str) -> u32 {
        wait(LIMIT, "a process to be there", || children(self.pid(index), role).first().copied())
    }
}

/// A job that takes some ten seconds, so that faults meet it in the middle, and the digest that `coterie run` gives it.
struct Long {
    /// Kept between runs of the tests: nothing is dropped at the end of a test process.
    data: PathBuf,
    digest: String,
}

impl Long {
    fn get() -> &'static Self {
        static LONG: OnceLock<Long> = OnceLock::new();
        LONG.get_or_init(|| {
            let data = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pods-long");
            input::write(&data, input::Format::Parquet, &input::blobs(60_000, 64, 100), 8);
            let mut long = Self { data, digest: String::new() };
            let summary = Job::new(&long.manifest(Path::new("/unused"))).run(&["--workers", "2", "--quiet"]);
            long.digest = summary["modelDigest"].as_str().unwrap().to_owned();
            long
        })
    }

    fn manifest(&self, output: &Path) -> String {
        let algorithm = "{clusters: 400, init: Random, maxIterations: 400, tolerance: \"0\", restarts: 16}";
        manifest("long", &self.data, output, algorithm)
    }
}

/// Data of a job that takes a moment.
fn short() -> TempDir {
    let data = directory();
    input::write(data.path(), input::Format::Parquet, &input::blobs(3_000, 8, 5), 4);
    data
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(directory)
        .map(|entries| entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
        .unwrap_or_default();
    names.sort();
    names
}

/// A run that is over leaves neither checkpoints nor reservations.
fn no_traces(output: &Path, run: &str) {
    assert_eq!(names(&output.join("reservations")), Vec::<String>::new());
    assert_eq!(names(&output.join("runs").join(run)), Vec::<String>::new());
}

#[test]
fn three_pods_make_the_model_of_one_machine() {
    let (data, out) = (short(), directory());
    let manifest = manifest("short", data.path(), out.path(), "{clusters: 5}");
    let alone = Job::new(&manifest).run(&["--workers", "1", "--quiet"]);
    let mut pods = Pods::new("short-r1-abc", &manifest, 3).start();
    wait(LIMIT, "the second pod to answer", || request(pods.status[1], "GET", "/healthz", None).ok());
    let (code, text) = request(pods.status[1], "GET", "/status", None).unwrap_or((404, "index 0".into()));
    assert!(code == 404 && text.contains("index 0"), "{code} {text}");
    let model = pods.finish();
    assert_eq!(json!(model.digest), alone["modelDigest"]);
    assert_eq!((model.version.as_str(), model.rows), ("v1", 3_000));
    assert_eq!(model.uri, format!("{}/models/v1", out.path().display()));
    assert_eq!(json!(model.silhouette), alone["silhouette"]);
    assert_eq!(input::assignments(&out.path().join("assignments/v1")).len(), 3_000);
    assert_eq!((pods.report(1), pods.report(2)), (None, None));
    no_traces(out.path(), "short-r1-abc");
}

#[test]
fn killed_processes_and_pods_do_not_show() {
    let out = directory();
    let long = Long::get();
    let mut pods = Pods::new("long-r1-abc", &long.manifest(out.path()), 2).start();

    // A process is back within two seconds.
    pods.iterating(1);
    for (index, role) in [(1, "worker"), (0, "worker"), (0, "coordinator")] {
        let killed = pods.child(index, role);
        signal(killed, "KILL");
        let start = Instant::now();
        wait(LIMIT, "the process to be back", || {
            children(pods.pid(index), role).into_iter().find(|pid| *pid != killed)
        });
        assert!(start.elapsed() < Duration::from_secs(2), "{role} took {:?}", start.elapsed());
    }
    wait(LIMIT, "the coordinator's successor", || pods.progress().filter(|progress| progress.epoch == 2));
    let (_, metrics) = request(pods.status[0], "GET", "/metrics", None).unwrap();
    for line in [
        "coterie_training_process_restarts_total{process=\"coordinator\"} 1",
        "coterie_training_process_restarts_total{process=\"worker\"} 1",
        "coterie_training_coordinator_up 1",
        "coterie_training_stage_info{run=\"long-r1-abc\",stage=\"I",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }

    // Whole pods are lost and replaced.
    for index in [1, 0] {
        signal(pods.pid(index), "KILL");
        pods.ended(index);
        pods.start_pod(index);
    }
    let model = pods.finish();
    assert_eq!(model.digest, long.digest);
    assert_eq!(model.version, "v1");
    no_traces(out.path(), "long-r1-abc");
}

#[test]
fn a_run_that_was_asked_to_stop_goes_on_where_it_was() {
    let out = directory();
    let long = Long::get();
    let mut pods = Pods::new("long-r1-abc", &long.manifest(out.path()), 2).start();
    let before = pods.iterating(4);
    assert!(before.iteration_seconds > 0.0 && before.workers == 2, "{before:?}");
    for index in [0, 1] {
        signal(pods.pid(index), "TERM");
    }
    for index in [0, 1] {
        assert_eq!(pods.ended(index).code(), Some(75));
    }
    assert_eq!(names(&out.path().join("reservations")), ["v1"]);
    match pods.report(0) {
        Some(RunReport::Failed(failure)) => assert_eq!(failure.exit_code, 75),
        other => panic!("{other:?}"),
    }
    for index in [0, 1] {
        pods.start_pod(index);
    }
    let after = pods.iterating(1);
    let at = |progress: &RunProgress| (progress.restart, progress.iteration);
    assert!(after.epoch == 2 && at(&after) >= at(&before), "{before:?} {after:?}");
    let model = pods.finish();
    assert_eq!((model.digest, model.version.as_str()), (long.digest.clone(), "v1"));
    no_traces(out.path(), "long-r1-abc");
}

#[test]
fn what_cannot_be_used_ends_the_run_at_once_and_the_report_says_where_it_is() {
    let (data, out) = (short(), directory());
    let mut rows = input::blobs(1_000, 8, 5);
    rows[700][3] = f32::NAN;
    input::parquet(&data.path().join("part-009.parquet"), 3_000, &rows, 500);
    let bad = manifest("bad", data.path(), out.path(), "{clusters: 5}");
    let missing = bad.replace("vector: vector", "vector: embedding");
    for (manifest, code, words) in
        [(bad.as_str(), 65, &["part-009.parquet", "NaN", "row group 1"][..]), (missing.as_str(), 64, &["embedding"])]
    {
        let mut pods = Pods::new("bad-r1-abc", manifest, 2).start();
        assert_eq!(pods.ended(0).code(), Some(code));
        match pods.report(0) {
            Some(RunReport::Failed(failure)) => {
                assert_eq!(failure.exit_code, code);
                for word in words {
                    assert!(failure.message.contains(word), "{word} in {}", failure.message);
                }
            }
            other => panic!("{other:?}"),
        }
        no_traces(out.path(), "bad-r1-abc");
        assert_eq!(names(&out.path().join("models")), Vec::<String>::new());
        assert_eq!(names(&out.path().join("assignments/v1")), Vec::<String>::new());
    }
}

#[test]
fn two_runs_that_share_an_output_do_not_meet() {
    let (data, out) = (short(), directory());
    let mut runs: Vec<Pods> = [("a", 3), ("b", 7)]
        .into_iter()
        .map(|(name, clusters)| {
            let manifest = manifest(name, data.path(), out.path(), &format!("{{clusters: {clusters}}}"));
            Pods::new(&format!("{name}-r1-abc"), &manifest, 2).start()
        })
        .collect();
    let models: Vec<PublishedModel> = runs.iter_mut().map(Pods::finish).collect();
    let mut versions: Vec<&str> = models.iter().map(|model| model.version.as_str()).collect();
    versions.sort_unstable();
    assert_eq!(versions, ["v1", "v2"]);
    for (model, clusters) in models.iter().zip([3, 7]) {
        let text = std::fs::read(Path::new(&model.uri).join("manifest.json")).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(
            text.contains(&format!("\"nClusters\": {clusters}")) || text.contains(&format!("\"nClusters\":{clusters}"))
        );
        let assignments = input::assignments(&out.path().join("assignments").join(&model.version));
        let most = assignments.values().max().unwrap();
        assert_eq!((assignments.len(), *most), (3_000, clusters - 1));
    }
    assert_eq!(names(&out.path().join("reservations")), Vec::<String>::new());
}

#[test]
fn old_versions_go_but_not_those_in_service() {
    let (data, out) = (short(), directory());
    let manifest = manifest("kept", data.path(), out.path(), "{clusters: 5}");
    for run in 1..=4 {
        let mut pods = Pods::new(&format!("kept-r{run}-abc"), &manifest, 1);
        pods.config.retention = Some(Retention { limit: 2, protect: vec!["v1".into()] });
        assert_eq!(pods.start().finish().version, format!("v{run}"));
    }
    for version in ["v1", "v3", "v4"] {
        assert_eq!(names(&out.path().join("models").join(version)), ["manifest.json", "tensors.safetensors"]);
        assert_eq!(input::assignments(&out.path().join("assignments").join(version)).len(), 3_000);
    }
    assert_eq!(names(&out.path().join("models/v2")), Vec::<String>::new());
    assert_eq!(names(&out.path().join("assignments/v2")), Vec::<String>::new());
}

/// It died between publishing and its last words; its successor has neither checkpoints nor data, and needs none.
#[test]
fn a_coordinator_whose_last_words_were_lost_repeats_them() {
    let (data, out) = (short(), directory());
    let manifest = manifest("late", data.path(), out.path(), "{clusters: 5}");
    let job = Job::new(&manifest);
    let summary = job.run(&["--workers", "1", "--quiet", "--output", out.path().to_str().unwrap()]);
    let pods = Pods::new("late-r7-abc", &manifest, 1);
    let holder = json!({"run": "late-r7-abc", "summary": summary});
    let reservation = out.path().join("reservations/v1");
    std::fs::create_dir_all(reservation.parent().unwrap()).unwrap();
    std::fs::write(&reservation, holder.to_string()).unwrap();
    drop(data);
    let model = pods.start().finish();
    assert_eq!(json!(model.digest), summary["modelDigest"]);
    assert_eq!(json!(model.seconds), summary["seconds"]);
    assert_eq!(names(&out.path().join("models")), ["v1"]);
    assert!(!reservation.exists());
}

#[test]
fn a_replica_serves_exactly_what_it_was_told_to() {
    let (data, out) = (short(), directory());
    let manifest = manifest("served", data.path(), out.path(), "{clusters: 5}");
    let summary: Value = Job::new(&manifest).run(&["--quiet", "--output", out.path().to_str().unwrap()]);
    let config = directory();
    let file = config.path().join("serve.json");
    let write_with = |digest: &str, shadow: Option<&str>| {
        let model = format!("{}/models/v1", out.path().display());
        let store = coterie_crds::resolved::Store::default();
        let shadow = shadow.map(|digest| coterie_crds::run::ShadowConfig {
            model: model.clone(),
            digest: digest.to_owned(),
            store: store.clone(),
        });
        let config = coterie_crds::run::ServeConfig {
            model,
            digest: digest.to_owned(),
            store,
            items: None,
            cache: None,
            shadow,
        };
        std::fs::write(&file, serde_json::to_string(&config).unwrap()).unwrap();
    };
    let write = |digest: &str| write_with(digest, None);
    let serve = || {
        let mut command = coterie();
        command.args(["serve", "--drain-delay", "100ms", "--serve-config"]).arg(&file);
        command
    };
    let digest = summary["modelDigest"].as_str().unwrap();
    write(digest);
    let served = support::serve::Served::start(&mut serve());
    assert_eq!(served.get("/v1/model")["digest"], summary["modelDigest"]);
    assert_eq!(served.get("/healthz/ready")["modelVersion"], "v1");
    drop(served);

    // What it tells about its traffic is what the operator reads; a model to compare with that is not there keeps nobody from serving.
    for (other, compared) in [(digest, true), ("blake3:0", false)] {
        write_with(digest, Some(other));
        let served = support::serve::Served::start(&mut serve());
        served.get("/v1/model");
        let report: coterie_crds::run::TrafficReport = serde_json::from_value(served.get("/v1/traffic")).unwrap();
        assert_eq!((report.model_version.as_str(), report.requests, report.errors), ("v1", 1, 0));
        assert_eq!(report.latency.seconds.len(), report.latency.counts.len());
        let version = report.shadow.map(|shadow| shadow.version);
        assert_eq!(version.as_deref(), compared.then_some("v1"));
    }

    write("blake3:0");
    let refused = support::output(serve().args(["--http", "127.0.0.1:0"]));
    let text = support::stderr(&refused);
    assert_eq!(refused.status.code(), Some(65), "{text}");
    assert!(text.contains(digest) && text.contains("blake3:0"), "{text}");
    let both = support::output(serve().args(["--http", "127.0.0.1:0", "--model", "x"]));
    assert_eq!(both.status.code(), Some(64));
}
