//! Serving replicas that die under load.

use serde_json::{Value, json};

use crate::cluster::{Namespace, processes, shared};
use crate::load::Load;
use crate::support::signal;

/// Requests a second.
const RATE: u32 = 500;

fn replicas(namespace: &Namespace) -> Vec<Value> {
    let mut pods = namespace.list("pods");
    pods.retain(|pod| pod["metadata"]["labels"]["app.kubernetes.io/component"] == "serving");
    pods
}

fn restarts(pod: &Value) -> i64 {
    pod["status"]["containerStatuses"][0]["restartCount"].as_i64().unwrap_or_default()
}

#[test]
fn a_killed_replica_costs_no_answer_to_those_who_ask_again() {
    let _cluster = shared();
    let namespace = Namespace::new("replicas");
    namespace.apply(&namespace.example("digits-cluster.yaml"));
    namespace.ready("digits");
    let body = json!({ "vector": vec![1.0; 64] }).to_string();
    let load = Load::sending_again(&namespace.address("digits"), RATE, &body);
    std::thread::sleep(std::time::Duration::from_secs(3));

    for pod in replicas(&namespace) {
        let name = pod["metadata"]["name"].as_str().unwrap();
        let victims = processes(&pod, "serve");
        assert!(!victims.is_empty(), "no process of {name} was found");
        victims.iter().for_each(|pid| signal(*pid, "KILL"));
        namespace.wait_for(&format!("{name} to start again and be ready"), || {
            let pod = namespace.get("pod", name)?;
            let ready = pod["status"]["containerStatuses"][0]["ready"] == true;
            (restarts(&pod) > 0 && ready).then_some(())
        });
    }
    std::thread::sleep(std::time::Duration::from_secs(3));
    let tally = load.finish();
    let first = &tally.failures[..tally.failures.len().min(10)];
    assert!(tally.failures.is_empty(), "{} of {} failed: {first:#?}", tally.failures.len(), tally.answered);
    assert!(tally.sent_again > 0, "nobody noticed that replicas died: {tally:?}");
    assert_eq!(tally.versions.keys().map(String::as_str).collect::<Vec<_>>(), ["v1"]);
}
