//! Bodies that are nearly right, and values behind them.

use crate::support::client::{self, Reply};
use crate::support::edits::edited;
use crate::support::{Running, models, start};
use crate::{check, proper, runtime, songs_with_items};
use proptest::prelude::*;
use serde_json::{Value, json};

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
