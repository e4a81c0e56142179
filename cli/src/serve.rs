//! `coterie serve`: answers queries about a model.

use std::{net::SocketAddr, sync::Arc};

use clap::Args;
use coterie_crds::resolved::Store;
use coterie_serving::Listeners;
use tokio::net::TcpListener;

use crate::{Failure, signals, store::StoreOptions};

/// Serve a trained model: assignments, nearest clusters, statistics, health, metrics.
#[derive(Args)]
pub(crate) struct Serve {
    /// The model: a directory or URI of a version, or of an output whose newest version is taken.
    #[arg(long, value_name = "URI")]
    model: String,
    /// Address for REST, health and metrics.
    #[arg(long, value_name = "ADDR")]
    http: Option<SocketAddr>,
    /// Address for gRPC.
    #[arg(long, value_name = "ADDR")]
    grpc: Option<SocketAddr>,
    #[command(flatten)]
    store: StoreOptions,
}

impl Serve {
    pub(crate) fn execute(self) -> Result<(), Failure> {
        if self.http.is_none() && self.grpc.is_none() {
            return Err(Failure::usage(
                "nothing to listen on; give --http ADDR, --grpc ADDR or both, as in --http 127.0.0.1:8080",
            ));
        }
        let store = Store::from(self.store);
        runtime()?.block_on(serve(&self.model, &store, self.http, self.grpc, false))
    }
}

/// The async runtime of commands that serve or watch.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::transient(format!("start the runtime: {error}")))
}

/// Loads the model and serves it until asked to stop.
pub(crate) async fn serve(
    uri: &str,
    store: &Store,
    http: Option<SocketAddr>,
    grpc: Option<SocketAddr>,
    quiet: bool,
) -> Result<(), Failure> {
    let location = coterie_data::store::open(uri, store)?;
    let failed = |error: coterie_model::ModelError| Failure::from(coterie_worker::publish::failed(&location, &error));
    let path = coterie_model::locate(location.store.as_ref(), &location.path).await.map_err(failed)?;
    let model = coterie_model::read(location.store.as_ref(), &path).await.map_err(failed)?;
    let title = format!("{} {} ({})", model.name, model.version, coterie_model::digest(&model));
    let listeners = Listeners { http: listen(http).await?, grpc: listen(grpc).await? };
    if !quiet {
        eprintln!("serving {title}");
        let address = |listener: &Option<TcpListener>| listener.as_ref().and_then(|bound| bound.local_addr().ok());
        if let Some(http) = address(&listeners.http) {
            eprintln!("  REST    http://{http}/v1/model");
        }
        if let Some(grpc) = address(&listeners.grpc) {
            eprintln!("  gRPC    {grpc} coterie.v1.Query");
        }
    }
    coterie_serving::run(listeners, Arc::new(model), signals::asked())
        .await
        .map_err(|error| Failure::transient(coterie_worker::error::chain(&error)))
}

async fn listen(address: Option<SocketAddr>) -> Result<Option<TcpListener>, Failure> {
    let Some(address) = address else { return Ok(None) };
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| Failure::usage(format!("listen on {address}: {error}; choose a free address")))?;
    Ok(Some(listener))
}
