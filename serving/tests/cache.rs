//! Answers that are kept, and shared through a real Redis that comes and goes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use coterie_model::items::Options;
use coterie_serving::{CacheSettings, Settings, SharedSettings, TlsSettings};
use rustls::ServerConfig;
use rustls::pki_types::PrivatePkcs8KeyDer;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use support::items::with_items;
use support::{Running, models, start_served, until};
use tokio_rustls::TlsAcceptor;

/// A Redis on a port of its own, ended with the test.
struct Redis {
    process: Child,
    port: u16,
}

impl Redis {
    fn start(port: u16) -> Self {
        let program = std::env::var("COTERIE_REDIS_SERVER").unwrap_or_else(|_| "redis-server".to_owned());
        let port_text = port.to_string();
        let process = Command::new(&program)
            .args(["--port", &port_text, "--bind", "127.0.0.1", "--save", "", "--requirepass", "secret"])
            .stdout(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("start {program}: {error}; install redis-server"));
        Self { process, port }
    }

    fn on_a_free_port() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self::start(port)
    }

    fn signal(&self, name: &str) {
        assert!(Command::new("kill").args([name, &self.process.id().to_string()]).status().unwrap().success());
    }

    async fn connection(&self) -> redis::aio::MultiplexedConnection {
        let client = redis::Client::open(format!("redis://:secret@127.0.0.1:{}/", self.port)).unwrap();
        client.get_multiplexed_async_connection().await.unwrap()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A replica, with or without a memory of its own.
async fn replica(port: Option<u16>, bytes: u64) -> Running {
    let shared = port.map(|port| SharedSettings {
        host: "127.0.0.1".to_owned(),
        port,
        tls: None,
        username: None,
        password: Some("secret".to_owned()),
        timeout: Duration::from_millis(50),
    });
    sharing_through(shared, bytes).await
}

async fn sharing_through(shared: Option<SharedSettings>, bytes: u64) -> Running {
    let rows: Vec<f32> = (0..4000).map(|i| (i * 37 % 4001) as f32 / 1000.0).collect();
    let served = with_items(models::songs(), &rows, Options { recall: 1.0, ..Options::default() }).await;
    let cache = CacheSettings { bytes, shared, ..CacheSettings::default() };
    start_served(served, Settings { cache, ..Settings::default() }).await
}

/// What stands before a Redis and speaks TLS.
struct Terminator {
    port: u16,
    /// Its certificate, which is its own authority.
    certificate: String,
    /// Clients that did not trust it, or did not speak TLS.
    refused: Arc<AtomicUsize>,
}

impl Terminator {
    async fn start(redis: u16) -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()).into();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let refused = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&refused);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (acceptor, count) = (acceptor.clone(), Arc::clone(&count));
                tokio::spawn(async move {
                    let Ok(mut near) = acceptor.accept(stream).await else {
                        count.fetch_add(1, Ordering::Relaxed);
                        return;
                    };
                    let mut far = tokio::net::TcpStream::connect(("127.0.0.1", redis)).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                });
            }
        });
        Self { port, certificate: made.cert.pem(), refused }
    }

    fn settings(&self, host: &str, tls: Option<TlsSettings>) -> SharedSettings {
        let password = Some("secret".to_owned());
        let timeout = Duration::from_millis(50);
        SharedSettings { host: host.to_owned(), port: self.port, tls, username: None, password, timeout }
    }
}

impl Running {
    async fn lookups(&self, result: &str) -> f64 {
        let name = format!("coterie_serving_cache_lookups_total{{result=\"{result}\"}}");
        self.metric(&name).await.unwrap_or_default()
    }

    async fn sharing(&self, up: f64) {
        until("sharing", || async { self.metric("coterie_serving_cache_shared_up").await == Some(up) }).await;
    }

    async fn similar(&self, id: usize) -> serde_json::Value {
        self.post("/v1/similar-items", format!("{{\"id\": {id}, \"count\": 5}}")).await.ok()
    }
}

#[tokio::test]
async fn what_was_asked_before_is_answered_from_memory() {
    let server = replica(None, 1 << 20).await;
    let first = server.similar(150).await;
    assert_eq!((server.lookups("miss").await, server.lookups("own").await), (1.0, 0.0));
    assert_eq!(server.similar(150).await, first);
    assert_eq!((server.lookups("miss").await, server.lookups("own").await), (1.0, 1.0));
    assert_ne!(server.similar(151).await["items"], first["items"]);
    // Wrong questions are refused again and again.
    for _ in 0..2 {
        assert_eq!(server.post("/v1/similar-items", r#"{"id": "nobody"}"#).await.status, 404);
    }
    assert_eq!((server.lookups("miss").await, server.lookups("own").await), (4.0, 1.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn large_models_keep_lone_assignments() {
    let server = support::start(models::large(2_000, 1_024)).await;
    let body = serde_json::json!({ "vector": vec![0.25; 1_024] }).to_string();
    let first = server.post("/v1/assign", body.clone()).await.ok();
    assert_eq!(server.post("/v1/assign", body.clone()).await.ok(), first);
    let near = server.post("/v1/nearest-clusters", body.clone()).await.ok();
    assert_eq!(server.post("/v1/nearest-clusters", body).await.ok(), near);
    assert_eq!((server.lookups("miss").await, server.lookups("own").await), (2.0, 2.0));
    // A small one is faster than the cache.
    let server = support::start(models::songs()).await;
    server.post("/v1/assign", r#"{"vector": [100, 0]}"#).await.ok();
    assert_eq!((server.lookups("miss").await, server.lookups("own").await), (0.0, 0.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_share_answers() {
    let redis = Redis::on_a_free_port();
    let (one, other) = (replica(Some(redis.port), 0).await, replica(Some(redis.port), 0).await);
    one.sharing(1.0).await;
    other.sharing(1.0).await;
    let answer = one.similar(150).await;
    assert_eq!(one.lookups("miss").await, 1.0);
    let mut connection = redis.connection().await;
    let size = || async { redis::cmd("DBSIZE").query_async::<u64>(&mut connection.clone()).await.unwrap() == 1 };
    until("the answer is shared", size).await;
    assert_eq!(other.similar(150).await, answer);
    assert_eq!((other.lookups("shared").await, other.lookups("miss").await), (1.0, 0.0));

    // What others have written there is not believed.
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query_async(&mut connection).await.unwrap();
    let left: u64 = redis::cmd("PTTL").arg(&keys[0]).query_async(&mut connection).await.unwrap();
    assert!((1..=600_000).contains(&left), "{left}");
    redis::cmd("SET").arg(&keys[0]).arg("nonsense").query_async::<()>(&mut connection).await.unwrap();
    assert_eq!(other.similar(150).await, answer);
    assert_eq!(other.lookups("miss").await, 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_shared_over_tls_with_a_server_that_is_trusted_and_no_other() {
    let redis = Redis::on_a_free_port();
    let (terminator, other) = (Terminator::start(redis.port).await, Terminator::start(redis.port).await);
    let trusting = |certificate: &str| Some(TlsSettings { ca_bundle: Some(certificate.to_owned()) });
    let settings = terminator.settings("localhost", trusting(&terminator.certificate));
    let (one, two) = (sharing_through(Some(settings.clone()), 0).await, sharing_through(Some(settings), 0).await);
    one.sharing(1.0).await;
    two.sharing(1.0).await;
    let answer = one.similar(150).await;
    let shared = || async { two.similar(150).await == answer && two.lookups("shared").await > 0.0 };
    until("the answer is shared", shared).await;
    assert_eq!(terminator.refused.load(Ordering::Relaxed), 0);

    // Another authority, the built-in ones only, another name, no encryption.
    for (host, tls) in [
        ("localhost", trusting(&other.certificate)),
        ("localhost", Some(TlsSettings::default())),
        ("127.0.0.1", trusting(&terminator.certificate)),
        ("localhost", None),
    ] {
        let before = terminator.refused.load(Ordering::Relaxed);
        let replica = sharing_through(Some(terminator.settings(host, tls.clone())), 0).await;
        until("it is refused", || async { terminator.refused.load(Ordering::Relaxed) > before }).await;
        assert_eq!(replica.metric("coterie_serving_cache_shared_up").await, Some(0.0), "{host} {tls:?}");
        assert_eq!(replica.similar(150).await, answer);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_that_dies_hangs_or_returns_costs_nothing_but_hits() {
    let mut redis = Redis::on_a_free_port();
    let server = replica(Some(redis.port), 0).await;
    server.sharing(1.0).await;
    server.similar(100).await;

    let asked = |ids: std::ops::Range<usize>| {
        let server = &server;
        async move {
            let begun = Instant::now();
            for id in ids.clone() {
                server.similar(id).await;
            }
            begun.elapsed() / ids.len() as u32
        }
    };
    // Killed: the first to notice drops the connection, and nobody waits.
    redis.signal("-KILL");
    redis.process.wait().unwrap();
    asked(101..200).await;
    server.sharing(0.0).await;
    // Back at the same address.
    redis = Redis::start(redis.port);
    server.sharing(1.0).await;
    let before = server.lookups("shared").await;
    server.similar(300).await;
    let connection = redis.connection().await;
    let stored = || async { redis::cmd("DBSIZE").query_async::<u64>(&mut connection.clone()).await.unwrap() >= 1 };
    until("answers are shared again", stored).await;
    server.similar(300).await;
    assert_eq!(server.lookups("shared").await, before + 1.0);
    // Hung: one request waits for the time-out, those after it do not.
    redis.signal("-STOP");
    let mean = asked(400..500).await;
    assert!(mean < Duration::from_millis(40), "{mean:?} for each request");
    server.sharing(0.0).await;
    redis.signal("-CONT");
    server.sharing(1.0).await;
}
