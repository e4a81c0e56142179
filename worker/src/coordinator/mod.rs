//! The coordinator of a run: plans the input, hands splits to workers, drives the run's machine, publishes.
//!
//! | module | concern |
//! |---|---|
//! | `hub` | what handlers and driver share |
//! | `service` | the tonic adapter |
//! | `driver` | step by step through the machine |
//! | [`checkpoint`] | the state in the object store |
//! | `reservation` | the version that the run will publish |
//! | `pace` | how long a pass takes |
//! | `warm` | the given centroids of a warm start |

pub mod checkpoint;
mod driver;
mod hub;
mod pace;
mod reservation;
mod service;
mod warm;

use std::{collections::BTreeSet, future::Future, sync::Arc, time::Duration};

use bytes::Bytes;
use coterie_crds::{
    resolved::{Algorithm, Init, InvalidRows, Output},
    run::{CoordinatorAddress, RunConfig},
};
use coterie_data::{
    plan::{InputPlan, Part},
    store::Location,
};
use coterie_protocol::internal::coordination_server::CoordinationServer;
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
    task::JoinHandle,
};
use tonic::transport::Server;

use self::{
    checkpoint::{Checkpoints, Saver},
    hub::{Brief, Event, Hub},
    reservation::Reservation,
    service::Service,
};
use crate::{
    error::RunError,
    machine::Machine,
    publish::{self, Provenance, places::Places, summary::Summary},
    session::Limits,
    tls,
    training::{Outcome, TrainingMachine, fitting::Fitting},
};

/// Times a split may fail for a passing reason within a step.
const SPLIT_FAILURES: u32 = 4;
/// Longest wait for the last checkpoint of a coordinator that was asked to stop.
const LAST_SAVE: Duration = Duration::from_secs(2);
/// Longest wait for workers to hear that the run is over.
const FAREWELL: Duration = Duration::from_secs(5);

/// Runs the coordinator of a run, whose workers may use `memory` bytes each, to its end. `leave_word` is told how it ended before the traces of the run are removed.
/// `shutdown` ends it early; the checkpoint then lets a successor go on.
///
/// # Errors
/// Why there is no model. Nothing is published in that case.
pub async fn run(
    config: &RunConfig,
    memory: u64,
    leave_word: impl FnOnce(&Result<Summary, RunError>) -> Result<(), RunError>,
    shutdown: impl Future<Output = ()>,
) -> Result<Summary, RunError> {
    let place = Place::open(config)?;
    let (mut held, published) = Held::find(&place).await?;
    let result = match published {
        Some(summary) => Ok(summary),
        None => train(&place, memory, &mut held, shutdown).await,
    };
    leave_word(&result)?;
    if let Some(service) = held.service.take() {
        service.farewell(&result).await;
    }
    // Last: a coordinator that dies before this finds what it held, and ends as it did.
    clean(&place, held, &result).await;
    result
}

/// A run and where its results go.
struct Place<'a> {
    config: &'a RunConfig,
    output: &'a Output,
    location: Location,
}

impl<'a> Place<'a> {
    fn open(config: &'a RunConfig) -> Result<Self, RunError> {
        let output = config.job.output.as_ref();
        let output = output.ok_or_else(|| RunError::spec("the job has no output.uri: set spec.output.uri"))?;
        Ok(Self { config, output, location: coterie_data::store::open(&output.uri, &output.store)? })
    }

    /// Where the checkpoints of the run lie.
    fn checkpoints(&self) -> Location {
        Location {
            path: self.location.path.clone().join("runs").join(self.config.run.as_str()),
            ..self.location.clone()
        }
    }
}

/// What a run holds while it goes on.
#[derive(Default)]
struct Held {
    reservation: Option<Reservation>,
    service: Option<Running>,
    /// Another coordinator has taken over: what the run left is that one's.
    replaced: bool,
}

impl Held {
    /// What an earlier incarnation held, and its last words if it has published the model.
    async fn find(place: &Place<'_>) -> Result<(Self, Option<Summary>), RunError> {
        let Some(reservation) = Reservation::find(&place.location, &place.config.run).await? else {
            return Ok((Self::default(), None));
        };
        let wanted = place.config.version.as_ref().is_none_or(|wanted| *wanted == reservation.version);
        let digest = publish::published_digest(&place.location, &reservation.version).await?;
        match (digest, &reservation.summary) {
            (Some(digest), Some(summary)) if summary.model_digest == digest => {
                tracing::info!(version = reservation.version, digest, "the run has published its model already");
                let summary = summary.clone();
                Ok((Self { reservation: Some(reservation), ..Self::default() }, Some(summary)))
            }
            (None, _) if wanted => Ok((Self { reservation: Some(reservation), ..Self::default() }, None)),
            // Another version is wanted now, or somebody published this one without asking.
            (None | Some(_), _) => {
                reservation.remove().await;
                Ok((Self::default(), None))
            }
        }
    }
}

/// Plans the input and goes through all steps to the published model.
async fn train(
    place: &Place<'_>,
    memory: u64,
    held: &mut Held,
    shutdown: impl Future<Output = ()>,
) -> Result<Summary, RunError> {
    let &Place { config, ref location, .. } = place;
    let job = &config.job;
    let plan = Arc::new(coterie_data::plan::plan(&job.source).await?);
    tracing::info!(
        objects = plan.objects.len(),
        splits = plan.splits.len(),
        dimension = plan.dimension,
        "input planned"
    );
    if let (Some(rows), InvalidRows::Fail) = (plan.rows, job.source.invalid_rows) {
        // Known before anything is read; where rows may be dropped, or the format does not tell, they are counted first.
        Fitting::check_rows(job, rows)?;
    }
    let reservation = match held.reservation.take() {
        Some(reservation) => reservation,
        None => Reservation::make(location, &config.run, config.version.as_deref()).await?,
    };
    let reservation = held.reservation.insert(reservation);
    let brief = Brief { job: json(job)?, plan: json(plan.as_ref())?, version: reservation.version.clone() };
    let (checkpoints, claimed) =
        Checkpoints::claim::<TrainingMachine>(place.checkpoints(), &brief.identity(), incarnation()).await?;
    let mut machine = match &claimed.machine {
        Some(machine) => {
            let position = machine.position();
            tracing::info!(
                stage = position.stage,
                iteration = position.iteration,
                epoch = claimed.epoch,
                "run resumed"
            );
            machine.clone()
        }
        None => {
            let initial = match &job.algorithm {
                Algorithm::KMeans(params) => match &params.init {
                    Init::WarmStart { uri } => Some(warm::centroids(uri, params.clusters, plan.dimension, job).await?),
                    Init::KMeansParallel | Init::KMeansPlusPlus | Init::Random => None,
                },
                Algorithm::Lsh(_) => None,
            };
            TrainingMachine::new(job.clone(), (plan.splits.len() as u32, plan.dimension), initial, memory)
        }
    };

    let (sender, mut events) = mpsc::unbounded_channel::<Event>();
    let limits = Limits {
        lease: config.lease_millis,
        expected_workers: job.workers as usize,
        patience: config.patience_millis,
        split_failures: SPLIT_FAILURES,
    };
    let hub = Arc::new(Hub::new(
        (config.run.clone(), claimed.epoch),
        (limits, config.relay_from_bytes),
        brief,
        weights(&plan),
        sender,
    ));
    held.service = Some(Running::start(config, Arc::clone(&hub)).await?);

    let mut saver = Saver::new(checkpoints);
    let driven = tokio::select! {
        driven = driver::drive(&hub, &mut events, &mut machine, &mut saver, &claimed) => Some(driven),
        () = shutdown => None,
    };
    let Some(driven) = driven else {
        // The workers stay: a successor resumes from the checkpoint and takes them over.
        let _ = tokio::time::timeout(LAST_SAVE, saver.finish()).await;
        return Err(RunError::transient(
            "the coordinator was asked to stop; start the run again to resume it from its checkpoint",
        ));
    };
    // The model may be published, and the run's traces removed, only by a coordinator that still owns the run.
    let owned = saver.finish().await;
    held.replaced = owned.is_err();
    driven?;
    owned?;
    finish(&hub, machine, place, reservation, &plan).await
}

/// The coordination service while it runs.
struct Running {
    hub: Arc<Hub>,
    stop: oneshot::Sender<()>,
    server: JoinHandle<Result<(), tonic::transport::Error>>,
}

impl Running {
    async fn start(config: &RunConfig, hub: Arc<Hub>) -> Result<Self, RunError> {
        let acceptor = tls::acceptor(&config.tls)?;
        let incoming = tls::incoming(listen(&config.coordinator).await?, acceptor);
        let (stop, stopped) = oneshot::channel::<()>();
        let service = CoordinationServer::new(Service(Arc::clone(&hub)))
            .max_decoding_message_size(4 * coterie_protocol::CHUNK_BYTES);
        let server = Server::builder().add_service(service).serve_with_incoming_shutdown(incoming, async {
            let _ = stopped.await;
        });
        Ok(Self { hub, stop, server: tokio::spawn(server) })
    }

    /// Lets the workers and whoever watches know how it ended. After a failure that may pass the workers hear nothing: they
    /// wait for the coordinator's successor.
    async fn farewell(self, result: &Result<Summary, RunError>) {
        let over = is_final(result);
        {
            let mut state = self.hub.lock();
            state.finished = over.then_some(result.is_err());
            state.outcome = Some(match result {
                Ok(summary) => Ok(json(summary).unwrap_or_default()),
                Err(error) => Err(error.clone()),
            });
        }
        self.hub.ring();
        let deadline = tokio::time::Instant::now() + FAREWELL;
        while over && self.hub.lock().session.live() > 0 && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let _ = self.stop.send(());
        if over {
            let _ = tokio::time::timeout(FAREWELL, self.server).await;
        }
    }
}

/// Whether a run that ended so will not be tried again.
fn is_final(result: &Result<Summary, RunError>) -> bool {
    result.as_ref().err().is_none_or(|error| !error.is_transient())
}

/// Removes the traces of a run that is over, and after a success the versions that are not kept.
async fn clean(place: &Place<'_>, held: Held, result: &Result<Summary, RunError>) {
    if !is_final(result) || held.replaced {
        return;
    }
    let Place { config, output, location } = place;
    match (result, &held.reservation) {
        (Ok(summary), _) => {
            if let Some(retention) = &config.retention {
                publish::retention::apply(location, output, &summary.model_version, retention).await;
            }
        }
        (Err(_), Some(reservation)) if output.assignments || config.job.items.is_some() => {
            // Nobody publishes this version now.
            let swept = match Places::of(output, &reservation.version) {
                Ok(places) => places.sweep(&BTreeSet::new(), &BTreeSet::new()).await,
                Err(error) => Err(error),
            };
            if let Err(error) = swept {
                tracing::warn!(%error, "rows written by the failed run were left behind");
            }
        }
        (Err(_), _) => {}
    }
    checkpoint::clear(&place.checkpoints()).await;
    if let Some(reservation) = held.reservation {
        reservation.remove().await;
    }
}

/// A number that no other coordinator has.
fn incarnation() -> u128 {
    let moment = jiff::Timestamp::now().as_nanosecond();
    let seed = format!("{moment} {} {:?}", std::process::id(), std::thread::current().id());
    let digest = blake3::hash(seed.as_bytes());
    digest.as_bytes().iter().take(16).fold(0, |number, byte| number << 8 | u128::from(*byte))
}

/// Makes and publishes the model.
async fn finish(
    hub: &Hub,
    machine: TrainingMachine,
    place: &Place<'_>,
    reservation: &mut Reservation,
    plan: &Arc<InputPlan>,
) -> Result<Summary, RunError> {
    let &Place { config, output, ref location } = place;
    let outcome = machine.outcome().ok_or_else(|| RunError::transient("the machine stopped without an outcome"))?;
    let places = Places::of(output, &reservation.version)?;
    let assignments = kept_parts(&outcome, output);
    let items = outcome.items.iter().flat_map(|items| &items.parts).map(|part| part.name.clone()).collect();
    let provenance = Provenance {
        job: config.job.clone(),
        plan: Arc::clone(plan),
        version: reservation.version.clone(),
        now: jiff::Timestamp::now(),
    };
    let model = tokio::task::block_in_place(|| publish::model(outcome, &provenance))?;
    publish::check_free(location, &model).await?;
    // What an earlier, unfinished run of the same version left is not this model's.
    places.sweep(&assignments, &items).await?;
    let uri = format!("{}/models/{}", location.uri.trim_end_matches('/'), model.version);
    let summary = Summary::new(&model, coterie_model::digest(&model), uri, hub.cost());
    reservation.announce(&summary).await?;
    publish::publish(location, &model).await?;
    tracing::info!(uri = summary.model_uri, digest = summary.model_digest, "model published");
    Ok(summary)
}

/// Names of the assignment objects that belong to the model: those of splits with rows.
fn kept_parts(outcome: &Outcome, output: &Output) -> BTreeSet<String> {
    if !output.assignments {
        return BTreeSet::new();
    }
    let ends = outcome.offsets.iter().skip(1).chain([&outcome.rows]);
    let occupied = (0u32..).zip(outcome.offsets.iter().zip(ends)).filter(|(_, (start, end))| start < end);
    occupied.map(|(split, _)| publish::rows::part_name(split)).collect()
}

/// Work of each split, in proportion.
fn weights(plan: &InputPlan) -> Vec<u64> {
    let weight = |part: &Part| match part {
        Part::RowGroup { rows, .. } => *rows,
        Part::Rows { count, .. } => *count,
        Part::Bytes { start, end } => end - start,
        Part::Batches { count, .. } => u64::from(*count),
    };
    plan.splits.iter().map(|split| weight(&split.part)).collect()
}

async fn listen(address: &CoordinatorAddress) -> Result<TcpListener, RunError> {
    let bind = match address {
        CoordinatorAddress::File(_) => "127.0.0.1:0".to_owned(),
        CoordinatorAddress::Address(address) => {
            let port = address.rsplit(':').next().unwrap_or_default();
            format!("0.0.0.0:{port}")
        }
    };
    let failed = |error: std::io::Error| RunError::transient(format!("listen on {bind}: {error}"));
    let listener = TcpListener::bind(&bind).await.map_err(failed)?;
    if let CoordinatorAddress::File(path) = address {
        let text = listener.local_addr().map_err(failed)?.to_string();
        let temporary = path.with_extension("new");
        let failed = |error: std::io::Error| RunError::transient(format!("write {}: {error}", path.display()));
        std::fs::write(&temporary, text).map_err(failed)?;
        std::fs::rename(&temporary, path).map_err(failed)?;
    }
    Ok(listener)
}

fn json<T: serde::Serialize>(value: &T) -> Result<Bytes, RunError> {
    serde_json::to_vec(value).map(Bytes::from).map_err(|error| RunError::transient(format!("encode JSON: {error}")))
}
