//! Frames and messages that lie, or never come.

use crate::support::frames::{self, frame};
use crate::support::{PATIENCE, Running, client, models, start, start_with};
use crate::{Watch, answered};
use coterie_serving::Settings;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::Request;
use hyper::body::{Bytes, Frame};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rapid_resets_end_their_connection() {
    let watch = Watch::begin().await;
    let server = start(models::songs()).await;
    let block = frames::call("/coterie.v1.Query/Assign");
    for _ in 0..5 {
        let (mut read, mut write) = frames::connect(server.grpc).await.into_split();
        let said = tokio::spawn(async move { frames::said(&mut read).await });
        for number in 0..50_000u32 {
            let stream = 2 * number + 1;
            let opened = frame(frames::HEADERS, frames::END_HEADERS, stream, &block);
            let reset = frame(frames::RST_STREAM, 0, stream, &8u32.to_be_bytes());
            if write.write_all(&[opened, reset].concat()).await.is_err() {
                break;
            }
            if number % 1_000 == 0 {
                answered(&server).await;
            }
        }
        let _ = write.shutdown().await;
        let said = tokio::time::timeout(PATIENCE, said).await.expect("the connection ends").unwrap();
        assert!(said.contains(&frames::GOAWAY), "{said:?}");
    }
    assert!(watch.grown() < 64, "{} MiB", watch.grown());
    watch.end(&server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_without_end_are_refused() {
    let watch = Watch::begin().await;
    let server = start(models::songs()).await;
    let (mut read, mut write) = frames::connect(server.grpc).await.into_split();
    let said = tokio::spawn(async move { frames::said(&mut read).await });
    let block = frames::call("/coterie.v1.Query/Assign");
    write.write_all(&frame(frames::HEADERS, 0, 1, &block)).await.unwrap();
    // A literal header of no use, again and again.
    let more = [&[0x00, 1, b'x', 120][..], &[b'y'; 120]].concat().repeat(100);
    let mut pieces = 0;
    while pieces < 10_000 && write.write_all(&frame(frames::CONTINUATION, 0, 1, &more)).await.is_ok() {
        pieces += 1;
    }
    assert!(pieces < 10_000, "headers of {} MiB were taken", (pieces * more.len()) >> 20);
    tokio::time::timeout(PATIENCE, said).await.expect("the connection ends").unwrap();
    assert!(watch.grown() < 64, "{} MiB", watch.grown());
    watch.end(&server).await;
}

type Body = http_body_util::combinators::BoxBody<Bytes, std::convert::Infallible>;

/// Sends a body to a gRPC call and gives the status of the answer.
async fn status(
    sender: &hyper::client::conn::http2::SendRequest<Body>,
    headers: &[(&str, &str)],
    body: Body,
) -> String {
    let mut request = Request::builder()
        .method("POST")
        .uri("http://localhost/coterie.v1.Query/AssignBatch")
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = sender.clone().send_request(request.body(body).unwrap()).await.unwrap();
    assert_eq!(response.status(), 200);
    let head = response.headers().get("grpc-status").cloned();
    let body = response.into_body().collect().await.unwrap();
    let status = head.or_else(|| body.trailers()?.get("grpc-status").cloned());
    status.expect("every answer has a status").to_str().unwrap().to_owned()
}

async fn grpc(server: &Running) -> hyper::client::conn::http2::SendRequest<Body> {
    let stream = TcpStream::connect(server.grpc).await.unwrap();
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

fn whole(parts: &[&[u8]]) -> Body {
    Full::new(Bytes::from(parts.concat())).boxed()
}

#[tokio::test]
async fn lengths_that_lie_and_compression_are_refused() {
    let watch = Watch::begin().await;
    let server = start(models::songs()).await;
    let sender = grpc(&server).await;
    let length = |length: u32| length.to_be_bytes();
    for (flag, claimed, message, headers, expected) in [
        // More than there is: within the bound, and beyond.
        (0, 100, &b"abc"[..], &[][..], &["13"][..]),
        (0, 30 << 20, b"abc", &[], &["13"]),
        (0, 1 << 30, b"abc", &[], &["11"]),
        (0, u32::MAX, b"abc", &[], &["11"]),
        // Less: the rest is no message.
        (0, 0, b"abc", &[], &["13", "3"]),
        (0, 1, b"abc", &[], &["13", "3"]),
        // Compression that nobody offered, announced or not.
        (1, 3, b"abc", &[], &["13"]),
        (1, 3, b"\x1f\x8b\x08", &[("grpc-encoding", "gzip")], &["12"]),
        (7, 3, b"abc", &[], &["13", "12"]),
    ] {
        let found = status(&sender, headers, whole(&[&[flag], &length(claimed), message])).await;
        assert!(expected.contains(&found.as_str()), "flag {flag}, length {claimed}: status {found}");
    }
    // Over REST a compressed body is just no JSON.
    let headers = [("content-encoding", "gzip".to_owned())];
    let bomb = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
    let reply = client::send_with(server.http, "POST", "/v1/assign", &headers, bomb).await;
    assert_eq!(reply.status, 400, "{reply:?}");
    watch.end(&server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn promised_messages_take_no_memory_until_they_come() {
    let watch = Watch::begin().await;
    let settings = Settings { request_timeout: Duration::from_secs(2), ..Settings::default() };
    let server = start_with(models::songs(), settings).await;
    let mut promises = JoinSet::new();
    for _ in 0..10 {
        let sender = grpc(&server).await;
        for _ in 0..20 {
            let sender = sender.clone();
            promises.spawn(async move {
                let start = Bytes::from([&[0][..], &(30u32 << 20).to_be_bytes(), b"\x0a"].concat());
                let first = futures::stream::iter([Ok(Frame::data(start))]);
                let never = futures::stream::pending();
                status(&sender, &[], StreamBody::new(futures::StreamExt::chain(first, never)).boxed()).await
            });
        }
    }
    server.in_flight(200).await;
    answered(&server).await;
    assert!(watch.grown() < 100, "{} MiB", watch.grown());
    while let Some(ended) = promises.join_next().await {
        assert_eq!(ended.unwrap(), "4");
    }
    watch.end(&server).await;
}
