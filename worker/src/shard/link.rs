//! The connection to the coordinator: one for data, one for heartbeats, so that a large transfer never delays a sign of
//! life.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
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

use crate::{config::RunConfig, error::RunError, tls};

/// Time to establish a connection.
const CONNECT: Duration = Duration::from_secs(3);
/// Time for the answer to a heartbeat.
const HEARTBEAT: Duration = Duration::from_secs(3);
/// Largest step a worker accepts.
const STEP_CAP: usize = 1 << 30;

/// A client of the coordination service.
pub(super) type Client = CoordinationClient<Channel>;

/// Opens the two connections to wherever the coordinator is now.
///
/// # Errors
/// When it cannot be reached; try again.
pub(super) async fn connect(config: &RunConfig) -> Result<(Client, Client), RunError> {
    let address = config
        .coordinator
        .current()
        .ok_or_else(|| RunError::transient("the coordinator has not announced its address yet"))?;
    let endpoint = || -> Result<Endpoint, RunError> {
        let failed = |error: tonic::transport::Error| RunError::transient(format!("coordinator {address}: {error}"));
        Ok(Endpoint::from_shared(format!("https://{address}"))
            .map_err(failed)?
            .tls_config(tls::client(&config.tls)?)
            .map_err(failed)?
            .connect_timeout(CONNECT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(Duration::from_secs(10))
            .keep_alive_while_idle(true))
    };
    let failed =
        |error: tonic::transport::Error| RunError::transient(format!("connect to the coordinator {address}: {error}"));
    let data = endpoint()?.connect().await.map_err(failed)?;
    let pulse = endpoint()?.timeout(HEARTBEAT).connect().await.map_err(failed)?;
    Ok((CoordinationClient::new(data).max_decoding_message_size(4 * CHUNK_BYTES), CoordinationClient::new(pulse)))
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
