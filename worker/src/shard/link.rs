//! The connection to the coordinator: one for data, one for heartbeats, so that a large transfer never delays a sign of
//! life.

use std::time::Duration;

use bytes::Buf;
use coterie_crds::run::RunConfig;
use coterie_protocol::internal::{Chunk, Fence, FetchRequest, coordination_client::CoordinationClient};
use tonic::{
    Status, Streaming,
    transport::{Channel, Endpoint},
};

use super::relay::Feed;
use crate::{
    config::current_address,
    error::{RunError, chain},
    tls,
};

/// Time to establish a connection.
const CONNECT: Duration = Duration::from_secs(3);
/// Time for the answer to a heartbeat.
const HEARTBEAT: Duration = Duration::from_secs(3);
/// Silence after a sign of life was asked for, upon which the connection counts as cut.
const SILENCE: Duration = Duration::from_secs(10);
/// Largest registration answer: it holds the job and the plan, some 100 bytes per split.
const PLAN_CAP: usize = 256 << 20;
/// Largest step a worker accepts.
pub(super) const STEP_CAP: usize = 1 << 30;

/// A client of the coordination service.
pub(super) type Client = CoordinationClient<Channel>;

/// Opens the two connections to wherever the coordinator is now.
///
/// # Errors
/// When it cannot be reached; try again.
pub(super) async fn connect(config: &RunConfig) -> Result<(Client, Client), RunError> {
    let data = channel(config, None).await?;
    Ok((CoordinationClient::new(data).max_decoding_message_size(PLAN_CAP), pulse(config).await?))
}

/// Opens a connection for short questions.
///
/// # Errors
/// When the coordinator cannot be reached; try again.
pub(super) async fn pulse(config: &RunConfig) -> Result<Client, RunError> {
    Ok(CoordinationClient::new(channel(config, Some(HEARTBEAT)).await?))
}

async fn channel(config: &RunConfig, timeout: Option<Duration>) -> Result<Channel, RunError> {
    let address = current_address(&config.coordinator)
        .ok_or_else(|| RunError::transient("the coordinator has not announced its address yet"))?;
    let failed = |error: &dyn std::error::Error| {
        RunError::transient(format!("connect to the coordinator {address}: {}", chain(error)))
    };
    let tls = tls::client(&config.tls)?.timeout(CONNECT);
    let mut endpoint = Endpoint::from_shared(format!("https://{address}"))
        .and_then(|endpoint| endpoint.tls_config(tls))
        .map_err(|error| failed(&error))?
        .connect_timeout(CONNECT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(Duration::from_secs(10))
        .keep_alive_timeout(SILENCE)
        .keep_alive_while_idle(true);
    if let Some(timeout) = timeout {
        endpoint = endpoint.timeout(timeout);
    }
    endpoint.connect().await.map_err(|error| failed(&error))
}

/// Fetches a step's payload from the coordinator into `feed`; what is there already is not taken again.
///
/// # Errors
/// The coordinator's status, or that the payload is too large.
pub(super) async fn fetch(client: &mut Client, fence: &Fence, step: u64, feed: &Feed) -> Result<(), Status> {
    let chunks = client.fetch(FetchRequest { fence: Some(fence.clone()), step }).await?.into_inner();
    receive(chunks, STEP_CAP, feed).await
}

/// Receives a step's payload; what `feed` has already is not taken again.
///
/// # Errors
/// The sender's status, or that the payload is too large.
pub(super) async fn receive(mut chunks: Streaming<Chunk>, cap: usize, feed: &Feed) -> Result<(), Status> {
    let mut known = feed.length();
    while let Some(Chunk { mut data }) = chunks.message().await? {
        let repeated = known.min(data.len());
        known -= repeated;
        data.advance(repeated);
        if feed.length() + data.len() > cap {
            return Err(Status::resource_exhausted(format!("the step exceeds {cap} bytes")));
        }
        if !data.is_empty() {
            feed.push(data);
        }
    }
    Ok(())
}
