//! The connection to the coordinator: one for data, one for heartbeats, so that a large transfer never delays a sign of
//! life.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use coterie_crds::run::RunConfig;
use coterie_protocol::{
    CHUNK_BYTES,
    internal::{
        Chunk, Fence, FetchRequest, SubmitHeader, SubmitRequest, Work, coordination_client::CoordinationClient,
        submit_request::Part,
    },
};
use tonic::{
    Status,
    transport::{Channel, Endpoint},
};

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
const STEP_CAP: usize = 1 << 30;

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

/// Fetches a step's payload.
///
/// # Errors
/// The coordinator's status, or that the payload is too large.
pub(super) async fn fetch(client: &mut Client, fence: &Fence, step: u64) -> Result<Bytes, Status> {
    let mut chunks = client.fetch(FetchRequest { fence: Some(fence.clone()), step }).await?.into_inner();
    let mut payload = BytesMut::new();
    while let Some(chunk) = chunks.message().await? {
        if payload.len() + chunk.data.len() > STEP_CAP {
            return Err(Status::resource_exhausted(format!("step {step} exceeds {STEP_CAP} bytes")));
        }
        payload.extend_from_slice(&chunk.data);
    }
    Ok(payload.freeze())
}

/// Submits the merged partial of all splits of `work`. Returns whether it was counted.
///
/// # Errors
/// The coordinator's status.
pub(super) async fn submit(client: &mut Client, fence: &Fence, work: &Work, body: Bytes) -> Result<bool, Status> {
    let header = SubmitHeader {
        fence: Some(fence.clone()),
        step: work.step,
        splits: work.splits.clone(),
        length: body.len() as u64,
        digest: blake3::hash(&body).as_bytes().to_vec(),
    };
    let chunks = (0..body.len())
        .step_by(CHUNK_BYTES)
        .map(move |start| Part::Chunk(Chunk { data: body.slice(start..body.len().min(start + CHUNK_BYTES)) }));
    let parts = std::iter::once(Part::Header(header)).chain(chunks).map(|part| SubmitRequest { part: Some(part) });
    let parts: Vec<SubmitRequest> = parts.collect();
    Ok(client.submit(futures::stream::iter(parts)).await?.into_inner().accepted)
}
