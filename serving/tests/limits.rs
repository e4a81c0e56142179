//! What exceeds a bound is refused at once, with a clear status, and leaves everyone else alone.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use coterie_protocol::query::{AssignRequest, GetModelRequest};
use coterie_serving::Settings;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use support::models::Random;
use support::upload::Upload;
use support::{PATIENCE, batch, models, start, start_with};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::Code;

const GOOD: &str = r#"{"vector": [160, 0]}"#;

#[tokio::test]
async fn requests_beyond_the_bound_are_shed_and_health_is_not() {
    let server = start_with(models::songs(), Settings { max_arriving: 1, ..Settings::default() }).await;
    let mut client = server.client().await;
    let upload = Upload::begin(server.http).await;
    server.in_flight(1).await;

    let reply = server.post("/v1/assign", GOOD).await;
    assert_eq!(reply.status, 429);
    assert_eq!(reply.headers["retry-after"], "1");
    assert_eq!(reply.error(), "this replica is busy: try again after a moment, or add replicas");
    let status = client.get_model(GetModelRequest {}).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(status.message(), "this replica is busy: try again after a moment, or add replicas");
    server.get("/healthz/live").await.ok();
    server.get("/healthz/ready").await.ok();

    let answer = upload.finish().await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    server.post("/v1/assign", GOOD).await.ok();
    assert_eq!(
        server.metric("coterie_serving_requests_total{protocol=\"http\",endpoint=\"assign\",code=\"429\"}").await,
        Some(1.0)
    );
}

#[tokio::test]
async fn bytes_in_flight_are_bounded() {
    let server = start_with(models::songs(), Settings { max_bytes_in_flight: 1_000, ..Settings::default() }).await;
    let mut client = server.client().await;
    let large = format!("{}{GOOD}", " ".repeat(1_000));
    assert_eq!(server.post("/v1/assign", large).await.status, 429);
    let status = client.assign_batch(batch(2, &[0.0; 300])).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    server.post("/v1/assign", format!("{}{GOOD}", " ".repeat(900))).await.ok();
    client.assign_batch(batch(2, &[0.0; 200])).await.unwrap();
}

#[tokio::test]
async fn large_bodies_are_refused() {
    let server = start_with(models::songs(), Settings { max_body_bytes: 1_000, ..Settings::default() }).await;
    let reply = server.post("/v1/assign", " ".repeat(1_001)).await;
    assert_eq!(reply.status, 413);
    assert_eq!(reply.error(), "the body has more than 1000 bytes: split it over several requests");

    // Without an announced length.
    let mut stream = TcpStream::connect(server.http).await.unwrap();
    stream.write_all(b"POST /v1/assign HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n").await.unwrap();
    stream.write_all(format!("400\r\n{}\r\n", " ".repeat(1_024)).as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");

    let mut client = server.client().await;
    let status = client.assign_batch(batch(2, &[0.0; 20_000])).await.unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange, "{status:?}");
}

#[tokio::test]
async fn many_rows_are_refused() {
    let server = start_with(models::songs(), Settings { max_rows: 2, ..Settings::default() }).await;
    let reply = server.post("/v1/assign", r#"{"vectors": [[1, 2], [1, 2], [1, 2]]}"#).await;
    assert_eq!(reply.error(), "3 vectors in one request, at most 2 are allowed: split them over several requests");
    server.post("/v1/assign", r#"{"vectors": [[1, 2], [1, 2]]}"#).await.ok();
}

#[tokio::test]
async fn a_body_that_does_not_arrive_is_given_up() {
    let settings = Settings { body_timeout: Duration::from_millis(50), ..Settings::default() };
    let server = start_with(models::songs(), settings).await;
    let answer = Upload::begin(server.http).await.answer().await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("the body did not arrive within 50ms: send it faster or in smaller pieces"), "{answer}");
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_given_up() {
    let settings = Settings { request_timeout: Duration::from_millis(50), ..Settings::default() };
    let server = start_with(models::songs(), settings).await;
    let answer = Upload::begin(server.http).await.answer().await;
    assert!(answer.starts_with("HTTP/1.1 504"), "{answer}");
    assert!(answer.contains("the request was not answered in time: send fewer vectors, or try again"), "{answer}");
}

#[tokio::test]
async fn a_grpc_callers_deadline_is_honoured() {
    let server = start_with(models::large(2_000, 64), Settings { compute_threads: 1, ..Settings::default() }).await;
    let stream = TcpStream::connect(server.grpc).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let message = prost_bytes(&batch(64, &Random(1).values(64 * 60_000)));
    let request = Request::builder()
        .method("POST")
        .uri(format!("http://{}/coterie.v1.Query/AssignBatch", server.grpc))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("grpc-timeout", "1m")
        .body(Full::new(Bytes::from(message)))
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.headers()["grpc-status"], "4", "{response:?}");
    let _ = response.into_body().collect().await;
    assert_eq!(
        server
            .metric(
                "coterie_serving_requests_total{protocol=\"grpc\",endpoint=\"assign_batch\",code=\"DEADLINE_EXCEEDED\"}"
            )
            .await,
        Some(1.0)
    );
}

/// A message as gRPC frames it.
fn prost_bytes(message: &impl tonic_prost::prost::Message) -> Vec<u8> {
    let body = message.encode_to_vec();
    [&[0][..], &(body.len() as u32).to_be_bytes(), &body].concat()
}

#[tokio::test]
async fn connections_beyond_the_bound_wait_for_a_place() {
    let server = start_with(models::songs(), Settings { max_connections: 2, ..Settings::default() }).await;
    let first = Upload::begin(server.http).await;
    let _second = Upload::begin(server.http).await;
    let address = server.http;
    let third = tokio::spawn(support::client::send(address, "GET", "/healthz/live", Vec::new()));
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!third.is_finished());
    drop(first);
    let reply = tokio::time::timeout(PATIENCE, third).await.unwrap().unwrap();
    assert_eq!(reply.status, 200);
}

#[tokio::test]
async fn silent_connections_are_closed() {
    let settings = Settings { idle_timeout: Duration::from_millis(100), ..Settings::default() };
    let server = start_with(models::songs(), settings).await;
    for sent in ["", "GET /healthz/li", "GET /healthz/live HTTP/1.1\r\nhost: x\r\nx-slow: "] {
        let mut stream = TcpStream::connect(server.http).await.unwrap();
        stream.write_all(sent.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect(sent).unwrap();
    }
    let settings_frame = "\0\0\0\u{4}\0\0\0\0\0";
    for sent in ["", "PRI * HT", &format!("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{settings_frame}")] {
        let mut stream = TcpStream::connect(server.grpc).await.unwrap();
        stream.write_all(sent.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect(sent).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_take_turns_with_everyone_else() {
    let server = start_with(models::large(1_024, 64), Settings { compute_threads: 1, ..Settings::default() }).await;
    let values = Arc::new(Random(5).values(64 * 65_000));
    let left = Arc::new(AtomicUsize::new(8));
    let mut batches = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (mut client, values, left) = (server.client().await, Arc::clone(&values), Arc::clone(&left));
        batches.spawn(async move {
            let reply = client.assign_batch(batch(64, &values)).await.unwrap().into_inner();
            left.fetch_sub(1, Ordering::SeqCst);
            assert_eq!(reply.clusters.len(), 65_000);
        });
    }
    let mut client = server.client().await;
    let mut rounds = 0;
    while left.load(Ordering::SeqCst) > 0 {
        let lone = AssignRequest { vector: values[..64].to_vec(), ..AssignRequest::default() };
        client.assign(lone).await.unwrap();
        // Large enough to queue behind the batches' pieces.
        client.assign_batch(batch(64, &values[..64 * 200])).await.unwrap();
        server.get("/healthz/live").await.ok();
        rounds += 1;
    }
    while let Some(ended) = batches.join_next().await {
        ended.unwrap();
    }
    assert!(rounds >= 25, "only {rounds} rounds of small requests were answered while batches ran");
}

#[tokio::test]
async fn bodies_need_no_content_type() {
    let server = start(models::songs()).await;
    let mut stream = TcpStream::connect(server.http).await.unwrap();
    let head = format!(
        "POST /v1/assign HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-www-form-urlencoded\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n{GOOD}",
        GOOD.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}
