//! A job with nothing to do causes no writes.

use std::time::Duration;

use serde_json::{Value, json};

use crate::cluster::{Namespace, check, folder, shared};

/// Audit records of the operator's writes in a namespace.
pub fn writes(namespace: &str) -> Vec<Value> {
    records(|record| {
        let verb = record["verb"].as_str().unwrap_or_default();
        record["objectRef"]["namespace"] == namespace && !["get", "list", "watch"].contains(&verb)
    })
}

/// Audit records of the operator that a filter lets through.
pub fn records(filter: impl Fn(&Value) -> bool) -> Vec<Value> {
    let log = std::fs::read_to_string(folder().join("logs/audit.log")).unwrap();
    let records = log.lines().filter(|line| line.contains("serviceaccount:coterie-system:"));
    records.filter_map(|line| serde_json::from_str(line).ok()).filter(filter).collect()
}

#[test]
fn an_idle_job_is_left_alone() {
    let _cluster = shared();
    let namespace = Namespace::new("idle");
    namespace.apply(&namespace.example("digits-cluster.yaml"));
    namespace.ready("digits");
    // Old replicas, leftovers and late watch events settle.
    std::thread::sleep(Duration::from_secs(20));
    let before = writes(&namespace.name).len();
    assert!(before > 5, "the audit log knows the operator: {before}");
    let version = |namespace: &Namespace| namespace.job("digits")["metadata"]["resourceVersion"].clone();
    let _ = version(&namespace);
    // Each change of an annotation is a reconcile round.
    for round in 0..20 {
        namespace.kubectl(&["annotate", "clusteringjob", "digits", "--overwrite", &format!("test/round={round}")]);
        std::thread::sleep(Duration::from_millis(500));
    }
    std::thread::sleep(Duration::from_secs(5));
    let after = writes(&namespace.name);
    let new: Vec<Value> = after[before..].iter().map(|record| json!([record["verb"], record["requestURI"]])).collect();
    assert!(new.is_empty(), "{new:#?}");
    let reconciled = check(&["get", "--raw", "/api/v1/namespaces/coterie-system/pods"]);
    assert!(reconciled.contains("coterie"));
}
