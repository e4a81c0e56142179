//! Models to serve, a server on free ports, and plain clients for it.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub(crate) mod client;
pub(crate) mod edits;
pub(crate) mod frames;
pub(crate) mod items;
pub(crate) mod models;
pub(crate) mod upload;

use coterie_model::Model;
use coterie_protocol::query::query_client::QueryClient;
use coterie_serving::query::Served;
use coterie_serving::{Handle, Listeners, ServeError, Server, Settings};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::transport::Channel;

/// No single step of a test takes longer, however busy the machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A server that runs until it is told to stop.
pub(crate) struct Running {
    pub(crate) http: SocketAddr,
    pub(crate) grpc: SocketAddr,
    pub(crate) handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<Result<(), ServeError>>,
}

pub(crate) async fn start(model: Model) -> Running {
    start_with(model, Settings::default()).await
}

pub(crate) async fn start_with(model: Model, settings: Settings) -> Running {
    start_served(Served::new(Arc::new(model)), settings).await
}

pub(crate) async fn start_served(served: Served, settings: Settings) -> Running {
    start_server(Server::new(served, settings), bind().await).await
}

/// A socket on a free port.
pub(crate) async fn bind() -> TcpListener {
    TcpListener::bind(("127.0.0.1", 0)).await.unwrap()
}

/// Runs a server whose gRPC is on this socket.
pub(crate) async fn start_server(server: Server, grpc: TcpListener) -> Running {
    let http = bind().await;
    let (http_address, grpc_address) = (http.local_addr().unwrap(), grpc.local_addr().unwrap());
    let handle = server.handle();
    let (stop, stopped) = oneshot::channel();
    let listeners = Listeners { http: Some(http), grpc: Some(grpc) };
    let task = tokio::spawn(server.run(listeners, async {
        let _ = stopped.await;
    }));
    Running { http: http_address, grpc: grpc_address, handle, stop: Some(stop), task }
}

impl Running {
    /// Begins the shutdown.
    pub(crate) fn stop(&mut self) {
        let _ = self.stop.take().expect("stopped once").send(());
    }

    /// Waits for the end of the shutdown.
    pub(crate) async fn ended(self) {
        tokio::time::timeout(PATIENCE, self.task).await.expect("ends").unwrap().unwrap();
    }

    pub(crate) async fn client(&self) -> QueryClient<Channel> {
        let channel = Channel::from_shared(format!("http://{}", self.grpc)).unwrap().connect().await.unwrap();
        QueryClient::new(channel)
    }

    pub(crate) async fn get(&self, path: &str) -> client::Reply {
        client::send(self.http, "GET", path, Vec::new()).await
    }

    pub(crate) async fn post(&self, path: &str, body: impl Into<Vec<u8>>) -> client::Reply {
        client::send(self.http, "POST", path, body.into()).await
    }

    /// The value of a metric's only line that starts with `name`.
    pub(crate) async fn metric(&self, name: &str) -> Option<f64> {
        let text = self.get("/metrics").await.text();
        let line = text.lines().find(|line| line.starts_with(name))?;
        line.rsplit_once(' ')?.1.parse().ok()
    }
}

/// Waits until `condition` holds.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !condition().await {
        assert!(tokio::time::Instant::now() < deadline, "never came true: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Rows as a batch of the protocol.
pub(crate) fn batch(dimension: usize, values: &[f32]) -> coterie_protocol::query::AssignBatchRequest {
    let data: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    coterie_protocol::query::AssignBatchRequest {
        vectors: Some(coterie_protocol::query::Vectors { dimension: dimension as u32, data: data.into() }),
        ..Default::default()
    }
}

impl Running {
    /// Waits until `count` requests are being answered.
    pub(crate) async fn in_flight(&self, count: u32) {
        until("requests in flight", || async {
            // The scrape counts itself.
            self.metric("coterie_serving_requests_in_flight").await == Some(f64::from(count + 1))
        })
        .await;
    }
}
