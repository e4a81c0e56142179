//! Clients that mean harm are refused, cut off or waited out, in bounded memory; everyone else is answered meanwhile.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use coterie_algorithms::members::Members;
use coterie_model::items::Options;
use coterie_protocol::query::{AssignRequest, GetModelRequest, ListClustersRequest};
use coterie_serving::Settings;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::Request;
use hyper::body::{Bytes, Frame};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::net::SocketAddr;
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use support::frames::{self, frame};
use support::items::with_items;
use support::{PATIENCE, Running, client, models, start, start_served, start_with, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, MutexGuard};
use tokio::task::JoinSet;

const GOOD: &str = r#"{"vector": [160, 0]}"#;
const MIB: u64 = 1 << 20;

/// One test at a time: they measure the memory of the process, in which server and clients live.
static ALONE: Mutex<()> = Mutex::const_new(());
static PANICS: AtomicUsize = AtomicUsize::new(0);

/// What a test does alone, and what memory there was.
struct Watch {
    _alone: MutexGuard<'static, ()>,
    before: u64,
}

impl Watch {
    async fn begin() -> Self {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let usual = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                PANICS.fetch_add(1, Ordering::SeqCst);
                usual(info);
            }));
        });
        let alone = ALONE.lock().await;
        PANICS.store(0, Ordering::SeqCst);
        Self { _alone: alone, before: resident() }
    }

    /// By how much memory has grown, in MiB.
    fn grown(&self) -> u64 {
        resident().saturating_sub(self.before) / MIB
    }

    /// Whatever came before, the server goes on, and nothing has panicked.
    async fn end(self, server: &Running) {
        server.get("/healthz/live").await.ok();
        server.client().await.get_model(GetModelRequest {}).await.unwrap();
        assert_eq!(PANICS.load(Ordering::SeqCst), 0);
        server.in_flight(0).await;
    }
}

/// Bytes of memory that this process has.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

/// Lone requests get their answer, over both protocols.
async fn answered(server: &Running) {
    let reply = server.post("/v1/assign", GOOD).await.ok();
    assert_eq!(reply["assignments"][0]["cluster"], 1);
    let lone = AssignRequest { vector: vec![160.0, 0.0], ..AssignRequest::default() };
    let reply = server.client().await.assign(lone).await.unwrap().into_inner();
    assert_eq!(reply.assignment.unwrap().cluster, 1);
}

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

/// What comes of `work`, and the most memory that the process had meanwhile.
async fn peak<T>(work: impl Future<Output = T>) -> (T, u64) {
    let mut most = resident();
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            biased;
            done = &mut work => return (done, most.max(resident())),
            () = tokio::time::sleep(Duration::from_millis(1)) => most = most.max(resident()),
        }
    }
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_nobody_reads_are_bounded() {
    let watch = Watch::begin().await;
    let settings =
        Settings { max_bytes_in_flight: 64 << 20, answer_timeout: Duration::from_secs(2), ..Settings::default() };
    let server = start_with(models::large(4_096, 512), settings).await;
    let before = resident();
    let mut deaf = Vec::new();
    for _ in 0..60 {
        let mut stream = TcpStream::connect(server.http).await.unwrap();
        let head = "GET /v1/clusters?limit=4096&centroids=true HTTP/1.1\r\nhost: x\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        deaf.push(stream);
    }
    // All of them have an answer, the first bytes of which are in the kernel.
    for stream in &deaf {
        tokio::time::timeout(PATIENCE, stream.readable()).await.unwrap().unwrap();
    }
    let grown = resident().saturating_sub(before) / MIB;
    assert!(grown < 300, "{grown} MiB for answers that nobody reads");
    server.get("/healthz/live").await.ok();
    // They are let go of in time, and then others are answered.
    until("answers are given up", || async {
        server.get("/v1/clusters?limit=4096&centroids=true").await.status == 200
    })
    .await;
    drop(deaf);
    watch.end(&server).await;
}

/// A caller who reads slowly but reads gets all of a large answer, over both protocols.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_answers_arrive_whole() {
    let watch = Watch::begin().await;
    let server = start(models::large(4_096, 128)).await;
    let mut stream = TcpStream::connect(server.http).await.unwrap();
    let head = "GET /v1/clusters?limit=4096&centroids=true HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut said = Vec::new();
    let mut sip = vec![0; 300_000];
    loop {
        let count = stream.read(&mut sip).await.unwrap();
        if count == 0 {
            break;
        }
        said.extend_from_slice(&sip[..count]);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let said = String::from_utf8(said).unwrap();
    let (head, body) = said.split_once("\r\n\r\n").unwrap();
    assert!(body.len() > 4 << 20, "{} bytes are not many", body.len());
    assert!(head.contains(&format!("content-length: {}", body.len())), "{head}");
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    let rest = body["clusters"].as_array().unwrap();
    let request = ListClustersRequest { limit: 4_096, with_centroids: true, ..ListClustersRequest::default() };
    let mut client = server.client().await.max_decoding_message_size(16 << 20);
    let grpc = client.list_clusters(request).await.unwrap().into_inner().clusters;
    assert_eq!((rest.len(), grpc.len()), (4_096, 4_096));
    for (rest, grpc) in rest.iter().zip(grpc) {
        let centroid: Vec<f32> = serde_json::from_value(rest["centroid"].clone()).unwrap();
        assert_eq!(centroid, grpc.centroid);
    }
    watch.end(&server).await;
}
