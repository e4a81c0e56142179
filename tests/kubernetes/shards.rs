//! Similar items divided over shards: whichever pod is asked, the answer is that of all items.

use serde_json::{Value, json};

use crate::cluster::{Namespace, request, shared};

/// Answers to questions about some items, through the Service.
fn answers(namespace: &Namespace) -> Vec<Value> {
    let address = namespace.address("digits");
    let ask = |row: u32| {
        let question = json!({"id": row, "count": 20, "method": "Exact"}).to_string();
        let (code, text) = request(&address, "POST", "/v1/similar-items", &question).unwrap();
        assert_eq!(code, 200, "{row}: {text}");
        serde_json::from_str::<Value>(&text).unwrap()["items"].clone()
    };
    // Often enough that pods of every shard are asked.
    (0..1_797).step_by(29).map(ask).collect()
}

fn serving_pods(namespace: &Namespace) -> Vec<String> {
    let pods = namespace.list("pods").into_iter();
    let shard = |pod: Value| pod["metadata"]["labels"]["coterie.dev/shard"].as_str().map(str::to_owned);
    pods.filter_map(shard).collect()
}

#[test]
fn shards_answer_as_one_and_come_and_go_together() {
    let _cluster = shared();
    let namespace = Namespace::new("shards");
    let mut manifest = namespace.example("digits-cluster.yaml");
    manifest["spec"]["serving"]["similarItems"] = json!(true);
    namespace.apply(&manifest);
    namespace.ready("digits");
    let whole = answers(&namespace);

    namespace.patch("digits", &json!({"spec": {"serving": {"shards": 2}}}));
    let job = namespace.wait("digits", "pods of both shards", |job| {
        let shards = serving_pods(&namespace);
        let both = ["0", "1"].iter().all(|number| shards.iter().any(|shard| shard == number));
        let ready = job["status"]["observedGeneration"] == job["metadata"]["generation"]
            && job["status"]["serving"]["candidateVersion"].is_null();
        (both && ready).then(|| job.clone())
    });
    assert_eq!(job["status"]["serving"]["version"], "v1");
    assert_eq!(answers(&namespace), whole);
    namespace.wait_for("the pods without shards to be gone", || {
        let labels = |pod: &Value| pod["metadata"]["labels"].clone();
        let serving = |labels: &Value| labels["app.kubernetes.io/component"] == "serving";
        let pods: Vec<Value> = namespace.list("pods").iter().map(labels).filter(serving).collect();
        pods.iter().all(|labels| labels["coterie.dev/shard"].is_string()).then_some(())
    });
    assert_eq!(answers(&namespace), whole);
}
