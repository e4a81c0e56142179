//! Whatever dies of a run, the model has the same digest and the job becomes Ready.

use std::sync::OnceLock;

use serde_json::{Value, json};

use crate::cluster::{Namespace, blobs, condition, kubectl, long_job, processes, shared};
use crate::support::signal;

/// Passes of the run that is disturbed.
const ROUNDS: u32 = 300;

/// Starts of the run that is disturbed: it takes some ten seconds altogether.
const RESTARTS: u32 = 4;

/// The pod with this index of a run, once it runs.
fn pod(namespace: &Namespace, index: &str) -> Value {
    namespace.wait_for(&format!("pod {index} to run"), || {
        namespace.list("pods").into_iter().find(|pod| {
            pod["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"] == index
                && pod["status"]["phase"] == "Running"
        })
    })
}

/// Trains, disturbed once it is at work; returns the digest.
pub fn train(namespace: &Namespace, name: &str, disturb: impl FnOnce()) -> String {
    let mut job = long_job(namespace, name, ROUNDS);
    job["spec"]["algorithm"]["kMeans"]["restarts"] = json!(RESTARTS);
    namespace.apply(&job);
    namespace.wait(name, "some passes", |job| (job["status"]["run"]["iteration"].as_i64() > Some(3)).then_some(()));
    let before = namespace.job(name);
    assert_eq!(before["status"]["run"]["state"], "Running", "the run was over before it was disturbed");
    disturb();
    let job = namespace.ready(name);
    assert_eq!(job["status"]["run"]["number"], 1, "{:#}", job["status"]["history"]);
    job["status"]["model"]["digest"].as_str().unwrap().to_owned()
}

/// The digest of a run that nothing disturbs. It is trained by whichever test asks first, of those that hold the cluster.
pub fn calm() -> &'static str {
    static DIGEST: OnceLock<String> = OnceLock::new();
    DIGEST.get_or_init(|| train(&Namespace::new("faults-calm"), "calm", || {}))
}

#[test]
fn whatever_dies_the_model_is_the_same() {
    let _cluster = shared();
    blobs();
    let namespace = Namespace::new("faults-of-runs");
    let digest = train(&namespace, "worker", || {
        // The supervisor of a worker's pod and all below it: the pod fails and is replaced.
        let victims = processes(&pod(&namespace, "1"), "worker");
        assert!(!victims.is_empty(), "no process of the worker's pod was found");
        victims.iter().for_each(|pid| signal(*pid, "KILL"));
    });
    assert_eq!(digest, calm(), "a worker pod's processes were killed");

    let digest = train(&namespace, "coordinator", || {
        let pod = pod(&namespace, "0");
        let name = pod["metadata"]["name"].as_str().unwrap().to_owned();
        namespace.kubectl(&["delete", "pod", &name, "--grace-period=0", "--force", "--wait=false"]);
    });
    assert_eq!(digest, calm(), "the coordinator's pod was deleted");

    let digest = train(&namespace, "job", || {
        namespace.kubectl(&["delete", "job", "job-r1", "--wait=false"]);
    });
    assert_eq!(digest, calm(), "the Job was deleted by hand");
}

#[test]
fn bad_data_stalls_the_job_within_one_attempt() {
    let _cluster = shared();
    let namespace = Namespace::new("bad-data");
    let mut job = namespace.example("digits-cluster.yaml");
    job["spec"]["source"]["columns"] = json!({"id": "id", "vector": "no_such_column"});
    namespace.apply(&job);
    let job = namespace.wait("digits", "Stalled", |job| (condition(job, "Stalled").0 == "True").then(|| job.clone()));
    let run = job["status"]["run"].clone();
    assert_eq!(run["state"], "Failed");
    assert!(run["message"].as_str().unwrap().contains("no_such_column"), "{run:#}");
    let pods = namespace.list("pods");
    assert!(pods.len() <= 3, "one attempt: {}", pods.len());
}

#[test]
fn a_job_deleted_in_mid_run_leaves_no_orphans() {
    let _cluster = shared();
    blobs();
    let namespace = Namespace::new("deleted");
    namespace.apply(&long_job(&namespace, "blobs", 100_000));
    namespace.wait("blobs", "some passes", |job| (job["status"]["run"]["iteration"].as_i64() > Some(2)).then_some(()));
    namespace.kubectl(&["delete", "clusteringjob", "blobs", "--timeout=60s"]);
    let start = std::time::Instant::now();
    namespace.wait_for("everything to be gone", || {
        let kinds = "configmaps,secrets,services,jobs,pods,networkpolicies";
        let output = kubectl(&["get", kinds, "-n", &namespace.name, "-l", "coterie.dev/job=blobs", "-o", "name"]);
        output.stdout.trim_ascii().is_empty().then_some(())
    });
    assert!(start.elapsed().as_secs() < 60, "{:?}", start.elapsed());
}
