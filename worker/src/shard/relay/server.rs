//! The tonic adapter, for the workers below.

use std::{net::Ipv4Addr, pin::Pin};

use coterie_crds::run::{CoordinatorAddress, RELAY_PORT, RunConfig};
use coterie_protocol::{
    CHUNK_BYTES,
    internal::{
        Chunk, FetchRequest, SubmitRequest, SubmitResponse,
        relay_server::{Relay as RelayService, RelayServer},
    },
};
use futures::{Stream, StreamExt};
use tokio::{net::TcpListener, sync::oneshot};
use tonic::{Request, Response, Status, Streaming, transport::Server};

use super::{KEEP_ALIVE, Relay, station::Arrival};
use crate::{error::RunError, reduction::contribution::Reading, task::AbortOnDrop, tls};

/// Starts the server. Returns its port, and the task that it lives as long as.
///
/// # Errors
/// When the certificates cannot be used or no port is free.
pub(in crate::shard) async fn start(config: &RunConfig, relay: Relay) -> Result<(u16, AbortOnDrop), RunError> {
    let acceptor = tls::acceptor(&config.tls)?;
    let listener = listen(&config.coordinator).await;
    let (listener, port) = listener
        .and_then(|listener| listener.local_addr().map(|address| (listener, address.port())))
        .map_err(|error| RunError::transient(format!("listen for other workers: {error}")))?;
    let service = RelayServer::new(Service(relay)).max_decoding_message_size(4 * CHUNK_BYTES);
    let server = Server::builder()
        .http2_keepalive_interval(Some(KEEP_ALIVE.0))
        .http2_keepalive_timeout(Some(KEEP_ALIVE.1))
        .add_service(service)
        .serve_with_incoming(tls::incoming(listener, acceptor));
    let task = tokio::spawn(async move {
        if let Err(error) = server.await {
            tracing::warn!(%error, "this worker is not there for other workers any more");
        }
    });
    Ok((port, AbortOnDrop(task)))
}

async fn listen(coordinator: &CoordinatorAddress) -> std::io::Result<TcpListener> {
    match coordinator {
        CoordinatorAddress::File(_) => TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await,
        CoordinatorAddress::Address(_) => match TcpListener::bind((Ipv4Addr::UNSPECIFIED, RELAY_PORT)).await {
            // Several workers on one host.
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
                TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).await
            }
            bound => bound,
        },
    }
}

#[derive(Clone, Debug)]
struct Service(Relay);

#[tonic::async_trait]
impl RelayService for Service {
    type FetchStream = Pin<Box<dyn Stream<Item = Result<Chunk, Status>> + Send>>;

    async fn fetch(&self, request: Request<FetchRequest>) -> Result<Response<Self::FetchStream>, Status> {
        let request = request.into_inner();
        let fence = request.fence.ok_or_else(|| Status::invalid_argument("the request carries no fence"))?;
        let station = self.0.at(&fence, request.step).await?;
        let chunks = station.feed.follow().map(|chunk| match chunk {
            Some(data) => Ok(Chunk { data }),
            None => Err(Status::aborted("the rest of the step did not arrive here; turn to the coordinator")),
        });
        Ok(Response::new(Box::pin(chunks)))
    }

    async fn merge(&self, request: Request<Streaming<SubmitRequest>>) -> Result<Response<SubmitResponse>, Status> {
        let (header, pieces) = Reading::open(request.into_inner()).await?;
        let fence = header.fence.ok_or_else(|| Status::invalid_argument("the contribution carries no fence"))?;
        let station = self.0.at(&fence, header.step).await?;
        let (answer, answered) = oneshot::channel();
        station.arrive(fence.worker, Arrival { shares: header.shares, pieces, answer }).await?;
        drop(station);
        match answered.await {
            Ok(accepted) => Ok(Response::new(SubmitResponse { accepted })),
            Err(_dropped) => Err(Status::aborted("the merged contribution came to nothing; turn to the coordinator")),
        }
    }
}
