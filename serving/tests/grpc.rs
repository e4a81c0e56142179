//! The gRPC endpoints, their answers and their errors.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use coterie_protocol::query::{
    AssignBatchRequest, AssignRequest, Assignment, GetClusterRequest, GetModelRequest, ListClustersRequest,
    NearestCluster, NearestClustersRequest, Percentiles, Vectors,
};
use support::{models, start};
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

fn vectors(dimension: u32, values: &[f32]) -> Option<Vectors> {
    let data: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    Some(Vectors { dimension, data: data.into() })
}

fn batch(dimension: u32, values: &[f32]) -> AssignBatchRequest {
    AssignBatchRequest { vectors: vectors(dimension, values), ..AssignBatchRequest::default() }
}

fn lone(vector: &[f32]) -> AssignRequest {
    AssignRequest { vector: vector.to_vec(), ..AssignRequest::default() }
}

#[tokio::test]
async fn one_vector_and_a_batch_are_assigned() {
    let server = start(models::songs()).await;
    let mut client = server.client().await;
    let reply = client.assign(lone(&[160.0, 0.0])).await.unwrap().into_inner();
    assert_eq!(reply.model_version, "v3");
    assert_eq!(reply.assignment, Some(Assignment { cluster: 1, distance: 0.0, margin: 3.0, confidence: 1.0 }));
    let reply = client.assign_batch(batch(2, &[100.0, -12.0, 120.0, 0.0])).await.unwrap().into_inner();
    assert_eq!(reply.model_version, "v3");
    assert_eq!(reply.clusters, [2, 0]);
    assert_eq!(reply.distances, [1.0, 1.0]);
    assert_eq!(reply.margins, [2.0, 1.0]);
    assert_eq!(reply.confidences, [2.0 / 3.0, 0.5]);
}

#[tokio::test]
async fn the_nearest_clusters_come_in_order() {
    let server = start(models::songs()).await;
    let mut client = server.client().await;
    let request =
        NearestClustersRequest { vector: vec![140.0, 0.0], count: 2, model_version: "v3".to_owned(), set: None };
    let reply = client.nearest_clusters(request.clone()).await.unwrap().into_inner();
    assert_eq!(
        reply.clusters,
        [NearestCluster { cluster: 1, distance: 1.0 }, NearestCluster { cluster: 0, distance: 2.0 }]
    );
    let reply = client.nearest_clusters(NearestClustersRequest { count: 0, ..request }).await.unwrap().into_inner();
    assert_eq!(reply.clusters.len(), 3, "unset asks for ten");
}

#[tokio::test]
async fn clusters_and_the_model_are_described() {
    let server = start(models::songs()).await;
    let mut client = server.client().await;
    let all = client.list_clusters(ListClustersRequest::default()).await.unwrap().into_inner();
    assert_eq!((all.total, all.clusters.len(), all.model_version.as_str()), (3, 3, "v3"));
    assert!(all.clusters.iter().all(|cluster| cluster.centroid.is_empty()));
    let page = ListClustersRequest { offset: 1, limit: 1, with_centroids: true, ..ListClustersRequest::default() };
    let page = client.list_clusters(page).await.unwrap().into_inner();
    assert_eq!(page.clusters.len(), 1);
    assert_eq!(page.clusters[0].centroid, [3.0, 0.0]);
    assert!(!page.clusters[0].has_silhouette);

    let request = GetClusterRequest { cluster: 2, model_version: String::new() };
    let cluster = client.get_cluster(request).await.unwrap().into_inner().cluster.unwrap();
    assert_eq!((cluster.cluster, cluster.size, cluster.has_silhouette, cluster.silhouette), (2, 30, true, 0.75));
    assert_eq!(cluster.centroid, [0.0, -4.0]);
    assert_eq!(cluster.exemplars, ["2", "row-2"]);
    assert_eq!(cluster.standard_deviation, (2.5f64 / 30.0).sqrt());
    assert_eq!(cluster.distance_percentiles, Some(Percentiles { p50: 0.5, p90: 0.75, p95: 1.0, p99: 1.25 }));
    assert_eq!((cluster.recent_rows, cluster.recent_share), (0, 0.0));

    let model = client.get_model(GetModelRequest {}).await.unwrap().into_inner();
    assert_eq!((model.name.as_str(), model.version.as_str(), model.metric.as_str()), ("songs", "v3", "Euclidean"));
    assert_eq!(model.digest, coterie_model::digest(&models::songs()));
    assert_eq!((model.input_dimension, model.dimension, model.clusters, model.rows), (2, 2, 3, 60));
    assert_eq!(model.feature_names, ["tempo", "key"]);
    assert_eq!((model.davies_bouldin, model.ari), (Some(0.5), None));
}

#[tokio::test]
async fn errors_say_where_what_was_expected_and_what_to_do() {
    let server = start(models::songs()).await;
    let mut client = server.client().await;
    let shape = "expected 2 values (\"tempo\", \"key\"), found";
    let fix = "send one number per feature, in this order";
    let finite = "every value must be a finite 32-bit float, so replace it or leave the vector out";
    let ragged = AssignBatchRequest {
        vectors: Some(Vectors { dimension: 2, data: vec![0; 12].into() }),
        ..AssignBatchRequest::default()
    };
    let none = AssignBatchRequest::default();
    let cases = [
        (batch(3, &[1.0; 3]), format!("{shape} 3: {fix}")),
        (batch(u32::MAX, &[1.0; 3]), format!("{shape} 4294967295: {fix}")),
        (batch(2, &[1.0, 2.0, 3.0, f32::NAN]), format!("row 1: feature \"key\" (value 1) is NaN: {finite}")),
        (batch(2, &[f32::NEG_INFINITY, 2.0]), format!("row 0: feature \"tempo\" (value 0) is -inf: {finite}")),
        (batch(2, &[]), "no vector was sent: send at least one".to_owned()),
        (batch(0, &[1.0]), "no vector was sent: send at least one".to_owned()),
        (none, "no vector was sent: send at least one".to_owned()),
        (
            ragged,
            "vectors.data has 12 bytes, which is no multiple of 8 (4 bytes for each of 2 values): send whole rows of \
             little-endian 32-bit floats"
                .to_owned(),
        ),
        (
            batch(2, &vec![0.0; 2 * 65_537]),
            "65537 vectors in one request, at most 65536 are allowed: split them over several requests".to_owned(),
        ),
    ];
    for (request, expected) in cases {
        let status = client.assign_batch(request).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::InvalidArgument, expected.as_str()));
    }
    let status = client.assign(lone(&[1.0])).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::InvalidArgument, format!("{shape} 1: {fix}").as_str()));
    let status = client.assign(lone(&[f32::NAN, 0.0])).await.unwrap_err();
    assert_eq!(status.message(), format!("feature \"tempo\" (value 0) is NaN: {finite}"));

    let version = "model version \"v9\" is not served here, \"v3\" is: name that, or no version";
    let v9 = || "v9".to_owned();
    let statuses = [
        client.assign(AssignRequest { model_version: v9(), ..lone(&[1.0, 2.0]) }).await.unwrap_err(),
        client.assign_batch(AssignBatchRequest { model_version: v9(), ..batch(2, &[1.0, 2.0]) }).await.unwrap_err(),
        client.list_clusters(ListClustersRequest { model_version: v9(), ..Default::default() }).await.unwrap_err(),
        client.get_cluster(GetClusterRequest { cluster: 0, model_version: v9() }).await.unwrap_err(),
    ];
    for status in statuses {
        assert_eq!((status.code(), status.message()), (Code::NotFound, version));
    }
    for cluster in [-1, 3, i32::MAX, i32::MIN] {
        let request = GetClusterRequest { cluster, model_version: String::new() };
        let status = client.get_cluster(request).await.unwrap_err();
        assert_eq!(status.code(), Code::NotFound);
        assert_eq!(
            status.message(),
            format!("there is no cluster {cluster}: the model has 3 clusters, numbered from 0")
        );
    }
    let request = ListClustersRequest { limit: 10_001, ..Default::default() };
    assert_eq!(client.list_clusters(request).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn the_standard_health_service_answers() {
    let server = start(models::songs()).await;
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{}", server.grpc)).unwrap();
    let mut health = HealthClient::new(endpoint.connect().await.unwrap());
    for service in ["", "coterie.v1.Query"] {
        let request = HealthCheckRequest { service: service.to_owned() };
        let reply = health.check(request).await.unwrap().into_inner();
        assert_eq!(reply.status(), ServingStatus::Serving, "{service:?}");
    }
    let request = HealthCheckRequest { service: "other".to_owned() };
    assert_eq!(health.check(request).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn metrics_count_by_method_and_code() {
    let server = start(models::songs()).await;
    let mut client = server.client().await;
    client.assign_batch(batch(2, &[0.0; 10])).await.unwrap();
    client.assign(lone(&[1.0, 2.0])).await.unwrap();
    client.assign(lone(&[1.0])).await.unwrap_err();
    client.get_cluster(GetClusterRequest { cluster: 7, model_version: String::new() }).await.unwrap_err();
    let text = server.get("/metrics").await.text();
    for line in [
        "coterie_serving_requests_total{protocol=\"grpc\",endpoint=\"assign_batch\",code=\"OK\"} 1",
        "coterie_serving_requests_total{protocol=\"grpc\",endpoint=\"assign\",code=\"OK\"} 1",
        "coterie_serving_requests_total{protocol=\"grpc\",endpoint=\"assign\",code=\"INVALID_ARGUMENT\"} 1",
        "coterie_serving_requests_total{protocol=\"grpc\",endpoint=\"get_cluster\",code=\"NOT_FOUND\"} 1",
        "coterie_serving_rows_assigned_total 6",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
}
