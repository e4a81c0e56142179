//! The Open Inference Protocol over REST: answers, errors, and values as bytes behind the JSON.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use serde_json::{Value, json};
use support::client::{self, Reply};
use support::{Running, models, start};

const INFER: &str = "/v2/models/songs/infer";

/// A request for rows of the songs' two columns.
fn request(rows: &[[f32; 2]]) -> Value {
    json!({"inputs": [{"name": "vectors", "datatype": "FP32", "shape": [rows.len(), 2], "data": rows}]})
}

async fn infer(server: &Running, request: &Value) -> Reply {
    server.post(INFER, request.to_string()).await
}

/// A request whose values lie behind the JSON.
async fn binary(server: &Running, request: &Value, values: &[u8]) -> Reply {
    let json = request.to_string();
    let headers = [("inference-header-content-length", json.len().to_string())];
    client::send_with(server.http, "POST", INFER, &headers, [json.as_bytes(), values].concat()).await
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

#[tokio::test]
async fn the_server_and_its_model_are_described() {
    let server = start(models::songs()).await;
    let version = env!("CARGO_PKG_VERSION");
    let described = json!({"name": "coterie", "version": version, "extensions": ["binary_tensor_data"]});
    assert_eq!(server.get("/v2").await.ok(), described);
    assert_eq!(server.get("/v2/").await.ok(), described);
    assert_eq!(server.get("/v2/health/live").await.ok(), json!({"live": true}));
    assert_eq!(server.get("/v2/health/ready").await.ok()["ready"], true);
    let described = json!({
        "name": "songs", "versions": ["v3"], "platform": "coterie_safetensors",
        "inputs": [{"name": "vectors", "datatype": "FP32", "shape": [-1, 2]}],
        "outputs": [
            {"name": "cluster_id", "datatype": "INT32", "shape": [-1]},
            {"name": "distance", "datatype": "FP32", "shape": [-1]},
            {"name": "margin", "datatype": "FP32", "shape": [-1]},
            {"name": "neighbor_ids", "datatype": "INT32", "shape": [-1, -1]},
        ],
    });
    for model in ["/v2/models/songs", "/v2/models/songs/versions/v3"] {
        assert_eq!(server.get(model).await.ok(), described);
        assert_eq!(server.get(&format!("{model}/ready")).await.ok(), json!({"name": "songs", "ready": true}));
    }
    for path in ["", "/ready"] {
        let reply = server.get(&format!("/v2/models/films{path}")).await;
        assert_eq!(reply.error(), "model \"films\" is not served here, \"songs\" is");
        assert_eq!(reply.status, 404);
        let reply = server.get(&format!("/v2/models/songs/versions/v2{path}")).await;
        assert_eq!(reply.error(), "model version \"v2\" is not served here, \"v3\" is: name that, or no version");
        assert_eq!(reply.status, 404);
    }
}

#[tokio::test]
async fn rows_are_assigned_whether_nested_or_not() {
    let server = start(models::songs()).await;
    let expected = json!({"model_name": "songs", "model_version": "v3", "id": "seven", "outputs": [
        {"name": "cluster_id", "datatype": "INT32", "shape": [3], "data": [1, 2, 0]},
        {"name": "distance", "datatype": "FP32", "shape": [3], "data": [0.0, 1.0, 1.0]},
        {"name": "margin", "datatype": "FP32", "shape": [3], "data": [3.0, 2.0, 1.0]},
    ]});
    let mut request = request(&[[160.0, 0.0], [100.0, -12.0], [120.0, 0.0]]);
    request["id"] = json!("seven");
    assert_eq!(infer(&server, &request).await.ok(), expected);
    request["inputs"][0]["data"] = json!([160, 0, 100, -12, 120.0, 0]);
    assert_eq!(infer(&server, &request).await.ok(), expected);
    let reply = server.post("/v2/models/songs/versions/v3/infer", request.to_string()).await;
    assert_eq!(reply.ok(), expected);
    request.as_object_mut().unwrap().remove("id");
    assert_eq!(infer(&server, &request).await.ok().get("id"), None);
}

#[tokio::test]
async fn outputs_come_as_asked_for() {
    let server = start(models::songs()).await;
    let names = |reply: &Value| -> Vec<String> {
        let outputs = reply["outputs"].as_array().unwrap().iter();
        outputs.map(|output| output["name"].as_str().unwrap().to_owned()).collect()
    };
    let mut request = request(&[[140.0, 0.0], [100.0, -12.0]]);
    request["outputs"] = json!([{"name": "margin"}, {"name": "cluster_id"}]);
    let reply = infer(&server, &request).await.ok();
    assert_eq!(names(&reply), ["margin", "cluster_id"]);
    assert_eq!(reply["outputs"][1]["data"], json!([1, 2]));

    request["outputs"] = json!([{"name": "neighbor_ids"}]);
    let neighbors = |count: usize, data: Value| json!([{"name": "neighbor_ids", "datatype": "INT32", "shape": [2, count], "data": data}]);
    let all = neighbors(3, json!([1, 0, 2, 2, 0, 1]));
    assert_eq!(infer(&server, &request).await.ok()["outputs"], all);
    request["parameters"] = json!({"neighbors": 2});
    assert_eq!(infer(&server, &request).await.ok()["outputs"], neighbors(2, json!([1, 0, 2, 0])));
    request["parameters"] = json!({"neighbors": u64::MAX});
    assert_eq!(infer(&server, &request).await.ok()["outputs"], all);

    request["parameters"] = json!({"neighbors": 1, "priority": 3});
    request["outputs"] = json!([]);
    let reply = infer(&server, &request).await.ok();
    assert_eq!(names(&reply), ["cluster_id", "distance", "margin", "neighbor_ids"]);
    assert_eq!(reply["outputs"][3]["shape"], json!([2, 1]));
    assert_eq!(reply["outputs"][3]["data"], reply["outputs"][0]["data"]);
}

#[tokio::test]
async fn values_may_lie_behind_the_json() {
    let server = start(models::songs()).await;
    let mut request = request(&[[140.0, 0.0], [100.0, -12.0]]);
    let plain = infer(&server, &request).await.ok();
    let input = request["inputs"][0].as_object_mut().unwrap();
    input.remove("data");
    input.insert("parameters".to_owned(), json!({"binary_data_size": 16}));
    let values = bytes(&[140.0, 0.0, 100.0, -12.0]);
    assert_eq!(binary(&server, &request, &values).await.ok(), plain);

    // All outputs as bytes, but for one that says otherwise.
    request["parameters"] = json!({"binary_data_output": true});
    request["outputs"] = json!([
        {"name": "cluster_id"}, {"name": "distance", "parameters": {"binary_data": false}}, {"name": "margin", "parameters": {}},
    ]);
    let reply = binary(&server, &request, &values).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(reply.headers["content-type"], "application/octet-stream");
    let length: usize = reply.headers["inference-header-content-length"].to_str().unwrap().parse().unwrap();
    let (head, tail) = reply.body.split_at(length);
    let head: Value = serde_json::from_slice(head).unwrap();
    assert_eq!(
        head["outputs"],
        json!([
            {"name": "cluster_id", "datatype": "INT32", "shape": [2], "parameters": {"binary_data_size": 8}},
            {"name": "distance", "datatype": "FP32", "shape": [2], "data": [1.0, 1.0]},
            {"name": "margin", "datatype": "FP32", "shape": [2], "parameters": {"binary_data_size": 8}},
        ])
    );
    let ids: Vec<u8> = [1i32, 2].iter().flat_map(|id| id.to_le_bytes()).collect();
    assert_eq!(tail, [ids, bytes(&[1.0, 2.0])].concat());

    // Bytes for an answer to plain JSON.
    request["inputs"][0] = json!({"name": "vectors", "datatype": "FP32", "shape": [1, 2], "data": [140, 0]});
    request["outputs"] = json!([{"name": "cluster_id", "parameters": {"binary_data": true}}]);
    let reply = infer(&server, &request).await;
    assert!(reply.body.ends_with(&1i32.to_le_bytes()), "{reply:?}");
}

#[tokio::test]
async fn a_large_request_is_answered_as_a_small_one() {
    let server = start(models::large(50, 64)).await;
    let values = models::Random(3).values(5_000 * 64);
    let input = |parameters: Value| {
        json!({"inputs": [{"name": "vectors", "datatype": "FP32", "shape": [5_000, 64], "parameters": parameters}],
        "parameters": {"neighbors": 3}})
    };
    let reply = binary(&server, &input(json!({"binary_data_size": 5_000 * 256})), &bytes(&values)).await.ok();
    let rows: Vec<&[f32]> = values.chunks(64).collect();
    let ours = server.post("/v1/assign", json!({"vectors": rows}).to_string()).await.ok();
    for (at, ours) in ours["assignments"].as_array().unwrap().iter().enumerate() {
        assert_eq!(reply["outputs"][0]["data"][at], ours["cluster"]);
        assert_eq!(reply["outputs"][1]["data"][at], ours["distance"]);
        assert_eq!(reply["outputs"][2]["data"][at], ours["margin"]);
    }
    assert_eq!(reply["outputs"][3]["shape"], json!([5_000, 3]));
    for at in (0..5_000).step_by(500) {
        let ours = server.post("/v1/nearest-clusters", json!({"vector": rows[at], "count": 3}).to_string()).await.ok();
        for (place, ours) in ours["clusters"].as_array().unwrap().iter().enumerate() {
            assert_eq!(reply["outputs"][3]["data"][at * 3 + place], ours["cluster"]);
        }
    }
}

#[tokio::test]
async fn errors_say_what_was_expected() {
    let server = start(models::songs()).await;
    let input = |name: &str, datatype: &str, shape: Value, data: Value| json!({"inputs": [{"name": name, "datatype": datatype, "shape": shape, "data": data}]});
    let vectors = |shape: Value, data: Value| input("vectors", "FP32", shape, data);
    let with = |key: &str, value: Value| {
        let mut request = request(&[[1.0, 2.0]]);
        request[key] = value;
        request
    };
    let finite = "every value must be a finite 32-bit float, so replace it or leave the vector out";
    let shape = "send [rows, 2], where rows is at least 1";
    let features = "expected 2 values (\"tempo\", \"key\"), found";
    let cases: Vec<(Value, String)> = vec![
        (json!({"inputs": []}), "found 0 inputs: send one, \"vectors\"".into()),
        (input("rows", "FP32", json!([1, 2]), json!([1, 2])), "there is no input \"rows\": send \"vectors\"".into()),
        (
            input("vectors", "FP64", json!([1, 2]), json!([1, 2])),
            "input \"vectors\" is of datatype \"FP64\": send FP32".into(),
        ),
        (vectors(json!([2]), json!([1, 2])), format!("input \"vectors\" is of shape [2]: {shape}")),
        (vectors(json!([1, 1, 2]), json!([1, 2])), format!("input \"vectors\" is of shape [1, 1, 2]: {shape}")),
        (vectors(json!([-1, 2]), json!([1, 2])), format!("input \"vectors\" is of shape [-1, 2]: {shape}")),
        (vectors(json!([1, 3]), json!([1, 2, 3])), format!("{features} 3: send one number per feature, in this order")),
        (vectors(json!([0, 2]), json!([])), "no vector was sent: send at least one".into()),
        (
            vectors(json!([65_537, 2]), json!([1, 2])),
            "65537 vectors in one request, at most 65536 are allowed: split them over several requests".into(),
        ),
        (
            vectors(json!([2, 2]), json!([1, 2, 3])),
            "input \"vectors\" has 3 values of data, but its shape [2, 2] takes 4".into(),
        ),
        (
            vectors(json!([2, 2]), json!([[1, 2]])),
            "input \"vectors\" has 1 rows of data, but its shape [2, 2] takes 2".into(),
        ),
        (
            vectors(json!([2, 2]), json!([[1, 2, 3], [4]])),
            format!("row 0: {features} 3: send one number per feature, in this order"),
        ),
        (vectors(json!([1, 2]), json!([1, 1e39])), format!("row 0: feature \"key\" (value 1) is inf: {finite}")),
        (
            with("outputs", json!([{"name": "label"}])),
            "there is no output \"label\": there are \"cluster_id\", \"distance\", \"margin\" and \"neighbor_ids\""
                .into(),
        ),
        (
            with("outputs", json!([{"name": "margin"}, {"name": "margin"}])),
            "output \"margin\" is asked for twice".into(),
        ),
        (with("parameters", json!({"neighbors": 0})), "parameter \"neighbors\" must be at least 1".into()),
        (
            json!({"inputs": [{"name": "vectors", "datatype": "FP32", "shape": [1, 2]}]}),
            "input \"vectors\" needs either data or the parameter binary_data_size".into(),
        ),
        (
            json!({"inputs": [{"name": "vectors", "datatype": "FP32", "shape": [1, 2], "parameters": {"binary_data_size": 8}}]}),
            "input \"vectors\" has a binary_data_size of 8, but only 0 bytes are left behind the JSON".into(),
        ),
    ];
    for (request, expected) in cases {
        let reply = infer(&server, &request).await;
        assert_eq!(reply.error(), expected, "{request}");
        assert_eq!(reply.status, 400, "{request}");
    }
    let wrong = "the body is not what this endpoint takes:";
    let double = json!({"inputs": [request(&[[1.0, 2.0]])["inputs"][0], request(&[[1.0, 2.0]])["inputs"][0]]});
    for (body, expected) in [
        (double.to_string(), "found 2 inputs: send one, \"vectors\"".to_owned()),
        ("{}".to_owned(), format!("{wrong} missing field `inputs` at line 1 column 2")),
        (
            r#"{"id": 7, "inputs": []}"#.to_owned(),
            format!("{wrong} invalid type: integer `7`, expected a string at line 1 column 8"),
        ),
        (String::new(), "the body is empty: send a JSON object".to_owned()),
    ] {
        let reply = server.post(INFER, body.clone()).await;
        assert_eq!((reply.status.as_u16(), reply.error()), (400, expected), "{body}");
    }
    for (path, status, expected) in [
        ("/v2/models/films/infer", 404, "model \"films\" is not served here, \"songs\" is"),
        (
            "/v2/models/songs/versions/v1/infer",
            404,
            "model version \"v1\" is not served here, \"v3\" is: name that, or no version",
        ),
        ("/v2/models/songs", 405, "POST is not allowed at /v2/models/songs: see GET /openapi.json for what is"),
        (
            "/v2/models/songs/infer/x",
            404,
            "there is nothing at POST /v2/models/songs/infer/x: see GET /openapi.json for what there is",
        ),
    ] {
        let reply = server.post(path, request(&[[1.0, 2.0]]).to_string()).await;
        assert_eq!((reply.status.as_u16(), reply.error()), (status, expected.to_owned()), "{path}");
    }
}

#[tokio::test]
async fn bytes_behind_the_json_must_be_accounted_for() {
    let server = start(models::songs()).await;
    let sized = |size: u64, shape: Value| json!({"inputs": [{"name": "vectors", "datatype": "FP32", "shape": shape, "parameters": {"binary_data_size": size}}]});
    let values = bytes(&[1.0, 2.0]);
    for (request, values, expected) in [
        (
            sized(8, json!([1, 2])),
            &values[..7],
            "input \"vectors\" has a binary_data_size of 8, but only 7 bytes are left behind the JSON",
        ),
        (sized(4, json!([1, 2])), &values, "4 bytes behind the JSON belong to no input: set its binary_data_size"),
        (sized(8, json!([2, 2])), &values, "input \"vectors\" has 8 bytes of data, but its shape [2, 2] takes 16"),
        (
            sized(u64::MAX, json!([1, 2])),
            &values,
            "input \"vectors\" has a binary_data_size of 18446744073709551615, but only 8 bytes are left behind the JSON",
        ),
        (request(&[[1.0, 2.0]]), &values, "8 bytes behind the JSON belong to no input: set its binary_data_size"),
        (
            sized(8, json!([1, 2])),
            &bytes(&[f32::NAN, 2.0]),
            "row 0: feature \"tempo\" (value 0) is NaN: every value must be a finite 32-bit float, so replace it or leave the vector out",
        ),
    ] {
        let reply = binary(&server, &request, values).await;
        assert_eq!((reply.status.as_u16(), reply.error()), (400, expected.to_owned()), "{request}");
    }
    for (length, expected) in [
        ("900", "header inference-header-content-length is 900, but the body has only 2 bytes"),
        ("-1", "header inference-header-content-length must be the length of the JSON in bytes, found \"-1\""),
        ("two", "header inference-header-content-length must be the length of the JSON in bytes, found \"two\""),
        ("0", "the body is empty: send a JSON object"),
    ] {
        let headers = [("inference-header-content-length", length.to_owned())];
        let reply = client::send_with(server.http, "POST", INFER, &headers, b"{}".to_vec()).await;
        assert_eq!((reply.status.as_u16(), reply.error()), (400, expected.to_owned()), "{length}");
    }
}

#[tokio::test]
async fn neighbors_of_all_rows_are_bounded() {
    let server = start(models::large(100, 2)).await;
    let input = json!({"name": "vectors", "datatype": "FP32", "shape": [65_536, 2], "data": vec![1; 131_072]});
    let mut request = json!({"inputs": [input], "parameters": {"neighbors": 65}});
    let reply = infer(&server, &request).await;
    assert_eq!(
        reply.error(),
        "65536 rows with 65 neighbors each are more than 4194304: ask for fewer, or split the rows over several requests"
    );
    assert_eq!(reply.status, 400);
    request["parameters"] = json!({"neighbors": 64});
    request["outputs"] = json!([{"name": "neighbor_ids"}]);
    assert_eq!(infer(&server, &request).await.ok()["outputs"][0]["shape"], json!([65_536, 64]));
}

#[tokio::test]
async fn requests_are_counted() {
    let server = start(models::songs()).await;
    infer(&server, &request(&[[1.0, 2.0], [3.0, 4.0]])).await.ok();
    infer(&server, &json!({"inputs": []})).await.error();
    server.get("/v2").await.ok();
    server.get("/v2/models/songs/versions/v3").await.ok();
    server.get("/v2/models/songs/ready").await.ok();
    server.get("/v2/models/songs/other").await.error();
    for (endpoint, code, count) in [
        ("infer", 200, 1.0),
        ("infer", 400, 1.0),
        ("server_metadata", 200, 1.0),
        ("model_metadata", 200, 1.0),
        ("health", 200, 1.0),
        ("other", 404, 1.0),
    ] {
        let name =
            format!("coterie_serving_requests_total{{protocol=\"http\",endpoint=\"{endpoint}\",code=\"{code}\"}}");
        assert_eq!(server.metric(&name).await, Some(count), "{name}");
    }
    assert_eq!(server.metric("coterie_serving_rows_assigned_total").await, Some(2.0));
}
