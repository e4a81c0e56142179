//! Connections to workers above.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use coterie_protocol::internal::{Fence, FetchRequest, relay_client::RelayClient};
use tonic::{
    Status,
    transport::{Channel, Endpoint},
};

use super::{Feed, KEEP_ALIVE};
use crate::{
    shard::link::{STEP_CAP, receive},
    tls,
};

/// Time to establish a connection: those who cannot be reached are done without.
const CONNECT: Duration = Duration::from_secs(1);

/// A client of another worker.
pub(in crate::shard) type Client = RelayClient<Channel>;

/// The connections that were used last.
#[derive(Debug)]
pub(in crate::shard) struct Above {
    tls: PathBuf,
    clients: BTreeMap<String, Client>,
}

impl Above {
    /// No connection yet; the run's certificates lie in `tls`.
    pub(in crate::shard) fn new(tls: PathBuf) -> Self {
        Self { tls, clients: BTreeMap::new() }
    }

    /// A connection to the worker at `address`.
    ///
    /// # Errors
    /// When it cannot be reached.
    pub(in crate::shard) async fn client(&mut self, address: &str) -> Result<Client, Status> {
        if let Some(client) = self.clients.get(address) {
            return Ok(client.clone());
        }
        // There is one worker above at a time; others were above in trees of the past.
        self.clients.clear();
        let unreachable = |error: &dyn std::error::Error| Status::unavailable(crate::error::chain(error));
        let tls = tls::client(&self.tls).map_err(|error| unreachable(&error))?.timeout(CONNECT);
        let channel = Endpoint::from_shared(format!("https://{address}"))
            .and_then(|endpoint| endpoint.tls_config(tls))
            .map_err(|error| unreachable(&error))?
            .connect_timeout(CONNECT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEP_ALIVE.0)
            .keep_alive_timeout(KEEP_ALIVE.1)
            .connect()
            .await
            .map_err(|error| unreachable(&error))?;
        let client = RelayClient::new(channel);
        self.clients.insert(address.to_owned(), client.clone());
        Ok(client)
    }

    /// The worker at `address` has failed: the next attempt begins with a new connection.
    pub(in crate::shard) fn forget(&mut self, address: &str) {
        self.clients.remove(address);
    }

    /// Fetches a step's payload from the worker at `address` into `feed`.
    ///
    /// # Errors
    /// When it does not have it; the coordinator does.
    pub(in crate::shard) async fn fetch(
        &mut self,
        address: &str,
        fence: &Fence,
        step: u64,
        feed: &Feed,
    ) -> Result<(), Status> {
        let mut client = self.client(address).await?;
        let chunks = client.fetch(FetchRequest { fence: Some(fence.clone()), step }).await?.into_inner();
        receive(chunks, STEP_CAP, feed).await
    }
}
