//! A replica leaves without failing a request, and within its time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use coterie_protocol::inference::grpc_inference_service_client::GrpcInferenceServiceClient;
use coterie_protocol::inference::{ModelReadyRequest, ServerReadyRequest};
use coterie_serving::{Listeners, ServeError, Settings, run};
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use std::sync::Arc;
use std::time::Duration;
use support::models::Random;
use support::upload::Upload;
use support::{PATIENCE, batch, models, start, start_with, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

/// Far below the default drain timeout: a drain that waits for it would fail.
const PROMPT: Duration = Duration::from_secs(15);

#[tokio::test]
async fn readiness_goes_first_and_requests_are_still_answered() {
    let settings = Settings { drain_delay: Duration::from_secs(2), ..Settings::default() };
    let mut server = start_with(models::songs(), settings).await;
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{}", server.grpc)).unwrap();
    let mut health = HealthClient::new(endpoint.connect().await.unwrap());
    server.stop();
    until("readiness is withdrawn", || async { server.get("/healthz/ready").await.status == 503 }).await;
    let reply = server.get("/healthz/ready").await;
    assert_eq!(reply.error(), "this replica is shutting down");
    let request = HealthCheckRequest { service: "coterie.v1.Query".to_owned() };
    let status = health.check(request).await.unwrap().into_inner().status();
    assert_eq!(status, ServingStatus::NotServing);
    for path in ["/v2/health/ready", "/v2/models/songs/ready"] {
        assert_eq!(server.get(path).await.error(), "this replica is shutting down");
    }
    let mut inference = GrpcInferenceServiceClient::new(endpoint.connect().await.unwrap());
    assert!(!inference.server_ready(ServerReadyRequest {}).await.unwrap().into_inner().ready);
    let request = ModelReadyRequest { name: "songs".to_owned(), version: String::new() };
    assert!(!inference.model_ready(request).await.unwrap().into_inner().ready);
    server.get("/healthz/live").await.ok();
    server.get("/v2/health/live").await.ok();
    server.post("/v1/assign", r#"{"vector": [160, 0]}"#).await.ok();
    server.client().await.get_model(coterie_protocol::query::GetModelRequest {}).await.unwrap();
    server.ended().await;
}

#[tokio::test]
async fn requests_in_flight_are_answered_and_new_ones_refused() {
    let mut server = start(models::songs()).await;
    let upload = Upload::begin(server.http).await;
    server.in_flight(1).await;
    server.stop();
    let address = server.http;
    until("the listener is closed", || async { TcpStream::connect(address).await.is_err() }).await;
    let answer = upload.finish().await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains(r#""assignments":[{"cluster":1"#), "{answer}");
    tokio::time::timeout(PROMPT, server.ended()).await.expect("nothing is left to wait for");
}

#[tokio::test]
async fn a_batch_in_flight_is_answered() {
    let mut server = start_with(models::large(1_024, 64), Settings { compute_threads: 1, ..Settings::default() }).await;
    let mut client = server.client().await;
    let request = batch(64, &Random(3).values(64 * 65_000));
    let reply = tokio::spawn(async move { client.assign_batch(request).await });
    server.in_flight(1).await;
    server.stop();
    assert_eq!(reply.await.unwrap().unwrap().into_inner().clusters.len(), 65_000);
    tokio::time::timeout(PROMPT, server.ended()).await.expect("nothing is left to wait for");
}

#[tokio::test]
async fn idle_connections_and_health_watches_do_not_hold_it_up() {
    let mut server = start(models::songs()).await;
    let client = server.client().await;
    let mut kept_alive = TcpStream::connect(server.http).await.unwrap();
    kept_alive.write_all(b"GET /healthz/live HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut answer = [0; 15];
    kept_alive.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200 OK");
    let never_used = (TcpStream::connect(server.http).await.unwrap(), TcpStream::connect(server.grpc).await.unwrap());

    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{}", server.grpc)).unwrap();
    let mut health = HealthClient::new(endpoint.connect().await.unwrap());
    let request = HealthCheckRequest { service: String::new() };
    let mut watch = health.watch(request).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::Serving);

    server.stop();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    assert!(watch.message().await.unwrap().is_none(), "the stream ends");
    tokio::time::timeout(PROMPT, server.ended()).await.expect("nothing is left to wait for");
    drop((client, never_used));
}

#[tokio::test]
async fn a_peer_that_never_finishes_is_cut_off() {
    let settings = Settings { drain_timeout: Duration::from_millis(100), ..Settings::default() };
    let mut server = start_with(models::songs(), settings).await;
    let mut upload = Upload::begin(server.http).await;
    server.in_flight(1).await;
    server.stop();
    tokio::time::timeout(PROMPT, server.ended()).await.expect("the drain is bounded");
    let answer = tokio::time::timeout(PATIENCE, upload.answer()).await.unwrap();
    assert_eq!(answer, "");
}

#[tokio::test]
async fn either_listener_is_enough_and_one_is_needed() {
    let model = Arc::new(models::songs());
    let none = Listeners { http: None, grpc: None };
    let error = run(none, Arc::clone(&model), std::future::pending()).await.unwrap_err();
    assert!(matches!(error, ServeError::NoListener));
    for http in [true, false] {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let listeners = if http {
            Listeners { http: Some(listener), grpc: None }
        } else {
            Listeners { http: None, grpc: Some(listener) }
        };
        run(listeners, Arc::clone(&model), std::future::ready(())).await.unwrap();
    }
}

/// Asks again and again over one connection until the server asks for its end, then over another, for `length`.
async fn hammer(address: std::net::SocketAddr, length: Duration) -> (usize, usize) {
    let deadline = tokio::time::Instant::now() + length;
    let (mut answers, mut closes) = (0, 0);
    while tokio::time::Instant::now() < deadline {
        let stream = TcpStream::connect(address).await.expect("a replica that drains takes new connections");
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        let driver = tokio::spawn(connection);
        while tokio::time::Instant::now() < deadline {
            let body = Full::new(Bytes::from_static(br#"{"vector": [160, 0]}"#));
            let request = Request::post("/v1/assign").header("host", "x").body(body).unwrap();
            sender.ready().await.expect("a connection ends only after its peer was told");
            let response = sender.send_request(request).await.expect("every request is answered");
            assert_eq!(response.status(), 200);
            let close = response.headers().get("connection").is_some_and(|value| value == "close");
            response.into_body().collect().await.unwrap();
            answers += 1;
            if close {
                closes += 1;
                break;
            }
        }
        driver.abort();
    }
    (answers, closes)
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_that_keep_connections_move_on_without_a_failed_request() {
    let settings = Settings { drain_delay: Duration::from_secs(3), ..Settings::default() };
    let mut server = start_with(models::songs(), settings).await;
    let address = server.http;
    let callers: Vec<_> = (0..4).map(|_| tokio::spawn(hammer(address, Duration::from_secs(2)))).collect();
    let mut grpc = server.client().await;
    let grpc = tokio::spawn(async move {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(2);
        while tokio::time::Instant::now() < deadline {
            grpc.assign_batch(batch(2, &[160.0, 0.0])).await.expect("every call is answered");
        }
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    server.stop();
    for caller in callers {
        let (answers, closes) = caller.await.unwrap();
        assert!(closes >= 1 && answers > closes, "{answers} answers, {closes} of them with an end");
    }
    grpc.await.unwrap();
    tokio::time::timeout(PROMPT, server.ended()).await.expect("nothing is left to wait for");
}
