//! A new model takes over while requests are answered: no request fails, no answer mixes two versions.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use coterie_protocol::query::AssignRequest;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use support::{client, models, start};

/// How far version `v<n>` has moved its centroids, and so the distance it answers for (100, 0).
fn distance_of(version: &str) -> f64 {
    version.trim_start_matches('v').parse::<f64>().unwrap() / 128.0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_comes_from_one_version() {
    let model = |n: usize| models::shifted_songs(&format!("v{n}"), n as f32 / 128.0);
    let server = start(model(1)).await;
    let done = Arc::new(AtomicBool::new(false));
    let mut askers = tokio::task::JoinSet::new();
    for _ in 0..2 {
        let (address, finished) = (server.http, Arc::clone(&done));
        askers.spawn(async move {
            while !finished.load(Ordering::SeqCst) {
                let body = r#"{"vectors": [[100, 0], [100, 0]]}"#.into();
                let reply = client::send(address, "POST", "/v1/assign", body).await.ok();
                let expected = distance_of(reply["modelVersion"].as_str().unwrap());
                for assignment in reply["assignments"].as_array().unwrap() {
                    assert_eq!(assignment["distance"].as_f64().unwrap(), expected, "{reply}");
                }
            }
        });
        let (mut client, finished) = (server.client().await, Arc::clone(&done));
        askers.spawn(async move {
            while !finished.load(Ordering::SeqCst) {
                let request = AssignRequest { vector: vec![100.0, 0.0], ..AssignRequest::default() };
                let reply = client.assign(request).await.unwrap().into_inner();
                let distance = f64::from(reply.assignment.unwrap().distance);
                assert_eq!(distance, distance_of(&reply.model_version));
            }
        });
    }
    for n in 2..=100 {
        server.handle.replace(Arc::new(model(n)));
        assert_eq!(server.handle.version(), format!("v{n}"));
        let reply = server.get("/v1/model").await.ok();
        assert_eq!(reply["modelVersion"], format!("v{n}"), "the next request sees it");
    }
    done.store(true, Ordering::SeqCst);
    while let Some(ended) = askers.join_next().await {
        ended.unwrap();
    }
    let text = server.get("/metrics").await.text();
    let named: Vec<&str> = text.lines().filter(|line| line.starts_with("coterie_serving_model_info{")).collect();
    assert_eq!(named.len(), 1, "{named:?}");
    assert!(named[0].contains("version=\"v100\""), "{named:?}");
}
