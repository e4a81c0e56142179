//! The REST endpoints, their answers and their errors.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use coterie_protocol::query::ListClustersRequest;
use serde_json::json;
use support::{models, start};

#[tokio::test]
async fn one_vector_and_several_are_answered_in_one_shape() {
    let server = start(models::songs()).await;
    let reply = server.post("/v1/assign", r#"{"vector": [100, 0]}"#).await;
    assert_eq!(
        reply.ok(),
        json!({"modelVersion": "v3", "assignments": [{"cluster": 0, "distance": 0.0, "margin": 3.0, "confidence": 1.0}]})
    );
    let reply = server.post("/v1/assign", r#"{"vectors": [[160, 0], [100, -12], [120.0, 0]], "modelVersion": "v3"}"#);
    assert_eq!(
        reply.await.ok(),
        json!({"modelVersion": "v3", "assignments": [
            {"cluster": 1, "distance": 0.0, "margin": 3.0, "confidence": 1.0},
            {"cluster": 2, "distance": 1.0, "margin": 2.0, "confidence": 0.6666667},
            {"cluster": 0, "distance": 1.0, "margin": 1.0, "confidence": 0.5},
        ]})
    );
}

#[tokio::test]
async fn a_cosine_model_answers_with_the_cosine_distance() {
    let server = start(models::directions()).await;
    let reply = server.post("/v1/assign", r#"{"vectors": [[5, 0], [0, 0.5], [-3, 0], [0, 0]]}"#).await.ok();
    assert_eq!(
        reply["assignments"],
        json!([
            {"cluster": 0, "distance": 0.0, "margin": 1.0, "confidence": 1.0},
            {"cluster": 1, "distance": 0.0, "margin": 1.0, "confidence": 1.0},
            {"cluster": 1, "distance": 1.0, "margin": 1.0, "confidence": 0.5},
            {"cluster": 0, "distance": 1.0, "margin": 0.0, "confidence": 0.0},
        ])
    );
    let reply = server.post("/v1/nearest-clusters", r#"{"vector": [0, 9]}"#).await.ok();
    assert_eq!(reply["clusters"], json!([{"cluster": 1, "distance": 0.0}, {"cluster": 0, "distance": 1.0}]));
}

#[tokio::test]
async fn the_nearest_clusters_come_in_order() {
    let server = start(models::songs()).await;
    let reply = server.post("/v1/nearest-clusters", r#"{"vector": [140, 0], "count": 2}"#).await.ok();
    assert_eq!(
        reply,
        json!({"modelVersion": "v3", "clusters": [{"cluster": 1, "distance": 1.0}, {"cluster": 0, "distance": 2.0}]})
    );
    let reply = server.post("/v1/nearest-clusters", r#"{"vector": [100, 0], "count": 4000000000}"#).await.ok();
    assert_eq!(reply["clusters"].as_array().unwrap().len(), 3);
    let reply = server.post("/v1/nearest-clusters", r#"{"vector": [100, 0]}"#).await.ok();
    assert_eq!(reply["clusters"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn clusters_are_listed_page_by_page() {
    let server = start(models::songs()).await;
    let first = json!({"cluster": 0, "size": 10, "share": 0.25, "inertia": 2.5, "meanDistance": 0.5,
        "standardDeviation": 0.5, "radius": 1.5, "distancePercentiles": {"p50": 0.5, "p90": 0.75, "p95": 1.0, "p99": 1.25},
        "silhouette": 0.75, "exemplars": [0, "row-0"], "recent": {"rows": 0, "share": 0.0}});
    let all = server.get("/v1/clusters").await.ok();
    assert_eq!(all["total"], 3);
    assert_eq!(all["modelVersion"], "v3");
    assert_eq!(all["clusters"][0], first);
    assert_eq!(all["clusters"][1].get("silhouette"), None);
    assert_eq!(all["clusters"][1].get("distancePercentiles"), None);
    let ids = |page: &serde_json::Value| -> Vec<u64> {
        page["clusters"].as_array().unwrap().iter().map(|cluster| cluster["cluster"].as_u64().unwrap()).collect()
    };
    assert_eq!(ids(&all), [0, 1, 2]);
    let page = server.get("/v1/clusters?offset=1&limit=1&centroids=true&modelVersion=v3").await.ok();
    assert_eq!(ids(&page), [1]);
    assert_eq!(page["total"], 3);
    assert_eq!(page["clusters"][0]["centroid"], json!([3.0, 0.0]));
    assert_eq!(ids(&server.get("/v1/clusters?offset=3").await.ok()), [0; 0]);
    assert_eq!(ids(&server.get("/v1/clusters?offset=4294967295&limit=10000").await.ok()), [0; 0]);

    let cluster = server.get("/v1/clusters/2").await.ok();
    assert_eq!(cluster["modelVersion"], "v3");
    assert_eq!(cluster["size"], 30);
    assert_eq!(cluster["centroid"], json!([0.0, -4.0]));
}

#[tokio::test]
async fn a_page_with_centroids_is_bounded() {
    let server = start(models::large(2_000, 4_096)).await;
    let page = server.get("/v1/clusters?limit=1024&centroids=true").await.ok();
    assert_eq!(page["clusters"].as_array().unwrap().len(), 1_024);
    let reply = server.get("/v1/clusters?limit=1025&centroids=true").await;
    assert_eq!(reply.error(), "limit must be from 1 to 1024, found 1025: ask for several pages with offset");
    assert_eq!(server.get("/v1/clusters?limit=10000").await.ok()["clusters"].as_array().unwrap().len(), 2_000);
}

/// Large pages are spelt off the async threads, small ones where they were asked for.
#[tokio::test]
async fn a_large_page_is_small_ones_together() {
    let server = start(models::large(600, 32)).await;
    let page = async |offset: usize, limit: usize| {
        let path = format!("/v1/clusters?offset={offset}&limit={limit}&centroids=true");
        server.get(&path).await.ok()["clusters"].as_array().unwrap().clone()
    };
    let mut small = Vec::new();
    for offset in (0..600).step_by(50) {
        small.extend(page(offset, 50).await);
    }
    assert_eq!(page(0, 600).await, small);
    let mut client = server.client().await;
    let mut page = async |offset, limit| {
        let request = ListClustersRequest { offset, limit, with_centroids: true, ..ListClustersRequest::default() };
        client.list_clusters(request).await.unwrap().into_inner().clusters
    };
    let mut small = Vec::new();
    for offset in (0..600).step_by(50) {
        small.extend(page(offset, 50).await);
    }
    assert_eq!(page(0, 600).await, small);
}

#[tokio::test]
async fn the_model_is_described() {
    let model = models::songs();
    let digest = coterie_model::digest(&model);
    let server = start(model).await;
    assert_eq!(
        server.get("/v1/model").await.ok(),
        json!({
            "name": "songs", "modelVersion": "v3", "digest": digest, "algorithm": "KMeans", "metric": "Euclidean",
            "inputDimension": 2, "featureNames": ["tempo", "key"], "dimension": 2, "clusters": 3,
            "rows": 60, "rowsDropped": 2, "iterations": 12, "converged": true, "trainedAt": "1970-01-01T00:00:00Z",
            "metrics": {"inertia": 7.5, "silhouette": 0.625, "silhouetteRows": 60, "daviesBouldin": 0.5},
        })
    );
}

#[tokio::test]
async fn health_says_live_and_ready() {
    let server = start(models::songs()).await;
    assert_eq!(server.get("/healthz/live").await.ok(), json!({"status": "live"}));
    assert_eq!(server.get("/healthz/ready").await.ok(), json!({"status": "ready", "modelVersion": "v3"}));
}

#[tokio::test]
async fn errors_say_where_what_was_expected_and_what_to_do() {
    let server = start(models::songs()).await;
    let assign = "/v1/assign";
    let nearest = "/v1/nearest-clusters";
    let shape = "expected 2 values (\"tempo\", \"key\"), found";
    let fix = "send one number per feature, in this order";
    let ways = "send either \"vector\": [...], \"vectors\": [[...], ...], \"set\": [...] or \"sets\": [[...], ...]";
    let wrong = "the body is not what this endpoint takes:";
    let finite = "every value must be a finite 32-bit float, so replace it or leave the vector out";
    let cases: Vec<(&str, &str, u16, String)> = vec![
        (assign, r#"{"vector": [1]}"#, 400, format!("{shape} 1: {fix}")),
        (assign, r#"{"vector": [1, 2, 3]}"#, 400, format!("{shape} 3: {fix}")),
        (assign, r#"{"vectors": [[1, 2], [1, 2, 3]]}"#, 400, format!("row 1: {shape} 3: {fix}")),
        (assign, r#"{"vectors": [[1, 2], []]}"#, 400, format!("row 1: {shape} 0: {fix}")),
        (assign, r#"{"vector": []}"#, 400, "no vector was sent: send at least one".into()),
        (assign, r#"{"vectors": []}"#, 400, "no vector was sent: send at least one".into()),
        (assign, "{}", 400, ways.into()),
        (assign, r#"{"vector": null}"#, 400, ways.into()),
        (assign, r#"{"vector": [1, 2], "vectors": [[1, 2]]}"#, 400, ways.into()),
        (assign, r#"{"vector": [1, 1e39]}"#, 400, format!("feature \"key\" (value 1) is inf: {finite}")),
        (assign, r#"{"vectors": [[1, 2], [3, 4], [-1e200, 5]]}"#, 400, format!("row 2: feature \"tempo\" (value 0) is -inf: {finite}")),
        (assign, r#"{"vectors": [[1, 2], [1, 3e38]]}"#, 400,
            "row 1: the values are too large for this model, distances would overflow: check the units against the training data".into()),
        (assign, r#"{"vector": [1, null]}"#, 400, format!("{wrong} invalid type: null, expected a number at line 1 column 19")),
        (assign, r#"{"vector": [1, NaN]}"#, 400, format!("{wrong} expected value at line 1 column 16")),
        (assign, r#"{"vector": [1, "2"]}"#, 400, format!("{wrong} invalid type: string \"2\", expected a number at line 1 column 18")),
        (assign, r#"{"vector": 7}"#, 400, format!("{wrong} invalid type: integer `7`, expected an array of numbers at line 1 column 12")),
        (assign, r#"{"vectors": [1, 2]}"#, 400, format!("{wrong} invalid type: integer `1`, expected an array of numbers at line 1 column 14")),
        (assign, r#"{"vektor": [1, 2]}"#, 400, format!("{wrong} unknown field `vektor`, expected one of `vector`, `vectors`, `set`, `sets`, `modelVersion` at line 1 column 9")),
        (assign, r#"{"vector": [1, 2"#, 400, format!("{wrong} EOF while parsing a list at line 1 column 16")),
        (assign, r#"{"vector": [1, 2]} x"#, 400, format!("{wrong} trailing characters at line 1 column 20")),
        (assign, r#"{"vector": [1, 2], "vector": [1, 2]}"#, 400, format!("{wrong} duplicate field `vector` at line 1 column 27")),
        (assign, "", 400, "the body is empty: send a JSON object".into()),
        (assign, r#"{"vector": [1, 2], "modelVersion": "v9"}"#, 404, "model version \"v9\" is not served here, \"v3\" is: name that, or no version".into()),
        (nearest, r#"{"vector": [1]}"#, 400, format!("{shape} 1: {fix}")),
        (nearest, r#"{"vector": [1, 2], "count": 0}"#, 400, "count must be at least 1".into()),
        (nearest, r#"{"vector": [1, 2], "count": -1}"#, 400, format!("{wrong} invalid value: integer `-1`, expected u32 at line 1 column 30")),
        (nearest, r#"{"count": 1}"#, 400, "send either \"vector\": [...] or \"set\": [...]".into()),
        ("/v1/unknown", "{}", 404, "there is nothing at POST /v1/unknown: see GET /openapi.json for what there is".into()),
        ("/v1/model", "{}", 405, "POST is not allowed at /v1/model: see GET /openapi.json for what is".into()),
    ];
    for (path, body, status, expected) in cases {
        let reply = server.post(path, body).await;
        assert_eq!(reply.error(), expected, "{path} {body}");
        assert_eq!(reply.status, status, "{path} {body}");
    }
    let cases = [
        ("/v1/clusters/3", 404, "there is no cluster 3: the model has 3 clusters, numbered from 0"),
        ("/v1/clusters/-1", 404, "there is no cluster -1: the model has 3 clusters, numbered from 0"),
        ("/v1/clusters/99999999999", 404, "there is no cluster 99999999999: the model has 3 clusters, numbered from 0"),
        ("/v1/clusters/two", 400, "cluster must be a number from 0 to 2, found \"two\""),
        (
            "/v1/clusters/1?modelVersion=v2",
            404,
            "model version \"v2\" is not served here, \"v3\" is: name that, or no version",
        ),
        ("/v1/clusters?limit=0", 400, "limit must be from 1 to 10000, found 0: ask for several pages with offset"),
        (
            "/v1/clusters?limit=10001",
            400,
            "limit must be from 1 to 10000, found 10001: ask for several pages with offset",
        ),
        ("/v1/assign", 405, "GET is not allowed at /v1/assign: see GET /openapi.json for what is"),
        ("/", 404, "there is nothing at GET /: see GET /openapi.json for what there is"),
    ];
    for (path, status, expected) in cases {
        let reply = server.get(path).await;
        assert_eq!(reply.error(), expected, "{path}");
        assert_eq!(reply.status, status, "{path}");
    }
    for path in ["/v1/clusters?page=2", "/v1/clusters?limit=many", "/v1/model?version=v3", "/v1/clusters/%ff"] {
        let reply = server.get(path).await;
        assert_eq!((reply.status.as_u16(), reply.error().is_empty()), (400, false), "{path}");
    }
}

#[tokio::test]
async fn long_feature_lists_are_cut_short_in_errors() {
    let server = start(models::large(3, 64)).await;
    let reply = server.post("/v1/assign", r#"{"vector": [1]}"#).await;
    assert_eq!(
        reply.error(),
        "expected 64 values (\"pixel_0\", \"pixel_1\", \"pixel_2\", \"pixel_3\", \"pixel_4\", \"pixel_5\", \"pixel_6\", \
         \"pixel_7\", ...), found 1: send one number per feature, in this order"
    );
}

#[tokio::test]
async fn deeply_nested_json_is_refused() {
    let server = start(models::songs()).await;
    for body in [
        "[".repeat(1 << 20),
        format!("{{\"vectors\": {}", "[".repeat(1 << 20)),
        format!("{{\"x\": {}", "{\"x\":".repeat(1 << 18)),
    ] {
        assert_eq!(server.post("/v1/assign", body).await.status, 400);
    }
}

#[tokio::test]
async fn metrics_count_requests_rows_and_name_the_model() {
    let model = models::songs();
    let digest = coterie_model::digest(&model);
    let server = start(model).await;
    server.post("/v1/assign", r#"{"vectors": [[1, 2], [3, 4], [5, 6]]}"#).await.ok();
    server.post("/v1/assign", r#"{"vector": [1, 2]}"#).await.ok();
    server.post("/v1/assign", r#"{"vector": [1]}"#).await.error();
    server.get("/v1/clusters/1").await.ok();
    for path in ["/nowhere", "/elsewhere", "/v1/assign/x"] {
        server.get(path).await.error();
    }
    let reply = server.get("/metrics").await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.headers["content-type"], "application/openmetrics-text; version=1.0.0; charset=utf-8");
    let text = reply.text();
    let expected = [
        "coterie_serving_requests_total{protocol=\"http\",endpoint=\"assign\",code=\"200\"} 2".to_owned(),
        "coterie_serving_requests_total{protocol=\"http\",endpoint=\"assign\",code=\"400\"} 1".to_owned(),
        "coterie_serving_requests_total{protocol=\"http\",endpoint=\"get_cluster\",code=\"200\"} 1".to_owned(),
        "coterie_serving_requests_total{protocol=\"http\",endpoint=\"other\",code=\"404\"} 3".to_owned(),
        "coterie_serving_request_duration_seconds_count{protocol=\"http\",endpoint=\"assign\"} 3".to_owned(),
        "coterie_serving_rows_assigned_total 4".to_owned(),
        // The scrape itself.
        "coterie_serving_requests_in_flight 1".to_owned(),
        format!("coterie_serving_model_info{{name=\"songs\",version=\"v3\",digest=\"{digest}\"}} 1"),
        "# EOF".to_owned(),
    ];
    for line in expected {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
}
