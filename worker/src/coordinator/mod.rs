//! The coordinator of a run: plans the input, hands splits to workers, drives the algorithm's machine, publishes.
//!
//! | module | concern |
//! |---|---|
//! | `hub` | what handlers and driver share |
//! | `service` | the tonic adapter |
//! | `driver` | step by step through the machine |
//! | [`checkpoint`] | the state in the object store |
//! | `warm` | the given centroids of a warm start |

pub mod checkpoint;
mod driver;
mod hub;
mod service;
mod warm;

use std::{collections::BTreeSet, future::Future, sync::Arc, time::Duration};

use bytes::Bytes;
use coterie_crds::resolved::{Init, Output};
use coterie_data::{
    plan::{InputPlan, Part},
    store::Location,
};
use coterie_protocol::internal::coordination_server::CoordinationServer;
use tokio::{net::TcpListener, sync::mpsc};
use tonic::transport::Server;

use self::{
    checkpoint::{Checkpoints, Saver},
    hub::{Event, Hub},
    service::Service,
};
use crate::{
    config::{CoordinatorAddress, RunConfig},
    error::RunError,
    kmeans::{KMeansMachine, Outcome},
    machine::Machine,
    publish::{self, Provenance, summary::Summary},
    session::Limits,
    tls,
};

/// Times a split may fail for a passing reason within a step.
const SPLIT_FAILURES: u32 = 4;
/// Longest wait for the last checkpoint of a coordinator that was asked to stop.
const LAST_SAVE: Duration = Duration::from_secs(2);
/// Longest wait for workers to hear that the run is over.
const FAREWELL: Duration = Duration::from_secs(5);

/// Runs the coordinator of a run to its end. `leave_word` is told how it ended before the traces of the run are removed.
/// `shutdown` ends it early; the checkpoint then lets a successor go on.
///
/// # Errors
/// Why there is no model. Nothing is published in that case.
pub async fn run(
    config: &RunConfig,
    leave_word: impl FnOnce(&Result<Summary, RunError>) -> Result<(), RunError>,
    shutdown: impl Future<Output = ()>,
) -> Result<Summary, RunError> {
    let job = &config.job;
    let output = job.output.as_ref().ok_or_else(|| RunError::spec("the job has no output.uri: set spec.output.uri"))?;
    let location = coterie_data::store::open(&output.uri, &output.store)?;
    let plan = Arc::new(coterie_data::plan::plan(&job.source).await?);
    tracing::info!(
        objects = plan.objects.len(),
        splits = plan.splits.len(),
        dimension = plan.dimension,
        "input planned"
    );
    let job_json = json(job)?;
    let plan_json = json(plan.as_ref())?;
    let mut identity = blake3::Hasher::new();
    for part in [&job_json[..], &plan_json[..], config.version.as_bytes(), env!("CARGO_PKG_VERSION").as_bytes()] {
        identity.update(blake3::hash(part).as_bytes());
    }
    let identity = identity.finalize().to_hex().to_string();
    let (checkpoints, claimed) =
        Checkpoints::claim::<KMeansMachine>(checkpoints_at(&location, &config.run), &identity, incarnation()).await?;
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
                coterie_crds::resolved::Algorithm::KMeans(params) => match &params.init {
                    Init::WarmStart { uri } => Some(warm::centroids(uri, params.clusters, plan.dimension, job).await?),
                    Init::KMeansParallel | Init::KMeansPlusPlus | Init::Random => None,
                },
            };
            KMeansMachine::new(job.clone(), plan.splits.len() as u32, plan.dimension, initial)
        }
    };

    let (sender, mut events) = mpsc::unbounded_channel::<Event>();
    let limits = Limits {
        lease: config.lease_millis,
        expected_workers: job.workers as usize,
        patience: config.patience_millis,
        split_failures: SPLIT_FAILURES,
    };
    let hub =
        Arc::new(Hub::new((config.run.clone(), claimed.epoch), limits, (job_json, plan_json), weights(&plan), sender));
    let listener = listen(&config.coordinator).await?;
    let incoming = tonic::transport::server::TcpIncoming::from(listener).with_nodelay(Some(true));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = Server::builder()
        .tls_config(tls::server(&config.tls)?)
        .map_err(|error| RunError::transient(format!("set up TLS: {error}")))?
        .add_service(
            CoordinationServer::new(Service(Arc::clone(&hub)))
                .max_decoding_message_size(4 * coterie_protocol::CHUNK_BYTES),
        )
        .serve_with_incoming_shutdown(incoming, async {
            let _ = stopped.await;
        });
    let server = tokio::spawn(server);

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
    let mut finished = None;
    let result = async {
        driven?;
        // The model may be published only by a coordinator that still owns the run.
        finished = Some(saver.finish().await?);
        finish(&hub, machine, config, &plan, &location).await
    }
    .await;
    leave_word(&result)?;
    if let (Some(checkpoints), Ok(_)) = (finished, &result) {
        // Last: a coordinator that dies before this resumes at the end of the run.
        checkpoints.clear().await;
    }
    farewell(&hub, &result).await;
    let _ = stop.send(());
    let _ = tokio::time::timeout(FAREWELL, server).await;
    result
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
    machine: KMeansMachine,
    config: &RunConfig,
    plan: &Arc<InputPlan>,
    location: &Location,
) -> Result<Summary, RunError> {
    let outcome = machine.outcome().ok_or_else(|| RunError::transient("the machine stopped without an outcome"))?;
    let assignments = match &config.job.output {
        Some(output) => Some((assignments_at(output, &config.version)?, kept_parts(&outcome, output))),
        None => None,
    };
    let provenance = Provenance {
        job: config.job.clone(),
        plan: Arc::clone(plan),
        version: config.version.clone(),
        now: jiff::Timestamp::now(),
    };
    let model = tokio::task::block_in_place(|| publish::model(outcome, &provenance))?;
    publish::check_free(location, &model).await?;
    if let Some((assignments, keep)) = assignments {
        // What an earlier, unfinished run of the same version left is not this model's.
        publish::assignments::sweep(&assignments, &keep).await?;
    }
    let digest = publish::publish(location, &model).await?;
    let uri = format!("{}/models/{}", location.uri.trim_end_matches('/'), model.version);
    tracing::info!(uri, digest, "model published");
    Ok(Summary::new(&model, digest, uri, hub.cost()))
}

/// Names of the assignment objects that belong to the model: those of splits with rows.
fn kept_parts(outcome: &Outcome, output: &Output) -> BTreeSet<String> {
    if !output.assignments {
        return BTreeSet::new();
    }
    let ends = outcome.offsets.iter().skip(1).chain([&outcome.rows]);
    let occupied = (0u32..).zip(outcome.offsets.iter().zip(ends)).filter(|(_, (start, end))| start < end);
    occupied.map(|(split, _)| publish::assignments::part_name(split)).collect()
}

/// Lets the workers and whoever watches know how it ended.
async fn farewell(hub: &Hub, result: &Result<Summary, RunError>) {
    {
        let mut state = hub.lock();
        state.finished = Some(result.is_err());
        state.outcome = Some(match result {
            Ok(summary) => Ok(json(summary).unwrap_or_default()),
            Err(error) => Err(error.clone()),
        });
    }
    hub.ring();
    let deadline = tokio::time::Instant::now() + FAREWELL;
    while hub.lock().session.live() > 0 && tokio::time::Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Where the checkpoints of a run lie.
fn checkpoints_at(output: &Location, run: &str) -> Location {
    Location { path: output.path.clone().join("runs").join(run), ..output.clone() }
}

/// Where a version's assignments lie.
///
/// # Errors
/// When the output's store cannot be opened.
pub fn assignments_at(output: &Output, version: &str) -> Result<Location, RunError> {
    let location = coterie_data::store::open(&output.uri, &output.store)?;
    Ok(Location { path: location.path.clone().join("assignments").join(version), ..location })
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
