//! `coterie serve`: answers queries about a model.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use clap::Args;
use coterie_crds::{resolved::Store, run::ServeConfig};
use coterie_data::ErrorClass;
use coterie_model::Model;
use coterie_serving::{Listeners, Server, Settings};
use tokio::net::TcpListener;

use crate::{Failure, signals, store::StoreOptions};

/// A replica tries for so long to load its model before it gives up; the cluster then starts it again.
const PATIENCE: Duration = Duration::from_secs(300);
/// First pause between two attempts, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(15));

/// Serve a trained model: assignments, nearest clusters, statistics, health, metrics.
#[derive(Args)]
pub(crate) struct Serve {
    /// The model: a directory or URI of a version, or of an output whose newest version is taken.
    #[arg(long, value_name = "URI", required_unless_present = "serve_config", conflicts_with = "serve_config")]
    model: Option<String>,
    /// Which model version to serve, the digest it must have, and how to reach its store, as JSON. Written by the operator.
    #[arg(long, value_name = "FILE")]
    serve_config: Option<PathBuf>,
    /// Address for REST, health and metrics.
    #[arg(long, value_name = "ADDR")]
    http: Option<SocketAddr>,
    /// Address for gRPC.
    #[arg(long, value_name = "ADDR")]
    grpc: Option<SocketAddr>,
    /// How long to go on answering after readiness is withdrawn, as in 5s, so that load balancers notice.
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = duration)]
    drain_delay: Duration,
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
        let settings = Settings { drain_delay: self.drain_delay, ..Settings::default() };
        let (http, grpc) = (self.http, self.grpc);
        runtime()?.block_on(async {
            let load = async {
                match (&self.serve_config, &self.model) {
                    (Some(path), _) => load_exactly(&read(path)?).await,
                    (None, Some(uri)) => load(uri, &Store::from(self.store)).await,
                    (None, None) => Err(Failure::usage("no model to serve; give --model URI or --serve-config FILE")),
                }
            };
            let model = tokio::select! {
                loaded = load => loaded?,
                () = signals::asked() => return Ok(()),
            };
            serve(model, http, grpc, settings, false).await
        })
    }
}

/// The async runtime of commands that serve or watch.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::transient(format!("start the runtime: {error}")))
}

/// Loads and verifies the version at `uri`, or the newest version of the output there.
pub(crate) async fn load(uri: &str, store: &Store) -> Result<Model, Failure> {
    let location = coterie_data::store::open(uri, store)?;
    let failed = |error: coterie_model::ModelError| Failure::from(coterie_worker::publish::failed(&location, &error));
    let path = coterie_model::locate(location.store.as_ref(), &location.path).await.map_err(failed)?;
    coterie_model::read(location.store.as_ref(), &path).await.map_err(failed)
}

fn read(path: &Path) -> Result<ServeConfig, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::transient(format!("read the serving configuration {}: {error}", path.display())))?;
    serde_json::from_str(&text)
        .map_err(|error| Failure::usage(format!("{} is not a serving configuration: {error}", path.display())))
}

/// Loads exactly the version that is asked for. A store that fails for a while is waited for.
async fn load_exactly(config: &ServeConfig) -> Result<Model, Failure> {
    let location = coterie_data::store::open(&config.model, &config.store)?;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let mut pause = PAUSES.0;
    let model = loop {
        let failure = match coterie_model::read(location.store.as_ref(), &location.path).await {
            Ok(model) => break model,
            Err(error) => Failure::from(coterie_worker::publish::failed(&location, &error)),
        };
        if failure.exit_code != ErrorClass::Transient.exit_code() || tokio::time::Instant::now() + pause > deadline {
            return Err(failure);
        }
        eprintln!("the model is not there yet and will be tried again: {failure}");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSES.1);
    };
    let digest = coterie_model::digest(&model);
    if digest != config.digest {
        return Err(Failure::data(format!(
            "{}: the model has digest {digest}, but {} was asked for; it was replaced by another: publish a new version \
             instead of changing one",
            config.model, config.digest
        )));
    }
    Ok(model)
}

/// Serves a model until asked to stop.
pub(crate) async fn serve(
    model: Model,
    http: Option<SocketAddr>,
    grpc: Option<SocketAddr>,
    settings: Settings,
    quiet: bool,
) -> Result<(), Failure> {
    let title = format!("{} {} ({})", model.name, model.version, coterie_model::digest(&model));
    let server = Server::new(Arc::new(model), settings);
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
    server
        .run(listeners, signals::asked())
        .await
        .map_err(|error| Failure::transient(coterie_worker::error::chain(&error)))
}

fn duration(text: &str) -> Result<Duration, String> {
    let parsed = text.parse::<jiff::SignedDuration>().ok().and_then(|duration| Duration::try_from(duration).ok());
    parsed.ok_or_else(|| format!("{text:?} is not a duration; write a number and a unit, as in 5s or 500ms"))
}

async fn listen(address: Option<SocketAddr>) -> Result<Option<TcpListener>, Failure> {
    let Some(address) = address else { return Ok(None) };
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| Failure::usage(format!("listen on {address}: {error}; choose a free address")))?;
    Ok(Some(listener))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        assert_eq!(duration("5s"), Ok(Duration::from_secs(5)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        for wrong in ["", "5", "-5s", "soon"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
