//! `coterie serve`: answers queries about a model.

mod cache;
mod finding;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use clap::Args;
use coterie_crds::{
    resolved::{Items, Store},
    run::{ServeConfig, ShadowConfig},
};
use coterie_data::{ErrorClass, store::Location};
use coterie_model::{
    Model,
    items::{ItemIndex, ItemsError, Options, Shard, Stop},
};
use coterie_serving::{Listeners, Server, Settings, query::Served};
use tokio::net::TcpListener;

use crate::{Failure, signals, store::StoreOptions};
use cache::{CacheOptions, cache_settings};
use finding::{FindingOptions, table_options};

/// A replica tries for so long to load its model before it gives up; the cluster then starts it again.
const PATIENCE: Duration = Duration::from_secs(300);
/// First pause between two attempts, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(15));

/// What stands for the number of a shard in an address.
const SHARD: &str = "{shard}";

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
    /// Answer questions for similar items, from an index of the model's rows in this directory; it is made when the model is
    /// first served.
    #[arg(long, value_name = "DIR")]
    items_directory: Option<PathBuf>,
    #[command(flatten)]
    finding: FindingOptions,
    /// The shard of the items that this replica holds, counted from 0, and how many there are: where one replica has no room for all items,
    /// several hold a shard each.
    #[arg(long, value_name = "NUMBER/SHARDS", requires_all = ["items_directory", "peers", "grpc"])]
    shard: Option<Shard>,
    /// Where the replicas of each shard answer gRPC, with {shard} in place of its number, as in songs-{shard}:8081; a name may stand for
    /// several replicas, and several may be given with commas between.
    #[arg(long, value_name = "HOST:PORT", requires = "shard", value_delimiter = ',', value_parser = peer)]
    peers: Vec<String>,
    #[command(flatten)]
    cache: CacheOptions,
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
        let settings = Settings { drain_delay: self.drain_delay, cache: self.cache.settings()?, ..Settings::default() };
        let (http, grpc) = (self.http, self.grpc);
        let directory = self.items_directory;
        let shard = self.shard.unwrap_or_default();
        let peers = (!shard.is_whole()).then(|| addresses(&self.peers, shard.of()));
        let asked = directory.is_some().then(|| self.finding.items()).transpose()?;
        runtime()?.block_on(async {
            let load = async {
                let mut shadow = None;
                let (loaded, items, cache) = match (&self.serve_config, &self.model) {
                    (Some(path), _) => {
                        let ServeConfig { model, digest, store, items, cache, shadow: other } = read(path)?;
                        let loaded = load_exactly(&model, &digest, &store).await?;
                        if let Some(other) = other {
                            shadow = load_shadow(&other).await.map(|model| (model, other));
                        }
                        (loaded, items.map(Items::from), cache)
                    }
                    (None, Some(uri)) => (load(uri, &Store::from(self.store)).await?, asked, None),
                    (None, None) => {
                        return Err(Failure::usage("no model to serve; give --model URI or --serve-config FILE"));
                    }
                };
                Ok((served(loaded, items, shard, directory.as_deref(), false).await?, shadow, cache))
            };
            let (served, shadow, cache) = tokio::select! {
                loaded = load => loaded?,
                () = signals::asked() => return Ok(()),
            };
            let cache = cache.map_or(settings.cache, cache_settings);
            serve(served, (shadow, peers), http, grpc, Settings { cache, ..settings }, false).await
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

/// A model, and where its version lies.
pub(crate) struct Loaded {
    model: Model,
    location: Location,
}

/// Asks to stop what is going on elsewhere when whoever waits for it is gone.
#[derive(Default)]
struct StopOnDrop(Stop);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.ask();
    }
}

/// The model made ready to be served, with a shard of its items where they are asked for. Once the future is dropped, an index
/// that is not finished is given up.
pub(crate) async fn served(
    loaded: Loaded,
    items: Option<Items>,
    shard: Shard,
    directory: Option<&Path>,
    quiet: bool,
) -> Result<Served, Failure> {
    let Loaded { model, location } = loaded;
    let Some((items, directory)) = items.zip(directory) else { return Ok(Served::new(Arc::new(model))) };
    if !quiet {
        eprintln!("preparing the items of {} {}", model.name, model.version);
    }
    let options = Options { recall: items.recall, tables: table_options(items), shard };
    let (place, directory) = (location.clone(), directory.to_owned());
    let handle = tokio::runtime::Handle::current();
    let waiting = StopOnDrop::default();
    let stop = waiting.0.clone();
    // Ends with this future, whatever it waits for.
    let (_needed, dropped) = tokio::sync::oneshot::channel::<()>();
    // It computes for seconds: other tasks go on meanwhile.
    let opened = tokio::task::spawn_blocking(move || {
        let begun = std::time::Instant::now();
        let index = handle.block_on(async {
            tokio::select! {
                index = ItemIndex::open(&place.store, &place.path, &model, &directory, options, &stop) => index,
                _ = dropped => Err(ItemsError::Interrupted),
            }
        });
        tracing::info!(seconds = begun.elapsed().as_secs_f64(), "item index opened");
        (index, model)
    });
    let (index, model) = opened.await.map_err(|error| Failure::transient(format!("open the items: {error}")))?;
    let index = index.map_err(|error| Failure::items(&location.uri, &error))?;
    Ok(Served::new(Arc::new(model)).with_items(index))
}

/// Loads and verifies the version at `uri`, or the newest version of the output there.
pub(crate) async fn load(uri: &str, store: &Store) -> Result<Loaded, Failure> {
    let location = coterie_data::store::open(uri, store)?;
    let failed = |error: coterie_model::ModelError| Failure::from(coterie_worker::publish::failed(&location, &error));
    let path = coterie_model::locate(location.store.as_ref(), &location.path).await.map_err(failed)?;
    let model = coterie_model::read(location.store.as_ref(), &path).await.map_err(failed)?;
    Ok(Loaded { model, location: Location { path, ..location } })
}

fn read(path: &Path) -> Result<ServeConfig, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::transient(format!("read the serving configuration {}: {error}", path.display())))?;
    serde_json::from_str(&text)
        .map_err(|error| Failure::usage(format!("{} is not a serving configuration: {error}", path.display())))
}

/// Loads exactly the version that is asked for. A store that fails for a while is waited for.
async fn load_exactly(uri: &str, expected: &str, store: &Store) -> Result<Loaded, Failure> {
    let location = coterie_data::store::open(uri, store)?;
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
    verified(uri, expected, &model)?;
    Ok(Loaded { model, location })
}

/// Whether a model is the one that is asked for.
fn verified(uri: &str, expected: &str, model: &Model) -> Result<(), Failure> {
    let digest = coterie_model::digest(model);
    if digest != expected {
        return Err(Failure::data(format!(
            "{uri}: the model has digest {digest}, but {expected} was asked for; it was replaced by another: publish a new \
             version instead of changing one"
        )));
    }
    Ok(())
}

/// A model to compare answers with, and where it is loaded from again.
pub(crate) type Compared = (Arc<Model>, ShadowConfig);

/// The model to compare answers with. Without it a replica serves all the same.
async fn load_shadow(config: &ShadowConfig) -> Option<Arc<Model>> {
    let ShadowConfig { model: uri, digest, store } = config;
    let load = async {
        let model = load(uri, store).await?.model;
        verified(uri, digest, &model)?;
        Ok::<_, Failure>(model)
    };
    let loaded = load.await.map(Arc::new);
    loaded.inspect_err(|failure| tracing::warn!(uri, %failure, "nothing to compare with could be loaded")).ok()
}

/// Serves a model until asked to stop, compared with another if there is one, beside the replicas of other shards if there are any.
pub(crate) async fn serve(
    served: Served,
    (shadow, peers): (Option<Compared>, Option<Vec<Vec<String>>>),
    http: Option<SocketAddr>,
    grpc: Option<SocketAddr>,
    settings: Settings,
    quiet: bool,
) -> Result<(), Failure> {
    let title = format!("{} {} ({})", served.model().name, served.version(), served.digest());
    let listeners = Listeners { http: listen(http).await?, grpc: listen(grpc).await? };
    if let Some(index) = served.items() {
        let replaced = index.replaced().clone();
        tokio::task::spawn_blocking(move || match replaced.remove() {
            Ok(removed) => {
                removed.iter().for_each(|file| tracing::info!(file = %file.display(), "old item index removed"))
            }
            Err(error) => tracing::warn!(%error, "cannot look for old item indexes"),
        });
    }
    let mut server = Server::new(served, settings);
    if let Some((model, config)) = shadow {
        let config = Arc::new(config);
        server = server.with_shadow(model, move || {
            let config = Arc::clone(&config);
            Box::pin(async move { load_shadow(&config).await })
        });
    }
    if let Some(peers) = peers {
        server = server.with_peers(peers);
    }
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

/// A number and a unit, as in 500ms.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let parsed = text.parse::<jiff::SignedDuration>().ok().and_then(|duration| Duration::try_from(duration).ok());
    parsed.ok_or_else(|| format!("{text:?} is not a duration; write a number and a unit, as in 5s or 500ms"))
}

/// A host and a port, as in `localhost:6379`.
fn host_and_port(text: &str) -> Result<(String, u16), String> {
    let parts = text.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
    match parts {
        Some((host, port)) if !host.is_empty() => Ok((host.to_owned(), port)),
        Some(_) | None => Err(format!("{text:?} is no address; write a host and a port, as in localhost:6379")),
    }
}

/// An address with the shard's number left open.
fn peer(text: &str) -> Result<String, String> {
    host_and_port(&text.replace(SHARD, "0"))?;
    if text.contains(SHARD) {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "{text:?} is the same for every shard; write {SHARD} in place of its number, as in songs-{SHARD}:8081"
        ))
    }
}

/// The addresses of the replicas of each of so many shards.
fn addresses(peers: &[String], shards: u32) -> Vec<Vec<String>> {
    let of = |number: u32| peers.iter().map(|peer| peer.replace(SHARD, &number.to_string())).collect();
    (0..shards).map(of).collect()
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
    fn an_address_is_one_for_each_shard() {
        let peers = ["songs-{shard}.music.svc:8081", "10.0.0.7:808{shard}"].map(|text| peer(text).unwrap());
        assert_eq!(
            addresses(&peers, 2),
            [["songs-0.music.svc:8081", "10.0.0.7:8080"], ["songs-1.music.svc:8081", "10.0.0.7:8081"]]
        );
        for (wrong, words) in
            [("songs:8081", "in place of its number"), ("songs-{shard}", "host and a port"), ("", "host")]
        {
            let error = peer(wrong).unwrap_err();
            assert!(error.contains(words), "{wrong}: {error}");
        }
    }

    #[test]
    fn durations_have_units() {
        assert_eq!(duration("5s"), Ok(Duration::from_secs(5)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        for wrong in ["", "5", "-5s", "soon"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
