//! Items similar to an item or a vector, over both protocols.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use coterie_model::items::{Options, TableOptions};
use coterie_protocol::query::{GetModelRequest, SearchMethod, SimilarItem, SimilarItemsRequest};
use coterie_serving::Settings;
use coterie_serving::query::{Like, Method, Similar, similar};
use serde_json::json;
use support::items::with_items;
use support::{Running, models, start, start_served};
use tonic::Code;

/// Features around the centroids (0, 0), (3, 0) and (0, -4).
const ROWS: [f32; 16] = [0.0, 0.0, 0.5, 0.0, 3.0, 0.0, 3.0, 1.0, 0.0, -4.0, 0.0, -3.0, 1.0, 0.0, 0.0, 0.25];

async fn songs() -> Running {
    let served = with_items(models::songs(), &ROWS, Options { recall: 1.0, ..Options::default() }).await;
    start_served(served, Settings::default()).await
}

#[tokio::test]
async fn items_like_an_item_or_a_vector_come_nearest_first() {
    let server = songs().await;
    let reply = server.post("/v1/similar-items", r#"{"id": 100, "count": 3}"#).await.ok();
    assert_eq!(
        reply,
        json!({"modelVersion": "v3", "method": "Lists", "items": [
            {"id": 107, "cluster": 0, "distance": 0.25},
            {"id": 101, "cluster": 0, "distance": 0.5},
            {"id": 106, "cluster": 0, "distance": 1.0},
        ]})
    );
    // The model's own features are (tempo - 100) / 20 and key / 4.
    let body = r#"{"vector": [160, 2], "count": 2, "method": "Exact", "modelVersion": "v3"}"#;
    let reply = server.post("/v1/similar-items", body).await.ok();
    assert_eq!(
        reply["items"],
        json!([{"id": 102, "cluster": 1, "distance": 0.5}, {"id": 103, "cluster": 1, "distance": 0.5}])
    );
    assert_eq!(reply["method"], "Exact");
    let reply = server.post("/v1/similar-items", r#"{"id": "100", "cluster": 2}"#).await.ok();
    assert_eq!(
        reply["items"],
        json!([{"id": 105, "cluster": 2, "distance": 3.0}, {"id": 104, "cluster": 2, "distance": 4.0}])
    );
    let all = server.post("/v1/similar-items", r#"{"vector": [100, 0]}"#).await.ok();
    assert_eq!(all["items"].as_array().unwrap().len(), 8);
    let model = server.get("/v1/model").await.ok();
    assert_eq!(model["items"], json!({"count": 8, "lists": 3, "tables": 0}));

    let mut client = server.client().await;
    let model = client.get_model(GetModelRequest {}).await.unwrap().into_inner();
    assert_eq!((model.items, model.item_lists, model.item_tables), (Some(8), Some(3), Some(0)));
    let request = SimilarItemsRequest { id: "100".to_owned(), count: 1, ..SimilarItemsRequest::default() };
    let reply = client.similar_items(request).await.unwrap().into_inner();
    assert_eq!(reply.items, [SimilarItem { id: "107".to_owned(), cluster: 0, distance: 0.25 }]);
    assert_eq!((reply.method(), reply.model_version.as_str()), (SearchMethod::Lists, "v3"));
    let mut request = SimilarItemsRequest { vector: vec![160.0, 2.0], count: 1, ..SimilarItemsRequest::default() };
    request.set_method(SearchMethod::Exact);
    request.cluster = Some(1);
    let reply = client.similar_items(request).await.unwrap().into_inner();
    assert_eq!((reply.items[0].id.as_str(), reply.method()), ("102", SearchMethod::Exact));
}

#[tokio::test]
async fn what_cannot_be_answered_is_said() {
    let server = songs().await;
    for (body, status, words) in [
        (r#"{}"#, 400, "either \"id\""),
        (r#"{"id": 1, "vector": [1, 2]}"#, 400, "either \"id\""),
        (r#"{"id": 99}"#, 404, "no item \"99\""),
        (r#"{"id": "song"}"#, 404, "no item \"song\""),
        (r#"{"id": 100, "count": 0}"#, 400, "from 1 to 1000"),
        (r#"{"id": 100, "count": 1001}"#, 400, "from 1 to 1000"),
        (r#"{"id": 100, "cluster": 3}"#, 404, "no cluster 3"),
        (r#"{"id": 100, "cluster": -1}"#, 404, "no cluster -1"),
        (r#"{"id": 100, "method": "Tables"}"#, 400, "no hash tables"),
        (r#"{"id": 100, "method": "Tables", "cluster": 1}"#, 400, "do not know clusters"),
        (r#"{"id": 100, "method": "Guess"}"#, 400, "Guess"),
        (r#"{"id": [1]}"#, 400, "not what this endpoint takes"),
        (r#"{"vector": [1]}"#, 400, "expected 2 values"),
        (r#"{"vector": [1, 1e39]}"#, 400, "finite"),
        (r#"{"vector": [1, 1e38]}"#, 400, "too large"),
        (r#"{"id": 100, "modelVersion": "v2"}"#, 404, "not served here"),
    ] {
        let reply = server.post("/v1/similar-items", body).await;
        assert_eq!(reply.status, status, "{body}: {}", reply.text());
        let error = reply.json()["error"].as_str().unwrap().to_owned();
        assert!(error.contains(words), "{body}: {error}");
    }
    let mut client = server.client().await;
    let none = client.similar_items(SimilarItemsRequest::default()).await.unwrap_err();
    assert_eq!(none.code(), Code::InvalidArgument);

    let without = start(models::songs()).await;
    let reply = without.post("/v1/similar-items", r#"{"id": 1}"#).await;
    assert_eq!(reply.status, 501);
    assert!(reply.text().contains("spec.serving.similarItems"));
    let request = SimilarItemsRequest { id: "1".to_owned(), ..SimilarItemsRequest::default() };
    let error = without.client().await.similar_items(request).await.unwrap_err();
    assert_eq!(error.code(), Code::Unimplemented);
    assert_eq!(without.get("/v1/model").await.ok().get("items"), None);
}

/// On many rows every method finds what it promises.
#[tokio::test]
async fn methods_keep_their_promise() {
    let (n, d) = (6_000, 12);
    let model = models::large(30, d);
    let mut random = models::Random(3);
    let rows: Vec<f32> = (0..n)
        .flat_map(|row| {
            let noise = random.values(d);
            let centroid = model.centroids.row(row % 30).to_vec();
            centroid.into_iter().zip(noise).map(|(c, x)| c + 0.6 * x).collect::<Vec<f32>>()
        })
        .collect();
    let served =
        with_items(model, &rows, Options { recall: 0.9, tables: TableOptions::Chosen, ..Options::default() }).await;
    let ask = |row: usize, method: Method| {
        let question =
            Similar { like: Like::Item((100 + row).to_string()), count: None, cluster: None, method: Some(method) };
        similar(&served, &question).unwrap()
    };
    let mut hits = [0, 0];
    for row in (0..n).step_by(60) {
        let exact = ask(row, Method::Exact);
        assert_eq!(exact.len(), 10);
        assert!(exact.is_sorted_by(|a, b| a.distance <= b.distance));
        assert!(exact.iter().all(|item| item.id != coterie_model::RowId::Int(100 + row as i64)));
        for (method, hits) in [Method::Lists, Method::Tables].into_iter().zip(&mut hits) {
            *hits += ask(row, method).iter().filter(|item| exact.contains(item)).count();
        }
    }
    assert!(hits[0] >= 900 && hits[1] >= 870, "{hits:?} of 1000");
    let question = Similar { like: Like::Item("100".to_owned()), count: None, cluster: None, method: None };
    assert_eq!(coterie_serving::query::method(&served, &question).unwrap(), Method::Tables);
}
