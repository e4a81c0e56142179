//! Bodies without end, of deep nesting, and of very many parts.

use crate::support::items::with_items;
use crate::support::{PATIENCE, models, start, start_served, start_with};
use crate::{MIB, Watch, peak, resident};
use coterie_algorithms::members::Members;
use coterie_model::items::Options;
use coterie_serving::Settings;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_without_end_are_refused() {
    let watch = Watch::begin().await;
    let settings = Settings { max_body_bytes: 1 << 20, ..Settings::default() };
    let server = start_with(models::songs(), settings).await;
    const PIECE: usize = 64 << 10;
    for head in [
        "POST /v1/assign HTTP/1.1\r\nhost: x\r\ncontent-length: 1099511627776\r\n\r\n",
        "POST /v2/models/songs/infer HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n",
    ] {
        let mut senders = JoinSet::new();
        for _ in 0..40 {
            let address = server.http;
            senders.spawn(async move {
                let stream = TcpStream::connect(address).await.unwrap();
                let (mut read, mut write) = stream.into_split();
                let sending = tokio::spawn(async move {
                    let chunk = [b"10000\r\n", &[b' '; PIECE][..], b"\r\n"].concat();
                    let mut sent = 0;
                    let _ = write.write_all(head.as_bytes()).await;
                    while write.write_all(&chunk).await.is_ok() {
                        sent += PIECE;
                    }
                    sent
                });
                let mut said = Vec::new();
                let _ = read.read_to_end(&mut said).await;
                (String::from_utf8_lossy(&said).into_owned(), sending.await.unwrap())
            });
        }
        let ended = async {
            while let Some(ended) = senders.join_next().await {
                let (said, sent) = ended.unwrap();
                // A reset may overtake the answer when the client goes on sending.
                assert!(said.is_empty() || said.starts_with("HTTP/1.1 413"), "{said}");
                assert!(sent < 64 << 20, "{sent} bytes were taken");
            }
        };
        tokio::time::timeout(PATIENCE, ended).await.expect("every connection ends");
    }
    assert!(watch.grown() < 150, "{} MiB", watch.grown());
    watch.end(&server).await;
}

#[tokio::test]
async fn deep_nesting_is_refused_everywhere() {
    let watch = Watch::begin().await;
    let options = Options { recall: 0.9, ..Options::default() };
    let served = with_items(models::songs(), &[0.0, 0.0, 0.5, 0.0, 3.0, 1.0, 0.0, -4.0], options).await;
    let server = start_served(served, Settings::default()).await;
    let paths = ["/v1/assign", "/v1/nearest-clusters", "/v1/similar-items", "/v2/models/songs/infer"];
    for depth in [200, 5_000, 1 << 20] {
        let arrays = "[".repeat(depth);
        let objects = "{\"a\":".repeat(depth);
        for path in paths {
            for start in [
                "",
                "{\"vector\": ",
                "{\"vectors\": ",
                "{\"set\": ",
                "{\"sets\": ",
                "{\"id\": ",
                "{\"unknown\": ",
                "{\"inputs\": ",
                "{\"parameters\": ",
                "{\"inputs\": [{\"name\": \"vectors\", \"datatype\": \"FP32\", \"shape\": [1, 2], \"data\": ",
                "{\"inputs\": [{\"name\": \"vectors\", \"parameters\": {\"a\": ",
                "{\"inputs\": [], \"outputs\": [{\"name\": \"cluster_id\", \"parameters\": {\"a\": ",
            ] {
                for nested in [&arrays, &objects] {
                    let reply = server.post(path, format!("{start}{nested}")).await;
                    assert_eq!(reply.status, 400, "{path} {start}: {reply:?}");
                    reply.error();
                }
            }
        }
    }
    assert!(watch.grown() < 200, "{} MiB", watch.grown());
    watch.end(&server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_small_parts_take_little_memory() {
    let watch = Watch::begin().await;
    let server = start(models::songs()).await;
    const SIZE: usize = 8 << 20;
    for (start, part, end) in [
        ("{\"inputs\": [", "{\"name\":\"\",\"datatype\":\"\",\"shape\":[]},", ""),
        ("{\"inputs\": [], \"outputs\": [", "{\"name\":\"\"},", ""),
        ("{\"inputs\": [{\"name\":\"vectors\",\"datatype\":\"FP32\",\"shape\":[", "1,", ""),
        ("{\"inputs\": [{\"name\":\"vectors\",\"datatype\":\"FP32\",\"shape\":[1,2],\"data\":[", "[],", ""),
    ] {
        let before = resident();
        let body = format!("{start}{}{end}", part.repeat(SIZE / part.len()));
        let peak = peak(server.post("/v2/models/songs/infer", body)).await;
        let (reply, most) = peak;
        assert_eq!(reply.status, 400, "{reply:?}");
        // The body is here two or three times, with the client that sends it.
        let grown = most.saturating_sub(before) / MIB;
        assert!(grown < 10 * SIZE as u64 / MIB, "{grown} MiB for {SIZE} bytes of {part}");
    }
    watch.end(&server).await;
}

/// However short sets are, as rows they are wide.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sets_take_little_memory() {
    let watch = Watch::begin().await;
    let model = models::of(Members::Integers, models::many_sets(2, 1 << 16));
    let server = start_with(model, Settings { compute_threads: 2, ..Settings::default() }).await;
    let body = format!("{{\"sets\": [{}[65535]]}}", "[],".repeat(255));
    let before = resident();
    let asked = futures::future::join_all((0..20).map(|_| server.post("/v1/assign", body.clone())));
    let (replies, most) = peak(asked).await;
    replies.iter().for_each(|reply| assert_eq!(reply.status, 200, "{reply:?}"));
    // All rows together would have 1,280 MiB.
    let grown = most.saturating_sub(before) / MIB;
    assert!(grown < 200, "{grown} MiB");
    for (name, part) in [("set", "0,"), ("set", "\"\","), ("sets", "[],")] {
        let before = resident();
        const SIZE: usize = 8 << 20;
        let body = format!("{{\"{name}\": [{}x", part.repeat(SIZE / part.len()));
        let (reply, most) = peak(server.post("/v1/assign", body)).await;
        assert_eq!(reply.status, 400, "{reply:?}");
        let grown = most.saturating_sub(before) / MIB;
        assert!(grown < 10 * SIZE as u64 / MIB, "{grown} MiB for {SIZE} bytes of {part}");
    }
    watch.end(&server).await;
}
