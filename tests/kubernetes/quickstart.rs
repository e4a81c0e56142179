//! The README's quickstart for a cluster: one manifest, a trained and served model with the bits of a local run.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use crate::cluster::{Namespace, check, condition, kubectl, shared};
use crate::support::{Job, coterie, root, serve::Served};

/// Rows of the digits, to be asked about.
fn rows() -> Vec<Vec<f32>> {
    (0..50u32).map(|row| (0..64u32).map(|column| ((row * 31 + column * 17) % 17) as f32).collect()).collect()
}

/// Indexes of the training pods that run now.
fn running_workers(namespace: &Namespace) -> Vec<String> {
    let pods = namespace.list("pods");
    pods.iter()
        .filter(|pod| pod["metadata"]["labels"]["app.kubernetes.io/component"] == "training")
        .filter(|pod| pod["status"]["phase"] == "Running")
        .filter_map(|pod| pod["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"].as_str())
        .map(str::to_owned)
        .collect()
}

#[test]
fn one_manifest_trains_and_serves_the_model_of_a_local_run() {
    let _cluster = shared();
    let namespace = Namespace::new("quickstart");
    let manifest = namespace.example("digits-cluster.yaml");
    namespace.apply(&manifest);

    // Everything that a watcher sees on the way.
    let mut seen: Vec<(String, String)> = Vec::new();
    let mut table = String::new();
    // Seen while they run: those that are left once the coordinator has ended are deleted by the Job's success policy.
    let mut indexes = BTreeSet::new();
    let job = namespace.wait("digits", "Ready", |job| Some(job.clone()));
    assert!(job["status"].is_object(), "a resource begins with a status");
    let start = std::time::Instant::now();
    let job = loop {
        let job = namespace.job("digits");
        for kind in ["Reconciling", "Trained", "Serving", "Ready"] {
            let pair = (kind.to_owned(), condition(&job, kind).0);
            if pair.1 == "True" && !seen.contains(&pair) {
                seen.push(pair);
            }
        }
        let line = namespace.kubectl(&["get", "clj", "digits", "--no-headers"]);
        if !table.contains(&line) {
            table.push_str(&line);
        }
        indexes.extend(running_workers(&namespace));
        if condition(&job, "Ready").0 == "True" {
            break job;
        }
        assert!(start.elapsed() < crate::cluster::DEADLINE, "not ready: {job:#}");
        std::thread::sleep(Duration::from_millis(50));
    };
    let order: Vec<&str> = seen.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(order, ["Reconciling", "Trained", "Serving", "Ready"]);
    assert!(
        table.contains("Starting") || table.contains("Iterate") || table.contains("Scan"),
        "no progress was shown:\n{table}"
    );

    // Three pods did the work.
    assert_eq!(indexes, ["0", "1", "2"].map(str::to_owned).into());

    // The bits of a local run.
    let local = Job::digits();
    let summary = local.run(&["--quiet", "--workers", "2"]);
    assert_eq!(job["status"]["model"]["digest"], summary["modelDigest"]);
    assert_eq!(job["status"]["model"]["metrics"]["rows"], 1797);

    // A pod that asks the Service gets the labels of the local model.
    let body = json!({ "vectors": rows() }).to_string();
    let answer = namespace.ask_from_a_pod("asker", "http://digits:8080/v1/assign", &body);
    let local_model = local.directory.path().join("out");
    let served = Served::start(coterie().args(["serve", "--model", local_model.to_str().unwrap()]));
    let (code, expected) = served.post("/v1/assign", &body);
    assert_eq!(code, 200);
    assert_eq!(answer["assignments"], expected["assignments"]);
    assert_eq!(answer["modelVersion"], job["status"]["serving"]["version"]);

    // The rows came with the model: what is near the first digit is a digit of its kind.
    let question = json!({"id": 0, "count": 5, "method": "Exact"}).to_string();
    let near = namespace.ask_from_a_pod("seeker", "http://digits:8080/v1/similar-items", &question);
    let items = near["items"].as_array().unwrap();
    assert_eq!(items.len(), 5);
    assert!(items.iter().all(|item| item["cluster"] == items[0]["cluster"]), "{near}");
    assert!(items.iter().all(|item| item["id"] != 0) && items[0]["distance"].as_f64().unwrap() < 25.0, "{near}");

    // Events tell the story.
    let events: String =
        namespace.list("events.events.k8s.io").iter().map(|event| format!("{} ", event["reason"])).collect();
    for reason in ["RunStarting", "RunSucceeded", "RollingOut"] {
        assert!(events.contains(reason), "{events}");
    }

    // Deleting the resource leaves nothing behind.
    namespace.kubectl(&["delete", "clusteringjob", "digits", "--timeout=60s"]);
    namespace.wait_for("everything to be gone", || {
        let kinds = "configmaps,secrets,services,jobs,deployments,pods,networkpolicies,poddisruptionbudgets";
        let left = namespace.kubectl(&["get", kinds, "-l", "coterie.dev/job=digits", "-o", "name"]);
        left.trim().is_empty().then_some(())
    });
}

/// The commands that the README shows to somebody who has brought the cluster up, word by word.
#[test]
fn the_commands_of_the_readme_do_what_it_says() {
    let _cluster = shared();
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let section = readme.split("## Try it on Kubernetes").nth(1).unwrap().split("\n## ").next().unwrap();
    let commands: Vec<Vec<&str>> = section
        .lines()
        .filter_map(|line| line.strip_prefix("    cargo xtask kubectl -- "))
        .map(|line| line.split(' ').collect())
        .collect();
    let verbs: Vec<&str> = commands.iter().map(|command| command[0]).collect();
    assert_eq!(verbs, ["apply", "wait", "get", "describe"]);

    let _ = kubectl(&["delete", "-f", "examples/digits-cluster.yaml", "--ignore-not-found"]);
    let told: Vec<String> = commands.iter().map(|command| check(command)).collect();
    assert!(told[2].contains("digits") && told[2].contains("True"), "{}", told[2]);
    // The README says that the digest is the one of the local run, which it shows.
    let digest = readme.split("blake3:").nth(1).unwrap().split(' ').next().unwrap();
    assert!(told[3].contains(digest), "{digest} is not in {}", told[3]);
    check(&["delete", "-f", "examples/digits-cluster.yaml", "--timeout=60s"]);
}

impl Namespace {
    /// Sends a POST from a pod of the namespace and returns the answer.
    fn ask_from_a_pod(&self, name: &str, url: &str, body: &str) -> Value {
        self.apply(&json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
            "spec": {
                "restartPolicy": "Never",
                "automountServiceAccountToken": false,
                "securityContext": {"runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
                "containers": [{
                    "name": "asker", "image": "localhost/busybox:1", "imagePullPolicy": "Never",
                    "command": ["/busybox", "wget", "-q", "-O", "-", "--header", "Content-Type: application/json", "--post-data", body, url],
                    "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
                }],
            },
        }));
        self.wait_for("the asking pod to end", || {
            let phase = self.get("pod", name)?["status"]["phase"].as_str()?.to_owned();
            assert_ne!(phase, "Failed", "{}", self.kubectl(&["logs", name]));
            (phase == "Succeeded").then_some(())
        });
        serde_json::from_str(&self.kubectl(&["logs", name])).unwrap()
    }
}
