//! `GET /v1/traffic`: what a replica tells about its answers, and how they compare with those of another model.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use coterie_serving::query::Served;
use coterie_serving::{Listeners, Server, Settings};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use support::{batch, client, models, start, until};
use tokio::net::TcpListener;

/// A server that compares its model with another, which is loaded once.
async fn start_compared(model: coterie_model::Model, other: coterie_model::Model) -> SocketAddr {
    let server = Server::new(Served::new(Arc::new(model)), Settings::default());
    started(server.with_shadow(Arc::new(other), || Box::pin(async { None }))).await
}

async fn started(server: Server) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let listeners = Listeners { http: Some(listener), grpc: None };
    tokio::spawn(server.run(listeners, std::future::pending()));
    address
}

async fn traffic(address: SocketAddr) -> Value {
    client::send(address, "GET", "/v1/traffic", Vec::new()).await.ok()
}

/// Asks about some rows and waits until they are compared.
async fn compared(address: SocketAddr, rows: &Value) -> (u64, u64) {
    let before = traffic(address).await["shadow"]["rows"].as_u64().unwrap();
    let body = json!({ "vectors": rows }).to_string();
    client::send(address, "POST", "/v1/assign", body.into()).await.ok();
    let expected = before + rows.as_array().unwrap().len() as u64;
    until("rows to be compared", || async { traffic(address).await["shadow"]["rows"] == expected }).await;
    let shadow = traffic(address).await["shadow"].clone();
    (shadow["rows"].as_u64().unwrap(), shadow["reassigned"].as_u64().unwrap())
}

#[tokio::test]
async fn queries_are_counted_and_nothing_else() {
    let server = start(models::songs()).await;
    let report = server.get("/v1/traffic").await.ok();
    assert_eq!((&report["modelVersion"], &report["requests"], &report["errors"]), (&json!("v3"), &json!(0), &json!(0)));
    assert!(report.get("shadow").is_none());

    server.post("/v1/assign", r#"{"vector": [100, 0]}"#).await.ok();
    server.post("/v1/assign", "nonsense").await;
    server.get("/metrics").await;
    server.get("/healthz/ready").await;
    server.client().await.assign_batch(batch(2, &[100.0, 0.0])).await.unwrap();
    let counted = || async { server.get("/v1/traffic").await.ok()["requests"] == 3 };
    until("three requests to be counted", counted).await;
    let report = server.get("/v1/traffic").await.ok();
    assert_eq!(report["errors"], 0, "what a caller does wrong is none");
    let counts: Vec<u64> =
        report["latency"]["counts"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).collect();
    assert!(counts.is_sorted() && counts.last() == Some(&3), "{counts:?}");
    let seconds = report["latency"]["seconds"].as_array().unwrap();
    assert_eq!(seconds.len(), counts.len());
}

#[tokio::test]
async fn the_same_model_under_another_name_reassigns_nothing() {
    let mut other = models::songs();
    other.version = "v2".to_owned();
    let address = start_compared(models::songs(), other).await;
    let rows = json!([[100, 0], [160, 0], [100, -16], [101, 1]]);
    assert_eq!(compared(address, &rows).await, (4, 0));
    assert_eq!(traffic(address).await["shadow"]["version"], "v2");
    assert_eq!(compared(address, &rows).await, (8, 0));
}

#[tokio::test]
async fn rows_that_would_move_are_counted_after_the_best_matching() {
    let address = start_compared(models::songs(), models::shifted_songs("v2", 1.0)).await;
    // In features they lie at 0, 0.5, 1.4, 1.6, 2.1 and 3. The first two clusters meet at 1.5, those of the other model at 2.5.
    let rows = json!([[100, 0], [110, 0], [128, 0], [132, 0], [142, 0], [160, 0]]);
    assert_eq!(compared(address, &rows).await, (6, 2));
}

#[tokio::test]
async fn the_other_model_goes_while_nobody_asks_and_comes_back() {
    let interest = Duration::from_millis(300);
    let settings = Settings { shadow_interest: interest, ..Settings::default() };
    let loads = Arc::new(AtomicU32::new(0));
    let again = {
        let loads = Arc::clone(&loads);
        move || -> futures::future::BoxFuture<'static, _> {
            // It cannot be had at first.
            let failed = loads.fetch_add(1, Ordering::Relaxed) == 0;
            Box::pin(async move { (!failed).then(|| Arc::new(models::shifted_songs("v2", 1.0))) })
        }
    };
    let (other, dropped) = (Arc::new(models::shifted_songs("v2", 1.0)), interest * 4);
    let memory = Arc::downgrade(&other);
    let served = Served::new(Arc::new(models::songs()));
    let address = started(Server::new(served, settings).with_shadow(other, again)).await;
    let rows = json!([[100, 0], [110, 0], [128, 0], [132, 0], [142, 0], [160, 0]]);
    assert_eq!(compared(address, &rows).await, (6, 2));
    until("the memory to be given back", || async { memory.strong_count() == 0 }).await;
    tokio::time::sleep(dropped).await;
    assert_eq!(loads.load(Ordering::Relaxed), 0, "nobody has asked");
    // What was compared counts on.
    until("the model to be back", || async {
        assert_eq!(traffic(address).await["shadow"], json!({"version": "v2", "rows": 6, "reassigned": 2}));
        loads.load(Ordering::Relaxed) == 2
    })
    .await;
    until("rows to be compared again", || async {
        client::send(address, "POST", "/v1/assign", json!({ "vectors": rows }).to_string().into()).await.ok();
        traffic(address).await["shadow"]["rows"].as_u64() > Some(6)
    })
    .await;
    assert!(memory.upgrade().is_none());
}

#[tokio::test]
async fn a_model_of_another_dimension_is_not_compared() {
    let address = start_compared(models::songs(), models::large(8, 5)).await;
    client::send(address, "POST", "/v1/assign", br#"{"vector": [100, 0]}"#.to_vec()).await.ok();
    assert!(traffic(address).await.get("shadow").is_none());
}
