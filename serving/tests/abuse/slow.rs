//! Clients that take their time, or say nothing.

use crate::support::{PATIENCE, models, start_with};
use crate::{Watch, answered};
use coterie_serving::Settings;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Sends `head` and then `drop` after `drop`, slowly, until the server closes; gives what it said.
async fn dribble(address: SocketAddr, head: &'static str, drop: &'static [u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let (mut read, mut write) = stream.split();
    let mut said = Vec::new();
    let pouring = async {
        while write.write_all(drop).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        _ = read.read_to_end(&mut said) => {}
        () = pouring => {}
    }
    String::from_utf8_lossy(&said).into_owned()
}

/// So many connections at once.
fn crowd(count: usize, address: SocketAddr, head: &'static str, drop: &'static [u8]) -> JoinSet<String> {
    (0..count).map(|_| dribble(address, head, drop)).collect()
}

async fn all(mut crowd: JoinSet<String>) -> Vec<String> {
    let mut ends = Vec::new();
    let joined = async {
        while let Some(end) = crowd.join_next().await {
            ends.push(end.unwrap());
        }
    };
    tokio::time::timeout(PATIENCE, joined).await.expect("every connection ends");
    ends
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_that_dribble_are_cut_off() {
    let watch = Watch::begin().await;
    let settings = Settings { idle_timeout: Duration::from_millis(700), ..Settings::default() };
    let server = start_with(models::songs(), settings).await;
    let slow = crowd(500, server.http, "POST /v1/assign HTTP/1.1\r\nhost: x\r\nx-slow: ", b"a");
    for _ in 0..20 {
        answered(&server).await;
    }
    for end in all(slow).await {
        assert!(end.is_empty() || end.starts_with("HTTP/1.1 408"), "{end}");
    }
    assert!(watch.grown() < 64, "{} MiB", watch.grown());
    watch.end(&server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_dribble_keep_nobody_out() {
    let watch = Watch::begin().await;
    let settings = Settings { body_timeout: Duration::from_secs(2), ..Settings::default() };
    // More than requests are answered at once.
    let count = settings.max_in_flight as u32 + 50;
    let server = start_with(models::songs(), settings).await;
    let head = "POST /v1/assign HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n";
    let slow = crowd(count as usize, server.http, head, b" ");
    server.in_flight(count).await;
    for _ in 0..20 {
        answered(&server).await;
    }
    for end in all(slow).await {
        assert!(end.starts_with("HTTP/1.1 408"), "{end}");
    }
    assert!(watch.grown() < 64, "{} MiB", watch.grown());
    watch.end(&server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_connections_beyond_the_bound_give_way() {
    let watch = Watch::begin().await;
    let settings = Settings { max_connections: 50, idle_timeout: Duration::from_millis(200), ..Settings::default() };
    let server = start_with(models::songs(), settings).await;
    let mut silent = Vec::new();
    for address in [server.http, server.grpc] {
        for _ in 0..200 {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
    }
    // In their turn, behind all of these.
    answered(&server).await;
    for mut stream in silent {
        let mut said = Vec::new();
        let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut said)).await.expect("every connection ends");
    }
    assert!(watch.grown() < 64, "{} MiB", watch.grown());
    watch.end(&server).await;
}
