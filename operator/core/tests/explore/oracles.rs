//! What must hold: at every plan, at every write, and at the end.

use std::collections::BTreeSet;
use std::sync::Arc;

use coterie_crds::names::{annotation, condition, label};
use coterie_crds::spec::{ClusteringJobSpec, ConcurrencyPolicy, MetricType};
use coterie_crds::status::{ClusteringJobStatus, RunState, Trigger};
use coterie_crds::{ClusteringJob, spec};
use coterie_operator_core::plan::{Kind, Object};
use coterie_operator_core::{Action, Observed, Plan};
use k8s_openapi::api::{
    apps::v1::Deployment,
    autoscaling::v2::HorizontalPodAutoscaler,
    batch::v1::Job,
    core::v1::{ConfigMap, Pod, Secret, Service},
    networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::apiserver::{Server, Stored};
use super::deployments::{TOO_MUCH_MEMORY, available, serves};
use super::jobs::is_active;
use super::kstatus::{self, Verdict};
use super::operator::{NAME, describe};
use super::training::{BROKEN, Models, Outcome, outcome};
use super::user::{IMPOSSIBLE_CRON, LOCAL_SOURCE};

/// The types of conditions that every status has.
const CONDITIONS: [&str; 6] = [
    condition::READY,
    condition::RECONCILING,
    condition::STALLED,
    condition::TRAINED,
    condition::SERVING,
    condition::SUSPENDED,
];

/// Fails with a message unless something holds.
macro_rules! must {
    ($holds:expr, $($message:tt)+) => {
        if !$holds {
            return Err(format!($($message)+));
        }
    };
}

/// Whether a condition is true.
pub fn holds(status: &ClusteringJobStatus, kind: &str) -> bool {
    status.condition(kind).is_some_and(|condition| condition.status == "True")
}

/// Digest of the model that a spec asks for.
pub fn digest(spec: &ClusteringJobSpec) -> String {
    let metric = match spec.metric.kind {
        MetricType::Euclidean => "Euclidean",
        MetricType::Cosine => "Cosine",
    };
    format!("blake3:k{}-s{}-{metric}-{}", clusters(spec), spec.seed, spec.source.uri.0)
}

fn clusters(spec: &ClusteringJobSpec) -> i32 {
    spec.algorithm.k_means.as_ref().map(|parameters| parameters.clusters).unwrap_or_default()
}

/// What a spec must come to, whatever happens on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destiny {
    /// It cannot be acted on.
    Invalid,
    /// It may have a model or not: nothing is started any more.
    Suspended,
    /// Its runs fail.
    Failed,
    /// Its model misses a gate.
    Rejected,
    /// Its model never answers.
    Unservable,
    /// Everything is there.
    Ready,
}

/// The destiny of a spec.
pub fn destiny(spec: &ClusteringJobSpec) -> Destiny {
    let impossible = spec.schedule.as_ref().is_some_and(|schedule| schedule.cron == IMPOSSIBLE_CRON);
    if spec.source.uri.0 == LOCAL_SOURCE || spec.output.is_none() || impossible {
        return Destiny::Invalid;
    }
    if spec.suspend {
        return Destiny::Suspended;
    }
    let clusters = usize::try_from(clusters(spec)).unwrap_or_default();
    let silhouette = match outcome(clusters) {
        Outcome::Model(silhouette) => silhouette,
        Outcome::Flaky(failures) if failures <= spec.workers.max_restarts => 0.5,
        Outcome::Hangs if spec.workers.active_deadline_seconds.is_none() => 0.5,
        Outcome::Flaky(_) | Outcome::Fails(_) | Outcome::Hangs => return Destiny::Failed,
    };
    if !accepts(spec, silhouette) {
        return Destiny::Rejected;
    }
    let unservable =
        |serving: &spec::Serving| clusters == BROKEN || serving.resources.memory.as_deref() == Some(TOO_MUCH_MEMORY);
    if spec.serving.as_ref().is_some_and(unservable) { Destiny::Unservable } else { Destiny::Ready }
}

fn accepts(spec: &ClusteringJobSpec, silhouette: f64) -> bool {
    spec.evaluation.gates.min_silhouette.as_ref().and_then(spec::Decimal::value).is_none_or(|least| silhouette >= least)
}

/// The end of a world as a user sees it, without what differs from history to history: numbers, times, and what an unfinished wish left behind.
/// `None`: the resource is gone.
pub fn face(server: &Server) -> Option<Vec<String>> {
    let job = server.get::<ClusteringJob>(NAME)?;
    let status = job.status.as_ref()?;
    let destiny = destiny(&job.spec);
    let kinds: &[&str] = match destiny {
        Destiny::Ready => &CONDITIONS,
        Destiny::Suspended => &[condition::SUSPENDED],
        Destiny::Invalid | Destiny::Failed | Destiny::Rejected | Destiny::Unservable => {
            &[condition::READY, condition::RECONCILING, condition::STALLED, condition::SUSPENDED]
        }
    };
    let mut face: Vec<String> = kinds
        .iter()
        .filter_map(|kind| status.condition(kind))
        .map(|condition| format!("{}={} {}", condition.type_, condition.status, condition.reason))
        .collect();
    if destiny == Destiny::Ready {
        face.extend(status.model.as_ref().map(|model| format!("{} {:?}", model.digest, model.retrain_token)));
        // An autoscaler keeps what it has, within its bounds.
        let fixed = job.spec.serving.as_ref().is_some_and(|serving| serving.autoscaling.is_none());
        let serving = status.serving.as_ref().filter(|_| fixed);
        face.extend(serving.map(|serving| format!("{} of {}", serving.ready_replicas, serving.replicas)));
        face.extend(server.all::<NetworkPolicy>().keys().map(|name| format!("policy {name}")));
    }
    Some(face)
}

/// What must hold whenever a plan is made.
pub fn plan(observed: &Observed, plan: &Plan) -> Result<(), String> {
    let mut job = observed.job.clone();
    if job.metadata.deletion_timestamp.is_some() {
        must!(
            plan.status.is_none() && plan.actions.is_empty(),
            "writes for a job that is being deleted: {:?}",
            plan.actions
        );
        return Ok(());
    }
    if let Some(status) = &plan.status {
        job.status = Some(status.clone());
    }
    let before = observed.job.status.as_ref();
    let idle = plan.status.is_some() && plan.status.as_ref() == before && plan.actions.is_empty();
    must!(!idle, "the status is written again for nothing");
    let status = job.status.as_ref().ok_or("no status was written")?;
    must!(
        Some(status.observed_generation) == job.metadata.generation,
        "observedGeneration {} at generation {:?}",
        status.observed_generation,
        job.metadata.generation
    );
    conditions(before, status)?;
    if holds(status, condition::READY) {
        ready(observed, status)?;
    }
    if kstatus::verdict(&job) == Verdict::Current {
        // The model in service is as good as before while the schedule's next ones are made.
        let scheduled = status.run.as_ref().is_some_and(|run| run.trigger == Trigger::Schedule);
        let exempt =
            |meta: &ObjectMeta| scheduled && meta.labels.as_ref().is_some_and(|labels| labels.contains_key(label::RUN));
        let makes = |action: &&Action| match action {
            Action::Delete(_) => false,
            Action::CreateIdentity(meta) => !exempt(meta),
            Action::Create(object) | Action::Apply(object) => !exempt(object.metadata()),
        };
        let pending: Vec<String> = plan.actions.iter().filter(makes).map(describe).collect();
        must!(pending.is_empty(), "Ready with pending writes: {pending:?}");
    }
    traffic(observed, plan)
}

fn conditions(before: Option<&ClusteringJobStatus>, status: &ClusteringJobStatus) -> Result<(), String> {
    must!(status.conditions.len() == CONDITIONS.len(), "conditions: {:?}", status.conditions);
    for kind in CONDITIONS {
        let condition = status.condition(kind).ok_or_else(|| format!("condition {kind} is missing"))?;
        must!(
            condition.observed_generation == Some(status.observed_generation),
            "{kind} has another observedGeneration"
        );
        must!(!condition.reason.is_empty(), "{kind} has no reason");
        if let Some(old) = before.and_then(|before| before.condition(kind)) {
            let (moved, changed) =
                (old.last_transition_time != condition.last_transition_time, old.status != condition.status);
            must!(moved <= changed, "the transition time of {kind} moved without a transition");
        }
    }
    must!(
        !(holds(status, condition::RECONCILING) && holds(status, condition::STALLED)),
        "both Reconciling and Stalled are true"
    );
    must!(!(holds(status, condition::READY) && holds(status, condition::STALLED)), "both Ready and Stalled are true");
    Ok(())
}

/// Ready must be true in every sense.
fn ready(observed: &Observed, status: &ClusteringJobStatus) -> Result<(), String> {
    let spec = &observed.job.spec;
    let model = status.model.as_ref().ok_or("Ready without a model")?;
    must!(model.digest == digest(spec), "Ready with model {}, but {} is asked for", model.digest, digest(spec));
    must!(model.retrain_token == spec.retrain_token, "Ready with a model of another retrain token");
    let silhouette = model.metrics.silhouette.as_ref().and_then(|text| text.parse().ok()).unwrap_or(0.0);
    must!(accepts(spec, silhouette), "Ready with a model that misses a gate");
    if spec.serving.is_some() {
        let selected = observed
            .children
            .services
            .iter()
            .find(|service| service.metadata.name.as_deref() == Some(NAME))
            .and_then(selected);
        must!(selected == Some(&model.version), "Ready, but the Service selects {selected:?}, not {}", model.version);
        let serving = deployment(&observed.children.deployments, &model.version);
        must!(
            serving.is_some_and(|serving| available(serving) > 0),
            "Ready, but no replica of {} answers",
            model.version
        );
    }
    Ok(())
}

fn selected(service: &Service) -> Option<&String> {
    service.spec.as_ref()?.selector.as_ref()?.get(label::MODEL_VERSION)
}

fn version(deployment: &Deployment) -> Option<&String> {
    deployment.metadata.labels.as_ref()?.get(label::MODEL_VERSION)
}

fn deployment<'a>(deployments: &'a [Deployment], wanted: &str) -> Option<&'a Deployment> {
    deployments.iter().find(|deployment| version(deployment).is_some_and(|version| version == wanted))
}

/// The Service is never moved from replicas that answer to some that do not, and those it selects are not removed.
fn traffic(observed: &Observed, plan: &Plan) -> Result<(), String> {
    let deployments = &observed.children.deployments;
    let answers = |wanted: &String| deployment(deployments, wanted).is_some_and(|found| available(found) > 0);
    let service = observed.children.services.iter().find(|service| service.metadata.name.as_deref() == Some(NAME));
    let before = service.and_then(selected);
    for action in &plan.actions {
        match action {
            Action::Apply(Object::Service(service)) if service.metadata.name.as_deref() == Some(NAME) => {
                let after = selected(service).ok_or("the Service selects no version")?;
                let moved = before != Some(after);
                let others = deployments.iter().any(|other| available(other) > 0 && version(other) != Some(after));
                must!(!moved || answers(after) || !others, "the Service is pointed at {after}, where nothing answers");
            }
            Action::Delete(deletion)
                if deletion.object.kind == Kind::Deployment && observed.job.spec.serving.is_some() =>
            {
                let gone = deployments
                    .iter()
                    .find(|d| d.metadata.name.as_ref() == Some(&deletion.object.name))
                    .and_then(version);
                must!(
                    gone.is_none() || before != gone,
                    "the Deployment that the Service selects, {gone:?}, is deleted"
                );
            }
            _ => {}
        }
    }
    Ok(())
}

/// What must hold on the server after every write of an operator. A leader that was paused may create what is cancelled already, until the next one
/// sees it.
pub fn server(server: &Server, models: &Models, written: &Action, rivalry: bool) -> Result<(), String> {
    let Some(job) = server.get::<ClusteringJob>(NAME) else { return Ok(()) };
    if let Action::Create(Object::ConfigMap(record)) = written
        && record.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(label::RUN))
        && owned(record.as_ref(), job)
    {
        answered_once(server, job, record)?;
    }
    let created = matches!(written, Action::Create(Object::Job(_))) && !rivalry;
    let policy = job.spec.schedule.as_ref().map(|schedule| schedule.concurrency_policy);
    if created && policy != Some(ConcurrencyPolicy::Allow) {
        let active: Vec<&String> = server
            .all::<Job>()
            .iter()
            .filter(|(_, run)| is_active(run) && owned(run.as_ref(), job))
            .map(|(name, _)| name)
            .collect();
        must!(active.len() <= 1, "runs are active at the same time: {active:?}");
    }
    if let Some(service) = server.get::<Service>(NAME)
        && job.spec.serving.is_some()
        && let Some(version) = selected(service)
        && let Some(deployment) = server.get::<Deployment>(&format!("{NAME}-{version}"))
        && available(deployment) > 0
        && let Some(config) = serves(server, deployment)
    {
        must!(models.exists(&config.model), "the model in service, {}, was removed from the store", config.model);
    }
    Ok(())
}

/// No run is made for what the run before it answers already, unless that was cancelled or its outcome was lost.
fn answered_once(server: &Server, job: &Arc<ClusteringJob>, record: &ConfigMap) -> Result<(), String> {
    let of =
        |record: &ConfigMap, key: &str| record.metadata.annotations.as_ref().and_then(|notes| notes.get(key).cloned());
    let name = record.metadata.name.clone().unwrap_or_default();
    let number: Option<i64> = name.rsplit_once("-r").and_then(|(_, number)| number.parse().ok());
    let Some(before) = number.map(|number| format!("{NAME}-r{}", number - 1)) else { return Ok(()) };
    let Some(earlier) = server.get::<ConfigMap>(&before).filter(|earlier| owned(earlier.as_ref(), job)) else {
        return Ok(());
    };
    let history = job.status.iter().flat_map(|status| &status.history);
    let cancelled = history.clone().any(|run| run.name == before && run.state == RunState::Cancelled);
    let same =
        [annotation::TRAINING_HASH, annotation::RETRAIN_TOKEN].iter().all(|key| of(record, key) == of(earlier, key));
    let trigger = of(record, annotation::TRIGGER).unwrap_or_default();
    let excused = cancelled || trigger == "ResultLost" || trigger == "Schedule";
    must!(!same || excused, "run {name} ({trigger}) answers what {before} does");
    Ok(())
}

fn owned<T: Stored>(object: &T, job: &Arc<ClusteringJob>) -> bool {
    object.meta().owner_references.iter().flatten().any(|owner| Some(&owner.uid) == job.metadata.uid.as_ref())
}

/// What excuses an end.
pub struct Luck<'a> {
    /// A run may have failed that was meant to succeed.
    pub failed: bool,
    /// Objects that were deleted by hand.
    pub lost: &'a BTreeSet<String>,
    /// There was a second operator.
    pub rivalry: bool,
}

/// What must hold once nothing moves any more.
pub fn end(server: &Server, luck: &Luck<'_>) -> Result<(), String> {
    let Some(job) = server.get::<ClusteringJob>(NAME) else { return nothing_left(server) };
    let status = job.status.as_ref().ok_or("no status at the end")?;
    let destiny = destiny(&job.spec);
    let truths: Vec<&str> = CONDITIONS.into_iter().filter(|kind| holds(status, kind)).collect();
    let (ready, stalled) = (holds(status, condition::READY), holds(status, condition::STALLED));
    must!(
        !holds(status, condition::RECONCILING),
        "{destiny:?}: at rest, but Reconciling: {}",
        reason(status, condition::RECONCILING)
    );
    must!(
        holds(status, condition::SUSPENDED) == job.spec.suspend,
        "{destiny:?}: spec.suspend is {}, true are {truths:?}",
        job.spec.suspend
    );
    match destiny {
        Destiny::Suspended => {}
        Destiny::Ready | Destiny::Rejected | Destiny::Unservable if luck.failed && stalled => return Ok(()),
        Destiny::Ready => must!(ready, "Ready is due, true are {truths:?}: {}", reason(status, condition::READY)),
        Destiny::Invalid | Destiny::Failed | Destiny::Rejected | Destiny::Unservable => {
            must!(
                stalled && !ready,
                "{destiny:?}: Stalled is due, true are {truths:?}: {}",
                reason(status, condition::READY)
            );
        }
    }
    if destiny == Destiny::Ready && job.spec.serving.is_some() {
        let version = server.get::<Service>(NAME).and_then(|service| selected(service)).ok_or("no Service serves")?;
        let deployment =
            server.get::<Deployment>(&format!("{NAME}-{version}")).ok_or("the selected Deployment is missing")?;
        let config = serves(server, deployment).ok_or("the replicas have no configuration")?;
        must!(config.digest == digest(&job.spec), "{} is served, {} is asked for", config.digest, digest(&job.spec));
        must!(server.all::<Deployment>().len() == 1, "old Deployments stay: {:?}", server.all::<Deployment>().keys());
        must!(server.get::<PodDisruptionBudget>(NAME).is_some(), "there is no disruption budget");
        let scaled = job.spec.serving.as_ref().is_some_and(|serving| serving.autoscaling.is_some());
        must!(
            server.all::<HorizontalPodAutoscaler>().len() == usize::from(scaled),
            "autoscalers do not follow the spec"
        );
    }
    if destiny != Destiny::Invalid && job.spec.serving.is_none() {
        must!(server.all::<Deployment>().is_empty(), "Deployments stay without serving");
        must!(server.all::<HorizontalPodAutoscaler>().is_empty(), "autoscalers stay without serving");
        must!(server.get::<Service>(NAME).is_none(), "the Service stays without serving");
    }
    history(server, &job.spec, luck)
}

fn reason(status: &ClusteringJobStatus, kind: &str) -> String {
    status.condition(kind).map(|condition| format!("{}: {}", condition.reason, condition.message)).unwrap_or_default()
}

/// No more runs stay than were asked for, beside the newest; none has lost its record.
fn history(server: &Server, spec: &ClusteringJobSpec, luck: &Luck<'_>) -> Result<(), String> {
    let jobs = server.all::<Job>().len();
    let kept = spec.history.successful_runs + spec.history.failed_runs;
    must!(i32::try_from(jobs).is_ok_and(|jobs| jobs <= kept + 1), "{jobs} Jobs stay, {kept} are to be kept");
    let kept = |name: &&String| !luck.rivalry && !luck.lost.contains(*name);
    for name in server.all::<Job>().keys().filter(kept) {
        must!(server.get::<ConfigMap>(name).is_some(), "Job {name} has no record");
    }
    for (name, secret) in server.all::<Secret>() {
        let run = secret
            .metadata
            .labels
            .as_ref()
            .and_then(|labels| labels.get(label::RUN))
            .map(|run| format!("{NAME}-r{run}"));
        let Some(run) = run.filter(|run| kept(&run)) else { continue };
        must!(server.get::<ConfigMap>(&run).is_some(), "the Secret {name} outlives its run");
    }
    for name in server.all::<Service>().keys().filter(|name| *name != NAME).filter(kept) {
        must!(server.get::<ConfigMap>(name).is_some(), "the Service {name} outlives its run");
    }
    Ok(())
}

/// After the resource is gone, so is all that belonged to it.
fn nothing_left(server: &Server) -> Result<(), String> {
    let counts = [
        ("ConfigMaps", server.all::<ConfigMap>().len()),
        ("Secrets", server.all::<Secret>().len()),
        ("Services", server.all::<Service>().len()),
        ("Jobs", server.all::<Job>().len()),
        ("Pods", server.all::<Pod>().len()),
        ("Deployments", server.all::<Deployment>().len()),
        ("autoscalers", server.all::<HorizontalPodAutoscaler>().len()),
        ("disruption budgets", server.all::<PodDisruptionBudget>().len()),
        ("network policies", server.all::<NetworkPolicy>().len()),
    ];
    for (what, count) in counts {
        must!(count == 0, "{count} {what} outlive the resource");
    }
    Ok(())
}
