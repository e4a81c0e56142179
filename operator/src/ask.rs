//! Questions to pods over HTTP, aside from reconciliations: a pod that does not answer must not hold up anything else.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde::de::DeserializeOwned;
use tokio::{sync::Semaphore, time::timeout};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// Size of an answer that is worth reading.
pub(crate) const BODY_LIMIT: usize = 64 << 10;

/// Pods asked at the same time.
const CONCURRENCY: usize = 32;

/// Asks pods on one port.
pub(crate) struct Asker {
    client: Client<HttpConnector, Empty<Bytes>>,
    permits: Semaphore,
    port: u16,
}

/// There is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    #[error("the pod's address is none: {0}")]
    Address(String),
    #[error("no answer within two seconds")]
    Timeout,
    #[error("ask the pod")]
    Request(#[from] hyper_util::client::legacy::Error),
    #[error("the pod answered with status {0}")]
    Status(http::StatusCode),
    #[error("read the pod's answer")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the pod's answer makes no sense")]
    Json(#[from] serde_json::Error),
    #[error("the answer is about {0}")]
    Other(String),
}

// === impl Asker ===

impl Asker {
    /// Connections are kept for some `interval`s.
    pub(crate) fn new(interval: Duration, port: u16) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(PATIENCE));
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(interval * 2)
            .pool_max_idle_per_host(1)
            .build(connector);
        Self { client, permits: Semaphore::new(CONCURRENCY), port }
    }

    /// The answer of the pod with this address to a question for this path.
    pub(crate) async fn ask<T: DeserializeOwned>(&self, pod_ip: &str, path: &str) -> Result<T, AskError> {
        // The semaphore is never closed.
        let _permit = self.permits.acquire().await;
        timeout(PATIENCE, self.get(pod_ip, path)).await.map_err(|_| AskError::Timeout)?
    }

    async fn get<T: DeserializeOwned>(&self, pod_ip: &str, path: &str) -> Result<T, AskError> {
        let no_address = || AskError::Address(pod_ip.to_owned());
        let address = SocketAddr::new(pod_ip.parse::<IpAddr>().map_err(|_| no_address())?, self.port);
        let uri = format!("http://{address}{path}").parse().map_err(|_| no_address())?;
        let response = self.client.get(uri).await?;
        if !response.status().is_success() {
            return Err(AskError::Status(response.status()));
        }
        let body = Limited::new(response.into_body(), BODY_LIMIT).collect().await.map_err(AskError::Body)?;
        Ok(serde_json::from_slice(&body.to_bytes())?)
    }
}
