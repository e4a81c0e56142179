//! Addresses that lead nowhere, and what is not even HTTP.

use crate::support::{models, start};
use crate::{check, proper, runtime};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[test]
fn rest_addresses() {
    let runtime = runtime();
    let server = runtime.block_on(start(models::songs()));
    let parts = prop::sample::select(vec![
        "v1",
        "clusters",
        "assign",
        "..",
        "%2e%2e",
        "%00",
        "%ff",
        "-1",
        "1",
        "4294967296",
        "?",
        "&",
        "=",
        "limit",
        "offset",
        "centroids=true",
        "modelVersion=v3",
        "//",
        "%",
        "*",
        ";",
        "model",
        "v2",
        "models",
        "songs",
        "versions",
        "ready",
        "infer",
        "%F0%9F%98%80",
        "~",
        "{id}",
    ]);
    let paths = prop::collection::vec(parts, 0..8)
        .prop_map(|parts| format!("/{}", parts.join("/").replace("/?/", "?").replace("/=/", "=")));
    check(1_000, &server, &runtime, |runner| {
        runner
            .run(&paths, |path| {
                if path.parse::<hyper::Uri>().is_err() {
                    return Err(TestCaseError::reject("no URI"));
                }
                let reply = runtime.block_on(server.get(&path));
                proper(&reply)
            })
            .unwrap();
    });
}

#[test]
fn what_is_not_even_http() {
    let runtime = runtime();
    let server = runtime.block_on(start(models::songs()));
    let heads = prop::sample::select(vec![
        "POST /v1/assign HTTP/1.1\r\ncontent-length: 5\r\n\r\n",
        "POST /v1/assign HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n",
        "POST /v1/assign HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        "POST /v1/assign HTTP/1.1\r\ncontent-length: 5\r\ncontent-length: 9\r\n\r\n",
        "GET /v1/model HTTP/9.9\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "",
    ]);
    let inputs = (heads, prop::collection::vec(any::<u8>(), 0..200), any::<bool>());
    check(600, &server, &runtime, |runner| {
        runner
            .run(&inputs, |(head, tail, grpc)| {
                runtime.block_on(async {
                    let address = if grpc { server.grpc } else { server.http };
                    let mut stream = TcpStream::connect(address).await.unwrap();
                    // The server may close at any point.
                    let _ = stream.write_all(head.as_bytes()).await;
                    let _ = stream.write_all(&tail).await;
                    let _ = stream.shutdown().await;
                    let mut reply = Vec::new();
                    let _ = stream.read_to_end(&mut reply).await;
                    let text = String::from_utf8_lossy(&reply).into_owned();
                    prop_assert!(!text.starts_with("HTTP/1.1 5"), "{}", text);
                    Ok(())
                })
            })
            .unwrap();
    });
}
