//! Both protocols, the domain layer and the training code path give the same answers, whatever the size of the request.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use coterie_algorithms::kmeans;
use coterie_protocol::query::{AssignBatchRequest, AssignRequest, Vectors};
use coterie_serving::query::{self, Assignment, Served};
use std::sync::Arc;
use support::models::{self, Random};
use support::start;

const ROWS: usize = 3_000;
const DIMENSION: usize = 40;
/// Enough that most are ruled out without a close look.
const CLUSTERS: usize = 400;

#[tokio::test]
async fn every_path_gives_the_labels_of_training() {
    let model = models::large(CLUSTERS, DIMENSION);
    let rows = Random(11).values(ROWS * DIMENSION);

    let mut features = Vec::new();
    model.pipeline.apply(&rows, &mut features);
    let mut labels = vec![0; ROWS];
    kmeans::assign(&model.centroids, &features, &mut labels);

    let served = Served::new(Arc::new(model.clone()));
    let expected = query::assign(&served, rows.clone(), Some(0)).unwrap();
    assert_eq!(expected.iter().map(|assignment| assignment.cluster).collect::<Vec<_>>(), labels);
    for (assignment, features) in expected.iter().zip(features.chunks_exact(DIMENSION)) {
        let near = kmeans::nearest(&model.centroids, features, 2);
        assert_eq!(assignment.cluster, near[0].0);
        assert_eq!(assignment.distance, near[0].1.sqrt() as f32);
        assert_eq!(assignment.margin, (near[1].1.sqrt() - near[0].1.sqrt()) as f32);
        assert_eq!(assignment.confidence, ((near[1].1.sqrt() - near[0].1.sqrt()) / near[1].1.sqrt()) as f32);
    }

    let server = start(model).await;
    let mut client = server.client().await;
    let data: Vec<u8> = rows.iter().flat_map(|value| value.to_le_bytes()).collect();
    let vectors = Some(Vectors { dimension: DIMENSION as u32, data: data.into() });
    let reply = client.assign_batch(AssignBatchRequest { vectors, ..AssignBatchRequest::default() }).await.unwrap();
    let reply = reply.into_inner();
    let over_grpc: Vec<Assignment> = (0..ROWS)
        .map(|i| Assignment {
            cluster: reply.clusters[i] as u32,
            distance: reply.distances[i],
            margin: reply.margins[i],
            confidence: reply.confidences[i],
        })
        .collect();
    assert_eq!(over_grpc, expected);

    let body = serde_json::json!({"vectors": rows.chunks_exact(DIMENSION).collect::<Vec<_>>()});
    let reply = server.post("/v1/assign", body.to_string()).await.ok();
    let over_rest: Vec<Assignment> = reply["assignments"].as_array().unwrap().iter().map(assignment).collect();
    assert_eq!(over_rest, expected);

    for (row, expected) in rows.chunks_exact(DIMENSION).zip(&expected).take(50) {
        let reply = client.assign(AssignRequest { vector: row.to_vec(), ..AssignRequest::default() }).await.unwrap();
        let lone = reply.into_inner().assignment.unwrap();
        assert_eq!(
            (lone.cluster as u32, lone.distance, lone.margin, lone.confidence),
            (expected.cluster, expected.distance, expected.margin, expected.confidence)
        );
        let reply = server.post("/v1/assign", serde_json::json!({ "vector": row }).to_string()).await.ok();
        assert_eq!(assignment(&reply["assignments"][0]), *expected);
    }
}

fn assignment(json: &serde_json::Value) -> Assignment {
    Assignment {
        cluster: json["cluster"].as_u64().unwrap() as u32,
        distance: json["distance"].as_f64().unwrap() as f32,
        margin: json["margin"].as_f64().unwrap() as f32,
        confidence: json["confidence"].as_f64().unwrap() as f32,
    }
}

#[test]
fn a_row_far_into_a_large_batch_is_named_by_its_place_in_the_request() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let server = start(models::large(2_000, 16)).await;
        let mut client = server.client().await;
        let mut values = vec![0.5f32; 16 * 20_000];
        values[16 * 19_998 + 3] = f32::NAN;
        values[16 * 12_345 + 7] = f32::INFINITY;
        let data: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let vectors = Some(Vectors { dimension: 16, data: data.into() });
        let request = AssignBatchRequest { vectors, ..AssignBatchRequest::default() };
        let status = client.assign_batch(request).await.unwrap_err();
        assert!(status.message().starts_with("row 12345: feature \"pixel_7\" (value 7) is inf"), "{status:?}");
    });
}
