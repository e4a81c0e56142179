//! Nonsense of every kind gets a proper refusal; the server goes on.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use coterie_model::items::Options;
use coterie_protocol::inference::grpc_inference_service_client::GrpcInferenceServiceClient;
use coterie_protocol::inference::infer_parameter::ParameterChoice;
use coterie_protocol::inference::model_infer_request::{InferInputTensor, InferRequestedOutputTensor};
use coterie_protocol::inference::{InferParameter, InferTensorContents, ModelInferRequest};
use coterie_protocol::query::{
    AssignBatchRequest, AssignRequest, NearestClustersRequest, Set, SimilarItemsRequest, Vectors,
};
use coterie_serving::Settings;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use support::client::{self, Reply};
use support::edits::edited;
use support::items::with_items;
use support::{Running, models, start, start_served};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tonic::Code;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

async fn songs_with_items() -> Running {
    let options = Options { recall: 0.9, tables: true, ..Options::default() };
    let served = with_items(models::songs(), &[0.0, 0.0, 0.5, 0.0, 3.0, 1.0, 0.0, -4.0], options).await;
    start_served(served, Settings::default()).await
}

fn check(cases: u32, server: &Running, runtime: &Runtime, test: impl Fn(&mut TestRunner)) {
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    test(&mut runner);
    // Whatever came before, the next question is answered.
    runtime.block_on(async {
        server.get("/healthz/live").await.ok();
        let reply = server.post("/v1/assign", r#"{"vector": [100, 0]}"#).await.ok();
        assert_eq!(reply["assignments"][0]["cluster"], 0);
        assert_eq!(
            server.metric("coterie_serving_requests_total{protocol=\"http\",endpoint=\"assign\",code=\"500\"}").await,
            None
        );
        assert_eq!(server.metric("coterie_serving_requests_in_flight").await, Some(1.0), "only the scrape");
    });
}

/// A request whose values lie in eight bytes behind it.
const BINARY: &str = r#"{"inputs": [{"name": "vectors", "datatype": "FP32", "shape": [1, 2], "parameters": {"binary_data_size": 8}}], "parameters": {"neighbors": 2, "binary_data_output": true}}"#;

const INFER: &str = "/v2/models/songs/infer";

/// Sends a request with values behind the JSON.
async fn infer_binary(server: &Running, length: String, body: Vec<u8>) -> Reply {
    client::send_with(server.http, "POST", INFER, &[("inference-header-content-length", length)], body).await
}

/// JSON that is nearly right: pieces of good requests, put together at random.
fn nearly_json() -> impl Strategy<Value = Vec<u8>> {
    let good = prop::sample::select(vec![
        r#"{"vector": [100.5, -3], "modelVersion": "v3"}"#,
        r#"{"vectors": [[1, 2], [3e2, 4.25]]}"#,
        r#"{"vector": [1, 2], "count": 2}"#,
        r#"{"vectors": [[0, -0.0], [1e-40, 5]], "modelVersion": ""}"#,
        r#"{"vector": [1, 2], "count": 2, "cluster": 1, "method": "Exact"}"#,
        r#"{"id": 101, "count": 3, "method": "Tables"}"#,
        r#"{"set": [0, 1, 1], "count": 2}"#,
        r#"{"sets": [["a", "b"], []]}"#,
        r#"{"inputs": [{"name": "vectors", "datatype": "FP32", "shape": [2, 2], "data": [1, 2, 3, 4]}], "id": "a"}"#,
        r#"{"inputs": [{"name": "vectors", "datatype": "FP32", "shape": [1, 2], "data": [[1, 2]]}], "outputs": [{"name": "margin"}]}"#,
        BINARY,
    ]);
    let pieces = prop::sample::select(vec![
        "[",
        "]",
        "{",
        "}",
        ",",
        ":",
        "null",
        "true",
        "1e400",
        "-1e39",
        "NaN",
        "\"",
        "\\u0000",
        "\u{feff}",
        "[]",
        "{}",
        "\"vector\":",
        "\"vectors\":",
        "\"set\":",
        "9999999999999999999999",
        "-",
        ".",
        "1",
        "\"count\":-1,",
        " ",
        "\n",
        "\0",
    ]);
    edited(good, pieces, 1..4)
}

/// An answer, or a refusal that says why.
fn proper(reply: &Reply) -> Result<(), TestCaseError> {
    prop_assert!(reply.status.as_u16() == 200 || reply.status.is_client_error(), "{:?}", reply);
    prop_assert!(reply.status == 200 || !reply.error().is_empty(), "{:?}", reply);
    Ok(())
}

#[test]
fn rest_bodies() {
    let runtime = runtime();
    let server = runtime.block_on(songs_with_items());
    let bodies = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..300),
        "\\PC{0,200}".prop_map(String::into_bytes),
        nearly_json(),
        nearly_json(),
    ];
    let paths = prop::sample::select(vec![
        "/v1/assign",
        "/v1/nearest-clusters",
        "/v1/similar-items",
        "/v1/similar-items",
        "/v1/clusters",
        "/v1/clusters/1",
        "/v1/model",
        INFER,
        "/v2/models/songs/versions/v3/infer",
        "/healthz/ready",
        "/metrics",
        "/other",
    ]);
    check(1_500, &server, &runtime, |runner| {
        runner
            .run(&(paths.clone(), &bodies), |(path, body)| {
                let reply = runtime.block_on(server.post(path, body));
                proper(&reply)
            })
            .unwrap();
    });
}

#[test]
fn bytes_behind_json() {
    let runtime = runtime();
    let server = runtime.block_on(start(models::songs()));
    let json = prop_oneof![Just(BINARY.as_bytes().to_vec()), nearly_json()];
    let slip = prop_oneof![Just(0i64), -9i64..9, any::<i64>()];
    let inputs = (json, slip, prop::collection::vec(any::<u8>(), 0..20));
    check(1_500, &server, &runtime, |runner| {
        runner
            .run(&inputs, |(json, slip, tail)| {
                let length = (json.len() as i64).saturating_add(slip).to_string();
                let reply = runtime.block_on(infer_binary(&server, length, [json, tail].concat()));
                proper(&reply)
            })
            .unwrap();
    });
}

/// Nothing that is wrong for certain is taken for right.
#[test]
fn inference_requests_with_one_fault() {
    let runtime = runtime();
    let server = runtime.block_on(start(models::songs()));
    let good = json!({
        "id": "1", "parameters": {"neighbors": 1, "binary_data_output": false},
        "inputs": [{"name": "vectors", "datatype": "FP32", "shape": [2, 2], "data": [1, 2, 3, 4]}],
        "outputs": [{"name": "margin", "parameters": {"binary_data": false}}],
    });
    let text = good.to_string();
    // Every beginning of it, and it with a wrong value at each of its places.
    let mut bodies: Vec<String> = (0..text.len()).map(|end| text[..end].to_owned()).collect();
    let wrong = [json!(true), json!(-1), json!(1.5), json!("x"), json!([]), json!([[[1]]]), json!({"x": 1})];
    let places = [
        "/id",
        "/parameters",
        "/parameters/neighbors",
        "/parameters/binary_data_output",
        "/inputs",
        "/inputs/0",
        "/inputs/0/name",
        "/inputs/0/datatype",
        "/inputs/0/shape",
        "/inputs/0/shape/0",
        "/inputs/0/shape/1",
        "/inputs/0/data",
        "/inputs/0/data/0",
        "/outputs",
        "/outputs/0",
        "/outputs/0/name",
        "/outputs/0/parameters",
        "/outputs/0/parameters/binary_data",
    ];
    // Some of these are right in some places.
    let right = |place: &str, value: &Value| match place {
        "/id" => value == "x",
        "/parameters" | "/outputs/0/parameters" => value.is_object(),
        "/parameters/binary_data_output" | "/outputs/0/parameters/binary_data" => value == true,
        "/inputs/0/data/0" => value.is_number(),
        "/outputs" => value == &json!([]),
        _ => false,
    };
    for place in places {
        for value in wrong.iter().filter(|value| !right(place, value)) {
            let mut body = good.clone();
            *body.pointer_mut(place).unwrap() = value.clone();
            bodies.push(body.to_string());
        }
    }
    runtime.block_on(async {
        assert_eq!(server.post(INFER, text).await.status, 200);
        for body in &bodies {
            let reply = server.post(INFER, body.as_bytes()).await;
            assert_eq!((reply.status.as_u16(), reply.error().is_empty()), (400, false), "{body}");
        }
        let exact = BINARY.len();
        let body = |tail: usize| [BINARY.as_bytes(), &vec![0; tail]].concat();
        assert_eq!(infer_binary(&server, exact.to_string(), body(8)).await.status, 200);
        for tail in (0..20).filter(|&tail| tail != 8) {
            assert_eq!(infer_binary(&server, exact.to_string(), body(tail)).await.status, 400, "{tail}");
        }
        for length in (0..exact + 20).filter(|&length| length != exact) {
            assert_eq!(infer_binary(&server, length.to_string(), body(8)).await.status, 400, "{length}");
        }
    });
    assert!(bodies.len() > 300);
    check(1, &server, &runtime, |_| {});
}

#[test]
fn rest_addresses() {
    let runtime = runtime();
    let server = runtime.block_on(start(models::songs()));
    let parts = prop::sample::select(vec![
        "v1",
        "clusters",
        "assign",
        "..",
        "%2e%2e",
        "%00",
        "%ff",
        "-1",
        "1",
        "4294967296",
        "?",
        "&",
        "=",
        "limit",
        "offset",
        "centroids=true",
        "modelVersion=v3",
        "//",
        "%",
        "*",
        ";",
        "model",
        "v2",
        "models",
        "songs",
        "versions",
        "ready",
        "infer",
        "%F0%9F%98%80",
        "~",
        "{id}",
    ]);
    let paths = prop::collection::vec(parts, 0..8)
        .prop_map(|parts| format!("/{}", parts.join("/").replace("/?/", "?").replace("/=/", "=")));
    check(1_000, &server, &runtime, |runner| {
        runner
            .run(&paths, |path| {
                if path.parse::<hyper::Uri>().is_err() {
                    return Err(TestCaseError::reject("no URI"));
                }
                let reply = runtime.block_on(server.get(&path));
                proper(&reply)
            })
            .unwrap();
    });
}

#[test]
fn what_is_not_even_http() {
    let runtime = runtime();
    let server = runtime.block_on(start(models::songs()));
    let heads = prop::sample::select(vec![
        "POST /v1/assign HTTP/1.1\r\ncontent-length: 5\r\n\r\n",
        "POST /v1/assign HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n",
        "POST /v1/assign HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        "POST /v1/assign HTTP/1.1\r\ncontent-length: 5\r\ncontent-length: 9\r\n\r\n",
        "GET /v1/model HTTP/9.9\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "",
    ]);
    let inputs = (heads, prop::collection::vec(any::<u8>(), 0..200), any::<bool>());
    check(600, &server, &runtime, |runner| {
        runner
            .run(&inputs, |(head, tail, grpc)| {
                runtime.block_on(async {
                    let address = if grpc { server.grpc } else { server.http };
                    let mut stream = TcpStream::connect(address).await.unwrap();
                    // The server may close at any point.
                    let _ = stream.write_all(head.as_bytes()).await;
                    let _ = stream.write_all(&tail).await;
                    let _ = stream.shutdown().await;
                    let mut reply = Vec::new();
                    let _ = stream.read_to_end(&mut reply).await;
                    let text = String::from_utf8_lossy(&reply).into_owned();
                    prop_assert!(!text.starts_with("HTTP/1.1 5"), "{}", text);
                    Ok(())
                })
            })
            .unwrap();
    });
}

#[test]
fn grpc_messages() {
    let runtime = runtime();
    let server = runtime.block_on(songs_with_items());
    let client = Arc::new(Mutex::new(runtime.block_on(server.client())));
    let floats = prop::collection::vec(prop_oneof![any::<u32>().prop_map(f32::from_bits), -1e3f32..1e3], 0..6);
    let version = prop::sample::select(vec!["", "", "v3", "v2", "\u{0}"]);
    let dimension = prop_oneof![Just(2u32), any::<u32>(), 0u32..5];
    let members = (prop::collection::vec(any::<u64>(), 0..3), prop::collection::vec("\\PC{0,3}", 0..3));
    let set = prop::option::of(members.prop_map(|(integers, texts)| Set { integers, texts }));
    let inputs = (floats, version, dimension, prop::collection::vec(any::<u8>(), 0..40), any::<u32>(), set);
    check(1_000, &server, &runtime, |runner| {
        runner
            .run(&inputs, |(vector, version, dimension, data, count, set)| {
                let mut client = client.lock().unwrap().clone();
                runtime.block_on(async {
                    let model_version = version.to_owned();
                    let vectors = Some(Vectors { dimension, data: data.into() });
                    let similar = SimilarItemsRequest {
                        id: if vector.is_empty() { format!("{dimension}") } else { String::new() },
                        vector: vector.clone(),
                        count: count % 1_100,
                        cluster: (count % 3 == 0).then_some(dimension as i32),
                        method: (count % 7) as i32,
                        model_version: model_version.clone(),
                        set: set.clone(),
                    };
                    let results = [
                        client.similar_items(similar).await.map(drop),
                        client
                            .assign(AssignRequest {
                                vector: vector.clone(),
                                model_version: model_version.clone(),
                                set: set.clone(),
                            })
                            .await
                            .map(drop),
                        client
                            .assign_batch(AssignBatchRequest {
                                vectors,
                                model_version: model_version.clone(),
                                sets: set.iter().cloned().collect(),
                            })
                            .await
                            .map(drop),
                        client
                            .nearest_clusters(NearestClustersRequest { vector, count, model_version, set })
                            .await
                            .map(drop),
                    ];
                    for result in results {
                        if let Err(status) = result {
                            prop_assert!(
                                matches!(status.code(), Code::InvalidArgument | Code::NotFound),
                                "{:?}",
                                status
                            );
                        }
                    }
                    Ok(())
                })
            })
            .unwrap();
    });
}

#[test]
fn inference_messages() {
    let runtime = runtime();
    let server = runtime.block_on(start(models::songs()));
    let connect = GrpcInferenceServiceClient::connect(format!("http://{}", server.grpc));
    let client = Arc::new(Mutex::new(runtime.block_on(connect).unwrap()));
    let name = prop::sample::select(vec!["vectors", "vectors", "vectors", "rows", ""]);
    let datatype = prop::sample::select(vec!["FP32", "FP32", "FP32", "INT64", "BYTES", ""]);
    let shape = prop_oneof![Just(vec![1, 2]), prop::collection::vec(prop_oneof![-2i64..5, any::<i64>()], 0..4)];
    let floats = prop::collection::vec(prop_oneof![any::<u32>().prop_map(f32::from_bits), -1e3f32..1e3], 0..5);
    let contents = prop::option::of((floats, prop::collection::vec(any::<i32>(), 0..2)));
    let tensors = prop::collection::vec((name, datatype, shape, contents), 0..3);
    let raw = prop::collection::vec(prop::collection::vec(any::<u8>(), 0..12), 0..3);
    let outputs = prop::collection::vec(prop::sample::select(vec!["cluster_id", "neighbor_ids", "margin", "x"]), 0..3);
    let model = prop::sample::select(vec!["songs", "songs", "songs", "", "films"]);
    let inputs = (model, tensors, raw, outputs, prop::option::of(any::<i64>()));
    check(1_500, &server, &runtime, |runner| {
        runner
            .run(&inputs, |(model, tensors, raw, outputs, neighbors)| {
                let tensor = |(name, datatype, shape, contents): (&str, &str, _, Option<(_, _)>)| InferInputTensor {
                    name: name.to_owned(),
                    datatype: datatype.to_owned(),
                    shape,
                    contents: contents.map(|(fp32_contents, int_contents)| InferTensorContents {
                        fp32_contents,
                        int_contents,
                        ..Default::default()
                    }),
                    ..Default::default()
                };
                let neighbors = neighbors
                    .map(|number| InferParameter { parameter_choice: Some(ParameterChoice::Int64Param(number)) });
                let request = ModelInferRequest {
                    model_name: model.to_owned(),
                    inputs: tensors.into_iter().map(tensor).collect(),
                    outputs: outputs
                        .into_iter()
                        .map(|name| InferRequestedOutputTensor { name: name.to_owned(), ..Default::default() })
                        .collect(),
                    raw_input_contents: raw.into_iter().map(Bytes::from).collect(),
                    parameters: neighbors.into_iter().map(|number| ("neighbors".to_owned(), number)).collect(),
                    ..Default::default()
                };
                let mut client = client.lock().unwrap().clone();
                if let Err(status) = runtime.block_on(client.model_infer(request)) {
                    prop_assert!(matches!(status.code(), Code::InvalidArgument | Code::NotFound), "{:?}", status);
                }
                Ok(())
            })
            .unwrap();
    });
}

#[test]
fn grpc_bytes() {
    let runtime = runtime();
    let server = runtime.block_on(start(models::songs()));
    let methods = prop::sample::select(vec![
        "coterie.v1.Query/Assign",
        "coterie.v1.Query/AssignBatch",
        "coterie.v1.Query/NearestClusters",
        "coterie.v1.Query/ListClusters",
        "coterie.v1.Query/GetCluster",
        "coterie.v1.Query/GetModel",
        "coterie.v1.Query/Drop",
        "inference.GRPCInferenceService/ModelInfer",
        "inference.GRPCInferenceService/ModelMetadata",
        "inference.GRPCInferenceService/ModelReady",
        "grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    ]);
    // A frame is a flag, a length and that many bytes.
    let framed = (prop::collection::vec(any::<u8>(), 0..60), 0u8..3, -3i64..3).prop_map(|(message, flag, slip)| {
        let length = (message.len() as i64 + slip).max(0) as u32;
        [&[flag][..], &length.to_be_bytes(), &message].concat()
    });
    let bodies = prop_oneof![prop::collection::vec(any::<u8>(), 0..60), framed];
    let connect = async {
        let stream = TcpStream::connect(server.grpc).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        sender
    };
    let sender = runtime.block_on(connect);
    check(1_000, &server, &runtime, |runner| {
        runner
            .run(&(methods.clone(), &bodies), |(method, body)| {
                let mut sender = sender.clone();
                runtime.block_on(async {
                    let request = Request::builder()
                        .method("POST")
                        .uri(format!("http://{}/{method}", server.grpc))
                        .header("content-type", "application/grpc")
                        .header("te", "trailers")
                        .body(Full::new(Bytes::from(body)))
                        .unwrap();
                    let response = sender.send_request(request).await.unwrap();
                    prop_assert_eq!(response.status(), 200);
                    let head = response.headers().get("grpc-status").cloned();
                    let body = response.into_body().collect().await.unwrap();
                    let status =
                        head.or_else(|| body.trailers().and_then(|trailers| trailers.get("grpc-status").cloned()));
                    prop_assert!(status.is_some(), "every answer has a status");
                    Ok(())
                })
            })
            .unwrap();
    });
}
