//! Clients that others made work with a served model as they are: tritonclient over HTTP and gRPC, grpcurl by reflection, curl,
//! and a Python client generated from the OpenAPI document.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod support;

use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};
use support::{Job, clients, serve::Served};
use tempfile::TempDir;

/// A model of the digits, served, and what our own API says about some vectors.
struct World {
    served: Served,
    directory: TempDir,
    /// A file with vectors and the answers expected.
    expected: PathBuf,
    /// The same.
    answers: Value,
}

impl World {
    fn start() -> Self {
        let directory = support::directory();
        let output = directory.path().join("out");
        Job::digits().run(&["--quiet", "--output", output.to_str().unwrap()]);
        let served = Served::start(support::coterie().args(["serve", "--model", output.to_str().unwrap()]));
        // Vectors of no particular kind within the pixels' range.
        let rows: Vec<Vec<f32>> = (0..40)
            .map(|row| (0..64).map(|column| ((row * 7 + column * column * 3) % 17) as f32 * 0.97).collect())
            .collect();
        let (code, ours) = served.post("/v1/assign", &json!({ "vectors": rows }).to_string());
        assert_eq!(code, 200, "{ours}");
        let column = |name: &str| -> Vec<Value> {
            ours["assignments"].as_array().unwrap().iter().map(|found| found[name].clone()).collect()
        };
        let neighbors = |row: &Vec<f32>| -> Vec<Value> {
            let (_, near) = served.post("/v1/nearest-clusters", &json!({"vector": row, "count": 3}).to_string());
            near["clusters"].as_array().unwrap().iter().map(|found| found["cluster"].clone()).collect()
        };
        let model = served.get("/v1/model");
        let answers = json!({
            "model": model["name"],
            "version": model["modelVersion"],
            "rows": rows,
            "cluster_id": column("cluster"),
            "distance": column("distance"),
            "margin": column("margin"),
            "neighbor_ids": rows.iter().map(neighbors).collect::<Vec<_>>(),
        });
        let expected = directory.path().join("expected.json");
        std::fs::write(&expected, answers.to_string()).unwrap();
        Self { served, directory, expected, answers }
    }

    fn http(&self) -> String {
        format!("127.0.0.1:{}", self.served.http)
    }

    fn grpc(&self) -> String {
        format!("127.0.0.1:{}", self.served.grpc)
    }

    /// Runs a script of the folder `clients`.
    fn script(&self, name: &str, arguments: &[&str]) {
        let script = support::root().join("tests/clients").join(name);
        let mut command = Command::new(clients::python().join("python"));
        clients::run(command.arg(script).args(arguments).arg(&self.expected).current_dir(self.directory.path()));
    }

    /// What the first row's answer must be in the Open Inference Protocol.
    fn first(&self) -> [&Value; 3] {
        ["cluster_id", "distance", "margin"].map(|name| &self.answers[name][0])
    }
}

#[test]
fn tritonclient_over_http_and_grpc() {
    let world = World::start();
    world.script("triton.py", &["http", &world.http()]);
    world.script("triton.py", &["grpc", &world.grpc()]);
}

#[test]
fn a_client_generated_from_the_openapi_document() {
    let world = World::start();
    let generator = clients::python().join("openapi-python-client");
    let url = format!("http://{}/openapi.json", world.http());
    let arguments = ["generate", "--url", &url, "--meta", "none", "--output-path", "client"];
    clients::run(Command::new(generator).args(arguments).current_dir(world.directory.path()));
    world.script("generated.py", &[&format!("http://{}", world.http())]);
}

#[test]
fn grpcurl_by_reflection() {
    let world = World::start();
    let run = |arguments: &[&str]| clients::run(Command::new(clients::grpcurl()).arg("-plaintext").args(arguments));
    let address = world.grpc();
    let listed = run(&[&address, "list"]);
    for service in ["coterie.v1.Query", "grpc.health.v1.Health", "inference.GRPCInferenceService"] {
        assert!(listed.lines().any(|line| line == service), "{listed}");
    }
    assert!(!listed.contains("internal"), "{listed}");
    let described = run(&[&address, "describe", "coterie.v1.AssignRequest"]);
    assert!(described.contains("repeated float vector = 1;"), "{described}");

    let call = |method: &str, data: Value| -> Value {
        serde_json::from_str(&run(&["-d", &data.to_string(), &address, method])).unwrap()
    };
    assert_eq!(call("grpc.health.v1.Health/Check", json!({}))["status"], "SERVING");
    let row = &world.answers["rows"][0];
    let [cluster, distance, margin] = world.first();
    let ours = call("coterie.v1.Query/Assign", json!({ "vector": row }));
    assert_eq!(ours["modelVersion"], world.answers["version"]);
    assert_eq!((&ours["assignment"]["distance"], &ours["assignment"]["margin"]), (distance, margin));
    let request = json!({
        "model_name": world.answers["model"], "id": "7", "parameters": {"neighbors": {"int64_param": 3}},
        "inputs": [{"name": "vectors", "datatype": "FP32", "shape": [1, 64], "contents": {"fp32_contents": row}}],
    });
    let reply = call("inference.GRPCInferenceService/ModelInfer", request);
    assert_eq!((&reply["id"], &reply["modelVersion"]), (&json!("7"), &world.answers["version"]));
    assert_eq!(reply["outputs"][0]["contents"]["intContents"], json!([cluster]));
    assert_eq!(reply["outputs"][1]["contents"]["fp32Contents"], json!([distance]));
    assert_eq!(reply["outputs"][2]["contents"]["fp32Contents"], json!([margin]));
    assert_eq!(reply["outputs"][3]["contents"]["intContents"], world.answers["neighbor_ids"][0]);
}

#[test]
fn curl() {
    let world = World::start();
    let curl = |arguments: &[&str], path: &str| {
        let url = format!("http://{}{path}", world.http());
        let text = clients::run(Command::new("curl").args(["--silent", "--show-error"]).args(arguments).arg(url));
        serde_json::from_str::<Value>(&text).unwrap()
    };
    assert_eq!(curl(&["--fail"], "/v2/health/ready")["ready"], true);
    assert_eq!(curl(&["--fail"], "/v2")["name"], "coterie");
    let model = format!("/v2/models/{}", world.answers["model"].as_str().unwrap());
    assert_eq!(curl(&["--fail"], &model)["inputs"][0]["shape"], json!([-1, 64]));
    let row = &world.answers["rows"][0];
    let request =
        json!({"id": "7", "inputs": [{"name": "vectors", "datatype": "FP32", "shape": [1, 64], "data": row}]});
    let reply = curl(&["--fail", "--data", &request.to_string()], &format!("{model}/infer"));
    assert_eq!((&reply["id"], &reply["model_version"]), (&json!("7"), &world.answers["version"]));
    for (output, expected) in reply["outputs"].as_array().unwrap().iter().zip(world.first()) {
        assert_eq!(output["data"], json!([expected]));
    }
    let ours = curl(&["--fail", "--data", &json!({ "vector": row }).to_string()], "/v1/assign");
    assert_eq!(&ours["assignments"][0]["cluster"], world.first()[0]);
    let refused = curl(&["--data", "{}"], &format!("{model}/infer"));
    assert!(refused["error"].as_str().unwrap().contains("inputs"), "{refused}");
}
