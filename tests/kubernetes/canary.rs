//! Gradual roll-outs under load: a good model takes its steps, a worse one loses the traffic again, and no request fails.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cluster::{Namespace, condition, shared};
use crate::load::{Load, Tally};

/// Requests a second.
const RATE: u32 = 500;

/// Length of the gates' intervals.
const INTERVAL: Duration = Duration::from_secs(10);

/// The digits with steps, in service and under load.
fn under_load(namespace: &Namespace, gates: &Value) -> Load {
    let mut manifest = namespace.example("digits-cluster.yaml");
    manifest["spec"]["serving"]["similarItems"] = json!(false);
    manifest["spec"]["serving"]["rollout"] =
        json!({"steps": [{"weight": 30, "pauseSeconds": 30}, {"weight": 50, "pauseSeconds": 20}], "gates": gates});
    namespace.apply(&manifest);
    namespace.ready("digits");
    // Rows of all clusters: vectors that differ in where their ink is.
    let rows: Vec<Vec<u32>> = (0..16).map(|row| (0..64).map(|at| (row * 7 + at * at * 3) % 17).collect()).collect();
    Load::start(&namespace.address("digits"), RATE, &json!({ "vectors": rows }).to_string())
}

fn canary(job: &Value) -> &Value {
    &job["status"]["serving"]["canary"]
}

fn none_failed(tally: &Tally) {
    let first = &tally.failures[..tally.failures.len().min(10)];
    assert!(tally.failures.is_empty(), "{} of {} failed: {first:#?}", tally.failures.len(), tally.answered);
}

#[test]
fn a_good_model_takes_its_steps_without_a_failed_request() {
    let _cluster = shared();
    let namespace = Namespace::new("canary-good");
    let gates = json!({"maxErrorRate": "0.01", "maxReassigned": "0.9", "intervalSeconds": INTERVAL.as_secs()});
    let load = under_load(&namespace, &gates);

    // The same model again: nothing can be worse.
    namespace.patch("digits", &json!({"spec": {"retrainToken": "again"}}));
    let seen = |step: u32, state: &'static str| {
        move |job: &Value| (canary(job)["step"] == step && canary(job)["state"] == state).then(|| job.clone())
    };
    let job = namespace.wait("digits", "the first step", seen(1, "Paused"));
    assert_eq!(job["status"]["serving"]["version"], "v1");
    assert_eq!(condition(&job, "Ready").1, "Canary");
    let job = namespace
        .wait("digits", "numbers of an interval", |job| canary(job)["reassigned"].is_string().then(|| job.clone()));
    assert_eq!(canary(&job)["reassigned"], "0", "the models are equal: {:#}", canary(&job));
    assert_eq!(canary(&job)["errorRate"], "0");
    namespace.wait("digits", "the second step", seen(2, "Paused"));
    let job = namespace.ready("digits");
    assert_eq!(job["status"]["serving"]["version"], "v2");
    assert!(canary(&job).is_null());
    namespace.wait_for("old replicas to end", || (namespace.list("deployments").len() == 1).then_some(()));
    std::thread::sleep(Duration::from_secs(15)); // their pods drain under load
    let tally = load.finish();
    none_failed(&tally);
    assert_eq!(tally.versions.keys().map(String::as_str).collect::<Vec<_>>(), ["v1", "v2"]);
}

#[test]
fn a_worse_model_loses_the_traffic_within_two_intervals() {
    let _cluster = shared();
    let namespace = Namespace::new("canary-worse");
    let load = under_load(&namespace, &json!({"maxReassigned": "0.05", "intervalSeconds": INTERVAL.as_secs()}));

    // Fewer clusters by another seed: many rows move.
    namespace.patch("digits", &json!({"spec": {"seed": 7, "algorithm": {"kMeans": {"clusters": 4}}}}));
    namespace.wait("digits", "the first step", |job| (canary(job)["state"] == "Paused").then_some(()));
    let start = Instant::now();
    let job = namespace
        .wait("digits", "CanaryRejected", |job| (condition(job, "Stalled").1 == "CanaryRejected").then(|| job.clone()));
    assert!(start.elapsed() < 2 * INTERVAL, "{:?}", start.elapsed());
    assert_eq!(job["status"]["serving"]["version"], "v1");
    assert_eq!(condition(&job, "Serving").0, "True");
    let conditions = job["status"]["conditions"].to_string();
    assert!(conditions.contains("above maxReassigned 0.05; model v1 stays in service"), "{conditions}");
    namespace.wait_for("the rejected replicas to end", || {
        let deployment = namespace.get("deployment", "digits-v2")?;
        (deployment["status"]["replicas"].as_i64().unwrap_or_default() == 0).then_some(())
    });
    let selector = namespace.get("service", "digits").unwrap()["spec"]["selector"].clone();
    assert_eq!(selector["coterie.dev/model-version"], "v1");
    std::thread::sleep(Duration::from_secs(15)); // their pods drain under load
    let tally = load.finish();
    none_failed(&tally);
    assert!(tally.versions.get("v2").is_some_and(|answers| *answers > 0), "{:?}", tally.versions);
    let events: String =
        namespace.list("events.events.k8s.io").iter().map(|event| format!("{} ", event["reason"])).collect();
    assert!(events.contains("CanaryRejected"), "{events}");
}
