//! Changes of the spec: which of them train again, and how traffic moves without a failed request.

use serde_json::{Value, json};

use crate::cluster::{Namespace, condition, shared};
use crate::load::Load;

fn version(job: &Value) -> String {
    job["status"]["serving"]["version"].as_str().unwrap_or_default().to_owned()
}

fn run(job: &Value) -> i64 {
    job["status"]["run"]["number"].as_i64().unwrap_or_default()
}

#[test]
fn traffic_moves_to_a_new_model_without_a_failed_request() {
    let _cluster = shared();
    let namespace = Namespace::new("retrain");
    namespace.apply(&namespace.example("digits-cluster.yaml"));
    let first = namespace.ready("digits");
    assert_eq!((version(&first).as_str(), run(&first)), ("v1", 1));

    let body = json!({ "vector": vec![1.0; 64] }).to_string();
    let load = Load::start(&namespace.address("digits"), 500, &body);

    // Fewer replicas: no run.
    namespace.patch("digits", &json!({"spec": {"serving": {"replicas": 1}}}));
    let job = namespace.ready("digits");
    assert_eq!(run(&job), 1);
    namespace.patch("digits", &json!({"spec": {"serving": {"replicas": 2}}}));
    namespace.ready("digits");

    // Another number of clusters, then a token: two runs.
    namespace.patch("digits", &json!({"spec": {"algorithm": {"kMeans": {"clusters": 12}}}}));
    let second = namespace.ready("digits");
    assert_eq!((version(&second).as_str(), run(&second)), ("v2", 2));
    assert_ne!(second["status"]["model"]["digest"], first["status"]["model"]["digest"]);
    namespace.patch("digits", &json!({"spec": {"retrainToken": "again"}}));
    let third = namespace.ready("digits");
    assert_eq!((version(&third).as_str(), run(&third)), ("v3", 3));
    assert_eq!(third["status"]["model"]["digest"], second["status"]["model"]["digest"]);

    // A bad spec stalls the job, the model stays, and a revert recovers.
    namespace.patch("digits", &json!({"spec": {"source": {"uri": "s3://vectors/nothing-here/"}}}));
    let job = namespace.wait("digits", "Stalled", |job| (condition(job, "Stalled").0 == "True").then(|| job.clone()));
    assert_eq!(condition(&job, "Stalled").1, "RunFailed", "{:#}", job["status"]);
    assert_eq!(condition(&job, "Serving").0, "True");
    namespace.patch("digits", &json!({"spec": {"source": {"uri": "s3://vectors/digits/"}}}));
    let job = namespace.ready("digits");
    assert_eq!(version(&job), "v3");

    // The versions that are not served any more are gone.
    namespace.wait_for("old replicas to end", || {
        let deployments = namespace.list("deployments");
        (deployments.len() == 1).then_some(())
    });
    std::thread::sleep(std::time::Duration::from_secs(15)); // their pods drain under load
    let tally = load.finish();
    assert!(
        tally.failures.is_empty(),
        "{} of {} failed: {:#?}",
        tally.failures.len(),
        tally.answered,
        &tally.failures[..tally.failures.len().min(10)]
    );
    assert!(tally.answered > 2000, "{tally:?}");
    assert_eq!(tally.versions.keys().map(String::as_str).collect::<Vec<_>>(), ["v1", "v2", "v3"]);
}

#[test]
fn a_model_that_misses_a_gate_is_not_rolled_out() {
    let _cluster = shared();
    let namespace = Namespace::new("gates");
    namespace.apply(&namespace.example("digits-cluster.yaml"));
    namespace.ready("digits");
    namespace.patch(
        "digits",
        &json!({"spec": {"algorithm": {"kMeans": {"clusters": 3}}, "evaluation": {"gates": {"minAri": "0.6"}}}}),
    );
    let job = namespace
        .wait("digits", "GateFailed", |job| (condition(job, "Stalled").1 == "GateFailed").then(|| job.clone()));
    assert_eq!(version(&job), "v1");
    let message = job["status"]["conditions"].to_string();
    assert!(message.contains("the adjusted Rand index is 0.") && message.contains("below minAri 0.6"), "{message}");
    namespace.patch("digits", &json!({"spec": {"evaluation": {"gates": {"minAri": "0.1"}}}}));
    let job = namespace.ready("digits");
    assert_eq!((version(&job).as_str(), run(&job)), ("v2", 2));
}

#[test]
fn replicas_that_cannot_load_leave_the_model_before_in_service() {
    let _cluster = shared();
    let namespace = Namespace::new("rollout");
    let mut manifest = namespace.example("digits-cluster.yaml");
    manifest["spec"]["serving"]["progressDeadlineSeconds"] = json!(20);
    namespace.apply(&manifest);
    namespace.ready("digits");
    let body = json!({ "vector": vec![1.0; 64] }).to_string();
    let load = Load::start(&namespace.address("digits"), 50, &body);
    // The new replicas ask for more than any node has.
    namespace.patch(
        "digits",
        &json!({"spec": {"algorithm": {"kMeans": {"clusters": 11}}, "serving": {"resources": {"cpu": "500"}}}}),
    );
    let job = namespace
        .wait("digits", "RolloutFailed", |job| (condition(job, "Stalled").1 == "RolloutFailed").then(|| job.clone()));
    assert_eq!((version(&job).as_str(), condition(&job, "Serving").0.as_str()), ("v1", "True"));
    namespace.patch("digits", &json!({"spec": {"serving": {"resources": {"cpu": "100m"}}}}));
    assert_eq!(version(&namespace.ready("digits")), "v2");
    let tally = load.finish();
    assert!(tally.failures.is_empty(), "{:#?}", tally.failures);
}
