//! `coterie bench-serve` tells what a server did, and fails when requests did.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod support;

use std::{
    io::{Read, Write},
    net::TcpListener,
    path::Path,
    process::Output,
};

use serde_json::{Value, json};
use support::{Job, free_port, input, serve::Served};
use tempfile::TempDir;

/// A served model of 64 columns.
fn digits() -> (TempDir, Served) {
    let directory = support::directory();
    let output = directory.path().join("out");
    Job::digits().run(&["--quiet", "--output", output.to_str().unwrap()]);
    let served = Served::start(support::coterie().args(["serve", "--model", output.to_str().unwrap()]));
    (directory, served)
}

fn bench(arguments: &[&str]) -> Output {
    support::output(support::coterie().arg("bench-serve").args(arguments))
}

/// The report of a measurement that must succeed.
fn report(directory: &Path, arguments: &[&str]) -> Value {
    let file = directory.join("report.json");
    let output = bench(&[arguments, &["--json", file.to_str().unwrap()]].concat());
    assert!(output.status.success(), "{arguments:?}: {}", support::stderr(&output));
    assert!(String::from_utf8_lossy(&output.stdout).contains("p99.9"), "{output:?}");
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}

fn address(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

#[test]
fn every_request_is_answered_and_counted() {
    let (directory, served) = digits();
    let (rest, grpc) = (address(served.http), address(served.grpc));
    let open = ["--rate", "200", "--duration", "1s"];
    for (server, protocol) in [(["--url", rest.as_str()], "REST"), (["--grpc", grpc.as_str()], "gRPC")] {
        for (query, batch) in [("assign", "1"), ("assign", "7"), ("nearest", "1")] {
            let asked = ["--query", query, "--batch", batch];
            let report = report(directory.path(), &[&server[..], &open, &asked].concat());
            assert_eq!(report["protocol"], protocol);
            let model = json!({"name": "digits", "version": "v1", "dimension": 64, "clusters": 10});
            assert_eq!(report["model"], model);
            assert_eq!(report["mode"]["open"]["rate"], json!(200.0), "{report}");
            assert_eq!(
                (&report["sent"], &report["answered"], &report["failed"]),
                (&json!(200), &json!(200), &json!(0))
            );
            assert_eq!(report["versions"], json!({"v1": 200}));
            assert_eq!(report["failures"], json!({}));
            let figure = |path: &str| {
                report.pointer(path).and_then(Value::as_f64).unwrap_or_else(|| panic!("{path} in {report}"))
            };
            let seconds = figure("/seconds");
            // The last is due at 995 ms.
            assert!(seconds > 0.99, "{report}");
            assert!((figure("/achievedRate") * seconds - 200.0).abs() < 1e-6, "{report}");
            let rows = batch.parse::<f64>().unwrap();
            assert!((figure("/rowsPerSecond") - rows * figure("/achievedRate")).abs() < 1e-6, "{report}");
            let quantiles =
                ["p50", "p90", "p95", "p99", "p99.9", "max"].map(|name| figure(&format!("/latency/{name}")));
            assert!(quantiles[0] > 0.0 && quantiles.is_sorted(), "{report}");
            assert!(figure("/service/max") <= figure("/latency/max"), "{report}");
            assert!(figure("/bytesSent") > 200.0 * rows * 64.0 && figure("/bytesReceived") > 0.0, "{report}");
        }
    }
    // The server has counted the same.
    let (_, metrics) = support::serve::request(served.http, "GET", "/metrics", None).unwrap();
    for line in [
        r#"coterie_serving_requests_total{protocol="http",endpoint="assign",code="200"} 400"#,
        r#"coterie_serving_requests_total{protocol="grpc",endpoint="assign_batch",code="OK"} 200"#,
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
}

#[test]
fn closed_loops_and_saturation_are_told() {
    let (directory, served) = digits();
    let grpc = address(served.grpc);
    let digits = support::root().join("examples/data/digits.parquet");
    let rows = ["--rows", digits.to_str().unwrap(), "--vector", "pixels"];
    let closed = ["--grpc", &grpc, "--concurrency", "3", "--batch", "50", "--duration", "500ms"];
    let report = report(directory.path(), &[&closed[..], &rows].concat());
    assert_eq!(report["mode"], json!({"closed": {"concurrency": 3}}));
    assert!(report["answered"].as_u64().unwrap() >= 3, "{report}");
    assert_eq!(report["sent"], report["answered"]);

    // No rate can be held within no time at all; a generous bound holds the first.
    let rest = address(served.http);
    let saturate = ["--url", &rest, "--saturate", "--duration", "50ms", "--rate", "1.5"];
    let output = bench(&[&saturate[..], &["--bound", "0s"]].concat());
    assert_eq!(output.status.code(), Some(75));
    assert!(support::stderr(&output).contains("no rate was held"), "{output:?}");
}

#[test]
fn what_cannot_be_measured_is_said() {
    let (directory, served) = digits();
    let (rest, grpc, dead) = (address(served.http), address(served.grpc), address(free_port()));
    let narrow = directory.path().join("narrow.parquet");
    input::parquet(&narrow, 0, &input::blobs(20, 3, 2), 10);
    let narrow = ["--rows", narrow.to_str().unwrap(), "--vector", "vector"];
    for (arguments, code, words) in [
        (vec!["--url", &dead], 75, vec![dead.as_str(), "refused"]),
        (vec!["--grpc", &dead], 75, vec![dead.as_str(), "refused"]),
        ([&["--url", &rest][..], &narrow].concat(), 65, vec!["3 columns", "digits v1", "64"]),
        ([&["--grpc", &grpc][..], &narrow].concat(), 65, vec!["3 columns", "digits v1", "64"]),
        // REST on the port of gRPC, and the other way round.
        (vec!["--url", &grpc], 75, vec!["REST"]),
        (vec!["--grpc", &rest], 75, vec!["gRPC"]),
        (vec!["--url", "127.0.0.1:80"], 64, vec!["http://HOST:PORT"]),
        (vec!["--url", &rest, "--query", "nearest", "--batch", "2"], 64, vec!["--query assign"]),
        (vec!["--url", &rest, "--rate", "0"], 64, vec!["not a rate"]),
        (vec!["--url", &rest, "--rate", "5", "--concurrency", "1"], 64, vec!["cannot be used"]),
        (vec![], 64, vec!["--url"]),
        // The model keeps no items.
        (vec!["--url", &rest, "--query", "similar", "--duration", "50ms"], 75, vec!["50 of 50 requests failed"]),
    ] {
        let output = bench(&arguments);
        let message = support::stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {message}");
        for word in words {
            assert!(message.contains(word), "{word:?} in {message}");
        }
    }
    let output = bench(&["--grpc", &grpc, "--query", "similar", "--duration", "50ms"]);
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(table.contains("UNIMPLEMENTED") && table.contains("50"), "{table}");
}

/// Answers slowly, one connection at a time, `count` requests in all, each with a version of its own.
fn slow_server(count: usize) -> (u16, std::thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let model = r#"{"name":"slow","modelVersion":"v1","inputDimension":2,"clusters":1}"#;
    let server = std::thread::spawn(move || {
        let mut answered = 0;
        while answered < count {
            let (mut stream, _) = listener.accept().unwrap();
            let mut buffer = [0; 4096];
            loop {
                let read = stream.read(&mut buffer).unwrap_or(0);
                if read == 0 {
                    break;
                }
                let asked = String::from_utf8_lossy(&buffer[..read]).into_owned();
                if !asked.starts_with("GET ") && !asked.starts_with("POST ") {
                    continue;
                }
                let body = if asked.starts_with("GET /v1/model") {
                    model.to_owned()
                } else {
                    std::thread::sleep(std::time::Duration::from_millis(20));
                    answered += 1;
                    format!(r#"{{"modelVersion":"v{answered}","assignments":[]}}"#)
                };
                let length = body.len();
                write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}").unwrap();
            }
        }
    });
    (port, server)
}

/// A server that takes 20 ms for a request is asked every 10 ms, so the k-th request waits 10 k ms for its turn: a generator that
/// counted from when it sends would not see that.
#[test]
fn waiting_for_a_slow_server_is_latency() {
    let directory = support::directory();
    let (port, server) = slow_server(30);
    let url = address(port);
    let arguments = ["--url", &url, "--connections", "1", "--rate", "100", "--duration", "300ms"];
    let report = report(directory.path(), &arguments);
    server.join().unwrap();
    assert_eq!(report["answered"], json!(30));
    assert_eq!(report["versions"].as_object().unwrap().len(), 30);
    let figure = |path: &str| report.pointer(path).and_then(Value::as_f64).unwrap();
    assert!(figure("/latency/max") >= 300.0, "{report}");
    assert!(figure("/latency/p50") >= 150.0, "{report}");
    assert!(figure("/latency/max") - figure("/service/max") >= 200.0, "{report}");
    assert!(figure("/achievedRate") <= 51.0, "{report}");
}
