//! What the operator may do is what it does, and no secret is where it should not be.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::cluster::{Namespace, SECRET, SYSTEM, check, condition, shared};
use crate::idle::records;

/// (group, resource, verb) of what the audit log shows.
fn used() -> BTreeSet<(String, String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    records(|record| record["objectRef"].is_object())
        .iter()
        .map(|record| {
            let object = &record["objectRef"];
            let resource = match object["subresource"].as_str() {
                Some(part) => format!("{}/{part}", text(&object["resource"])),
                None => text(&object["resource"]),
            };
            (text(&object["apiGroup"]), resource, text(&record["verb"]))
        })
        .collect()
}

/// (group, resource, verb) of what the chart's roles grant to the operator.
fn granted() -> BTreeSet<(String, String, String)> {
    let mut rules = Vec::new();
    for (kind, more) in [("clusterroles", vec![]), ("roles", vec!["-n", SYSTEM])] {
        let label = ["-l", "app.kubernetes.io/name=coterie,app.kubernetes.io/component=operator", "-o", "json"];
        let list: Value = serde_json::from_str(&check(&[&["get", kind][..], &more, &label].concat())).unwrap();
        // Roles that people get through aggregation are not the operator's.
        let aggregates = |role: &&Value| role["metadata"]["labels"].to_string().contains("aggregate-to-");
        for role in list["items"].as_array().unwrap().iter().filter(|role| !aggregates(role)) {
            rules.extend(role["rules"].as_array().into_iter().flatten().cloned());
        }
    }
    let strings = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let mut granted = BTreeSet::new();
    for rule in &rules {
        for group in strings(&rule["apiGroups"]) {
            for resource in strings(&rule["resources"]) {
                for verb in strings(&rule["verbs"]) {
                    granted.insert((group.clone(), resource.clone(), verb));
                }
            }
        }
    }
    granted
}

#[test]
fn the_operators_rights_are_those_it_uses() {
    let _cluster = shared();
    let namespace = Namespace::new("rights");
    // The rights of autoscaling, of replaced runs and of removed serving are used as well.
    let mut job = namespace.example("digits-cluster.yaml");
    job["spec"]["serving"]["autoscaling"] = serde_json::json!({"minReplicas": 1, "maxReplicas": 2});
    job["spec"]["history"] = serde_json::json!({"successfulRuns": 0, "failedRuns": 0});
    namespace.apply(&job);
    namespace.ready("digits");
    namespace.patch("digits", &serde_json::json!({"spec": {"retrainToken": "again"}}));
    namespace.ready("digits");
    namespace.patch("digits", &serde_json::json!({"spec": {"serving": null}}));
    namespace.ready("digits");
    names_of_others_are_left_alone(&namespace);
    namespace.wait_for("the first run to be cleaned up", || namespace.get("job", "digits-r1").is_none().then_some(()));
    namespace.wait_for("serving to be cleaned up", || namespace.list("deployments").is_empty().then_some(()));

    let (granted, used) = (granted(), used());
    assert!(granted.len() > 10, "the operator's roles were found: {granted:?}");
    for (_, resource, verb) in &granted {
        assert!(resource != "*" && verb != "*", "no wildcards");
        assert!(
            resource != "secrets" || ["create", "delete"].contains(&verb.as_str()),
            "secrets are never read: {verb}"
        );
    }
    // The API server checks this one itself when owner references are written, and only where that check is switched on.
    let implicit = ("coterie.dev".to_owned(), "clusteringjobs/finalizers".to_owned(), "update".to_owned());
    // A server-side apply of a new object needs `create` as well, but is one `patch` in the log.
    let by_apply = |(group, resource, verb): &(String, String, String)| {
        verb == "create" && used.contains(&(group.clone(), resource.clone(), "patch".to_owned()))
    };
    let unused: Vec<_> = granted.difference(&used).filter(|right| **right != implicit && !by_apply(right)).collect();
    assert!(unused.is_empty(), "granted and never used: {unused:#?}");
}

#[test]
fn no_secret_is_told() {
    let _cluster = shared();
    let namespace = Namespace::new("secrets");
    namespace.apply(&namespace.example("digits-cluster.yaml"));
    namespace.ready("digits");
    let label = ["-l", "coterie.dev/run=1", "-o", "json"];
    let keys: Value = serde_json::from_str(&namespace.kubectl(&[&["get", "secrets"][..], &label].concat())).unwrap();
    let encoded = keys["items"][0]["data"]["key.pem"].as_str().unwrap();
    let mut told = namespace.kubectl(&["get", "clusteringjobs,configmaps,events,pods,jobs,deployments", "-o", "yaml"]);
    for pod in namespace.list("pods") {
        told += &namespace.kubectl(&["logs", pod["metadata"]["name"].as_str().unwrap()]);
    }
    told += &check(&["logs", "-n", SYSTEM, "-l", "app.kubernetes.io/name=coterie", "--tail=-1"]);
    assert!(told.len() > 10_000);
    for secret in [SECRET, "BEGIN PRIVATE KEY", &encoded[..60]] {
        assert!(!told.contains(secret), "a secret is in status, events, logs or ConfigMaps");
    }
    // All pods passed the restricted standard, which the namespace enforces.
    let namespace = check(&["get", "namespace", &namespace.name, "-o", "json"]);
    assert!(namespace.contains("restricted"));
    let system = check(&["get", "pods", "-n", SYSTEM, "-o", "json"]);
    assert!(system.contains("RuntimeDefault"));
}

/// An object that somebody else made under a name that a job needs is refused, not taken over; once it is gone the job goes on.
fn names_of_others_are_left_alone(namespace: &Namespace) {
    let template = serde_json::json!({"spec": {
        "restartPolicy": "Never",
        "securityContext": {"runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [{
            "name": "other", "image": "localhost/coterie:dev", "args": ["--version"],
            "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
        }],
    }});
    let others = [
        serde_json::json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one-r1"}, "data": {"mine": "yes"}}),
        serde_json::json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "two-r1"}, "spec": {"template": template}}),
        serde_json::json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "three"}, "spec": {"ports": [{"port": 80}]}}),
    ];
    for (name, other) in ["one", "two", "three"].into_iter().zip(&others) {
        namespace.apply(other);
        let mut job = namespace.example("digits-cluster.yaml");
        job["metadata"]["name"] = name.into();
        job["spec"]["output"]["uri"] = format!("s3://models/{}/{name}/", namespace.name).into();
        namespace.apply(&job);
    }
    for (name, other) in ["one", "two", "three"].into_iter().zip(&others) {
        let job =
            namespace.wait(name, "Refused", |job| (condition(job, "Stalled").1 == "Refused").then(|| job.clone()));
        let kind = other["kind"].as_str().unwrap();
        let there = other["metadata"]["name"].as_str().unwrap();
        let found = namespace.get(kind, there).unwrap();
        assert!(found["metadata"]["ownerReferences"].is_null(), "{found:#}");
        assert!(job["status"]["conditions"].to_string().contains(&format!("{kind} {there}")), "{:#}", job["status"]);
        namespace.kubectl(&["delete", kind, there]);
    }
    for name in ["one", "two", "three"] {
        namespace.ready(name);
        namespace.kubectl(&["delete", "clusteringjob", name]);
    }
}
