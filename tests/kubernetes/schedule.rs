//! Runs by the clock, suspension and resumption, on the real clock.

use serde_json::{Value, json};

use crate::cluster::{Namespace, blobs, condition, long_job, shared};

fn run(job: &Value) -> i64 {
    job["status"]["run"]["number"].as_i64().unwrap_or_default()
}

fn state(job: &Value, run: &str) -> Option<String> {
    let history = job["status"]["history"].as_array()?;
    Some(history.iter().find(|entry| entry["name"] == run)?["state"].as_str()?.to_owned())
}

/// A job that is trained every minute, by runs that take longer than a minute.
fn minutely(namespace: &Namespace, name: &str, policy: &str) {
    blobs();
    let mut job = long_job(namespace, name, 100_000);
    job["spec"]["algorithm"]["kMeans"]["restarts"] = json!(100);
    job["spec"]["workers"] = json!({"replicas": 1, "resources": {"cpu": "50m", "memory": "192Mi"}});
    job["spec"]["schedule"] = json!({"cron": "* * * * *", "concurrencyPolicy": policy});
    namespace.apply(&job);
}

#[test]
fn policies_behave_as_those_of_a_cron_job() {
    let _cluster = shared();
    let namespace = Namespace::new("schedule");
    for (name, policy) in [("forbids", "Forbid"), ("replaces", "Replace"), ("allows", "Allow")] {
        minutely(&namespace, name, policy);
    }
    let replaced = namespace.wait("replaces", "the second run", |job| (run(job) >= 2).then(|| job.clone()));
    assert_eq!(state(&replaced, "replaces-r1").as_deref(), Some("Cancelled"));
    assert!(replaced["status"]["lastScheduleTime"].is_string());
    let allowed = namespace.wait("allows", "the second run", |job| (run(job) >= 2).then(|| job.clone()));
    assert_eq!(state(&allowed, "allows-r1"), None, "it goes on");
    namespace.wait_for("both runs of allows to have pods", || {
        let active =
            namespace.list("jobs").into_iter().filter(|job| job["metadata"]["labels"]["coterie.dev/job"] == "allows");
        (active.filter(|job| job["status"]["active"].as_i64() > Some(0)).count() >= 2).then_some(())
    });
    let forbidden = namespace.job("forbids");
    assert_eq!(run(&forbidden), 1, "the next run waits for the end of the first");
    assert!(forbidden["status"]["nextScheduleTime"].is_string());
}

#[test]
fn a_suspended_run_goes_on_from_its_checkpoint() {
    let _cluster = shared();
    blobs();
    let namespace = Namespace::new("suspend");
    namespace.apply(&long_job(&namespace, "blobs", 400));
    namespace.wait("blobs", "some passes", |job| (job["status"]["run"]["iteration"].as_i64() > Some(5)).then_some(()));
    namespace.patch("blobs", &json!({"spec": {"suspend": true}}));
    let before = namespace.wait("blobs", "Suspended", |job| {
        let held = condition(job, "Suspended").0 == "True" && job["status"]["run"]["state"] == "Suspended";
        held.then(|| job["status"]["run"]["iteration"].as_i64().unwrap())
    });
    namespace.wait_for("the pods to end", || namespace.list("pods").is_empty().then_some(()));
    namespace.patch("blobs", &json!({"spec": {"suspend": false}}));
    namespace.wait("blobs", "to go on", |job| {
        let now = job["status"]["run"]["iteration"].as_i64()?;
        let running = job["status"]["run"]["state"] == "Running";
        assert!(!running || now + 1 >= before, "went back from pass {before} to {now}");
        (running && now > before).then_some(())
    });
    let job = namespace.ready("blobs");
    assert_eq!(run(&job), 1);
}
