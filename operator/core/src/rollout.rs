//! Which replicas there should be, and which model versions the Service points at.
//!
//! Each model version has a Deployment of its own. The Service is pointed at the accepted model's once all its replicas are ready, and the
//! Deployment before it goes only after every proxy had time to notice. So there is no moment without replicas that answer, a version that
//! cannot start never gets a request, and no client sees two versions at once. With `spec.serving.rollout` the new version takes shares of the
//! traffic before ([`crate::canary`]): then clients see both, each answer being of one.
//!
//! With `spec.serving.shards` a version has a Deployment per shard ([`crate::fleet`]), and all of that holds for them together.

mod candidate;
mod retire;

use coterie_crds::names::{annotation, label, reason};
use coterie_crds::run::ShadowConfig;
use coterie_crds::spec::{Rollout, Serving};
use coterie_crds::status::{CanaryStatus, ModelStatus, ServingStatus};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Service};

use crate::build::{self, Replica, Traffic};
use crate::canary::{self, Candidate, Course, Ledger, Stage};
use crate::context::{Child, Context, Todo};
use crate::fleet::{self, Fleet, Shard};
use crate::plan::TrafficPoll;
use crate::replicas::{available, desired, stuck, version_of};
use crate::validate::short_hash;

/// How serving stands after this plan.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outlook {
    /// `None` when serving is not asked for.
    pub(crate) status: Option<ServingStatus>,
    /// Whether the accepted model is in service with all its replicas.
    pub(crate) complete: bool,
    /// Replicas of the version in service that answer.
    pub(crate) available: i32,
    /// Shards of the version in service that lack replicas, in words.
    pub(crate) lacking: Option<String>,
    /// Shards of the accepted model that lack replicas, in words.
    pub(crate) awaited: Option<String>,
    /// Whether the model in service is being divided into shards in another way.
    pub(crate) divides: bool,
    /// Why the accepted model does not come into service.
    pub(crate) failure: Option<String>,
    /// Why the accepted model was taken out of the traffic.
    pub(crate) rejection: Option<String>,
    /// What its gradual move into service waits for.
    pub(crate) waits: Option<String>,
    /// The replicas to ask for their traffic.
    pub(crate) poll: Option<TrafficPoll>,
}

/// Decides about the serving replicas of the accepted model.
pub(crate) fn plan(context: &Context<'_>, model: Option<&ModelStatus>, todo: &mut Todo) -> Outlook {
    let Some(serving) = &context.observed.job.spec.serving else {
        retire::remove_all(context, todo);
        return Outlook::default();
    };
    let owner = context.owner;
    let children = context.children;
    todo.apply(named(&children.network_policies, &format!("{}-serving", owner.name)), build::serving_policy(owner));
    let service = children.services.iter().find(|service| service.metadata.name.as_deref() == Some(owner.name));
    // Without a Service, what answers counts as in service.
    let selected = service.and_then(version_in_service).or_else(|| newest_available(context));
    let Some(model) = model else {
        // Also where the account of the model was lost: what serves goes on serving.
        let current = selected.and_then(|name| fleet::of(context, name));
        let available = current.as_ref().map_or(0, Fleet::available);
        let status = status(context, selected, None, current.as_ref().map_or(0, Fleet::desired), available);
        let lacking = current.as_ref().and_then(Fleet::lacking);
        return Outlook { status: Some(status), available, lacking, ..Outlook::default() };
    };
    todo.apply(named(&children.disruption_budgets, owner.name), build::disruption_budget(owner));
    let wanted = candidate::fleet(context, serving, model, selected);
    let wanted = wanted.as_str();
    let candidate = fleet::of(context, wanted);
    // What takes steps has no shards.
    let alone = candidate.as_ref().and_then(Fleet::alone);
    let stable = stable(context, serving, wanted, selected);
    let replicas = match stable {
        Some((_, stable)) => replicas_of(serving, Some(desired(stable))),
        None => {
            let before = candidate.clone().or_else(|| fleet::of(context, selected?));
            replicas_of(serving, before.as_ref().map(Fleet::desired))
        }
    };
    let shadow = shadow(context, alone, stable);
    let any = candidate.as_ref().and_then(Fleet::any);
    let config = candidate::configure(context, serving, (model, wanted), any, shadow, todo);
    let credentials = candidate::credentials(&context.observed.job, serving);
    let replica =
        Replica { owner, version: wanted, shard: None, serving, credentials: &credentials, config: &config.name };

    let hash = |deployment: Option<&Deployment>| build::hash(&replica, deployment, config.frozen);
    // Pods that are about to be replaced do not count.
    let is_current = |deployment: &Deployment| build::hash_of(deployment) == Some(&hash(Some(deployment)));
    let current = candidate.as_ref().is_some_and(|candidate| candidate.all(is_current));
    let course = stable.map(|(rollout, stable)| {
        let hash = hash(alone);
        let attempt = short_hash(serde_json::json!([rollout, hash]).to_string().as_bytes());
        let deadline = SignedDuration::from_secs(serving.progress_deadline_seconds.into());
        let closed = service.is_none_or(|service| matches!(traffic_of(service), Some(Traffic::One(_))));
        let (version, attempt) = (wanted, attempt.as_str());
        let candidate = Candidate { version, deployment: alone, stable, replicas, attempt, deadline, current, closed };
        canary::plan(context, rollout, candidate, todo)
    });
    let count = course.as_ref().map_or(replicas, |course| course.replicas);
    let ledger = match &course {
        Some(course) => Some(course.ledger.clone()),
        // In service, all steps are behind it.
        None if selected == Some(wanted) => {
            alone.and_then(Ledger::of).map(|ledger| Ledger { stage: Stage::Passed, ..ledger })
        }
        None => alone.and_then(Ledger::of),
    };
    let title = fleet::title(wanted);
    if candidate.is_none() {
        todo.normal(reason::ROLLING_OUT, "Serve", format!("replicas of model {title} start"));
    }
    for number in 0..fleet::shards(wanted) {
        let observed = candidate.as_ref().and_then(|candidate| candidate.member(number));
        let note = ledger.as_ref().map(Ledger::text);
        apply(context, &replica, number, (observed, config.frozen), (count, note), todo);
    }
    if let Some((_, stable)) = stable {
        keep(context, serving, stable, replicas, todo);
    }

    let passed = course.as_ref().is_none_or(|course| course.ledger.stage == Stage::Passed);
    let ready = candidate.as_ref().is_some_and(|candidate| candidate.is_ready(count));
    let answering = |fleet: Option<&Fleet<'_>>| fleet.map_or(0, Fleet::available);
    let before = selected.and_then(|name| fleet::of(context, name));
    let stranded = answering(before.as_ref()) == 0;
    let answers = (ready && current) || (stranded && answering(candidate.as_ref()) > 0);
    let switch = selected != Some(wanted) && passed && answers;
    let after = if switch || selected.is_none() { wanted } else { selected.unwrap_or(wanted) };
    let open = !switch && course.as_ref().is_some_and(|course| course.ledger.is_open());
    let traffic = if open { Traffic::Beside(after) } else { Traffic::One(after) };
    let switched = point(context, service, traffic, switch && selected.is_some(), todo);
    if switch {
        todo.normal(reason::AVAILABLE, "Serve", format!("model {title} takes the traffic"));
    }
    if let Some(bounds) = &serving.autoscaling
        && (after == wanted || stable.is_some())
        && fleet::shards(after) == 1
    {
        let name = format!("{}-{after}", owner.name);
        todo.apply(named(&children.autoscalers, &name), build::autoscaler(owner, after, bounds));
    }
    retire::retire(context, serving, (wanted, after), &config.name, switched, todo);

    // The status tells what was observed, not what is about to be written.
    let answering = answering(before.as_ref());
    let complete = service.and_then(traffic_of) == Some(Traffic::One(wanted)) && ready;
    let candidate_version = (!complete).then(|| model.version.clone());
    let in_service = selected.filter(|_| answering > 0);
    let asked = before.as_ref().map_or(replicas, Fleet::desired);
    let status = status(context, in_service, candidate_version, asked, answering);
    let divides = !complete && in_service.is_some_and(|name| name != wanted && fleet::version(name) == model.version);
    let awaited = candidate.as_ref().and_then(Fleet::lacking);
    let lacking = before.as_ref().and_then(Fleet::lacking);
    let outlook = Outlook { complete, available: answering, lacking, awaited, divides, ..Outlook::default() };
    match course {
        Some(course) => with_canary(outlook, status, course),
        None => {
            let failure = candidate.as_ref().and_then(Fleet::stuck).filter(|_| !ready);
            Outlook { status: Some(status), failure, ..outlook }
        }
    }
}

/// Sees to the replicas of one shard, or of a version without shards.
fn apply(
    context: &Context<'_>,
    replica: &Replica<'_>,
    number: u32,
    (observed, frozen): (Option<&Deployment>, bool),
    (count, note): (i32, Option<String>),
    todo: &mut Todo,
) {
    let of = fleet::shards(replica.version);
    let shard = (of > 1).then_some(Shard { number, of });
    let replica = Replica { shard, ..*replica };
    todo.apply(observed, build::deployment(&replica, count, note, observed, frozen, context.settings));
    if let Some(shard) = shard {
        let service = build::shard_service(context.owner, replica.version, shard);
        let name = service.metadata.name.as_deref().unwrap_or_default();
        todo.apply(named(&context.children.services, name), service);
    }
}

fn with_canary(outlook: Outlook, status: ServingStatus, course: Course) -> Outlook {
    let Course { replicas: _, ledger, status: canary, waits, failure, poll } = course;
    let rejected = ledger.stage == Stage::Rejected;
    Outlook {
        status: Some(ServingStatus { canary: Some(canary), ..status }),
        failure,
        rejection: rejected.then_some(ledger.why),
        waits: Some(waits),
        poll,
        ..outlook
    }
}

fn status(
    context: &Context<'_>,
    fleet: Option<&str>,
    candidate_version: Option<String>,
    replicas: i32,
    ready_replicas: i32,
) -> ServingStatus {
    let host = format!("{}.{}.svc", context.owner.name, context.owner.namespace);
    ServingStatus {
        version: fleet.map(|name| fleet::version(name).to_owned()),
        candidate_version,
        replicas,
        ready_replicas,
        address: format!("http://{host}:8080"),
        grpc_address: format!("http://{host}:8081"),
        canary: None::<CanaryStatus>,
    }
}

/// The version that keeps the traffic while the wanted one takes its steps, where it is to take any. Without replicas that answer there is nothing to
/// go back to; but a canary that has begun ends as its gates say.
fn stable<'a>(
    context: &Context<'a>,
    serving: &'a Serving,
    wanted: &str,
    selected: Option<&str>,
) -> Option<(&'a Rollout, &'a Deployment)> {
    let rollout = serving.rollout.as_ref()?;
    // Pods are shares of the traffic only where each answers alone.
    let alone = |name: &str| if fleet::shards(name) == 1 { fleet::of(context, name)?.alone() } else { None };
    let stable = alone(selected.filter(|name| *name != wanted && fleet::shards(wanted) == 1)?)?;
    let begun = canary::has_begun(context, wanted, alone(wanted));
    let lost = stable.metadata.deletion_timestamp.is_some() || (available(stable) == 0 && stuck(stable).is_some());
    let holds = !lost && (available(stable) > 0 || begun);
    holds.then_some((rollout, stable))
}

/// What the candidate's replicas compare themselves with: the version in service while they take their steps. Later that stays as it is, for a change
/// would replace the pods.
fn shadow(
    context: &Context<'_>,
    candidate: Option<&Deployment>,
    stable: Option<(&Rollout, &Deployment)>,
) -> Option<ShadowConfig> {
    let existing = || candidate::served(context, candidate?)?.shadow;
    let passed = candidate.and_then(Ledger::of).is_some_and(|ledger| ledger.stage == Stage::Passed);
    let Some((rollout, stable)) = stable.filter(|_| !passed) else { return existing() };
    rollout.gates.max_reassigned.as_ref()?;
    match candidate::served(context, stable) {
        Some(config) => Some(ShadowConfig { model: config.model, digest: config.digest, store: config.store }),
        None => existing(),
    }
}

/// Number of replicas of a version, or of each of its shards. An autoscaler's number is left to it; a new version begins with as many as the
/// one in service has.
fn replicas_of(serving: &Serving, before: Option<i32>) -> i32 {
    let Some(bounds) = &serving.autoscaling else { return serving.replicas };
    before.unwrap_or(bounds.min_replicas).clamp(bounds.min_replicas, bounds.max_replicas)
}

/// Keeps the replicas of the version in service, in their number; their pods stay as they are.
fn keep(context: &Context<'_>, serving: &Serving, stable: &Deployment, replicas: i32, todo: &mut Todo) {
    let annotations = stable.metadata.annotations.as_ref();
    let (Some(version), Some(annotations)) = (version_of(&stable.metadata), annotations) else { return };
    if annotations.contains_key(annotation::TEMPLATE_HASH) {
        let replica = Replica { owner: context.owner, version, shard: None, serving, credentials: &[], config: "" };
        let note = annotations.get(annotation::CANARY).cloned();
        todo.apply(Some(stable), build::deployment(&replica, replicas, note, Some(stable), true, context.settings));
    }
}

/// Sees to it that the Service selects these pods; returns when pods last lost the traffic.
fn point(
    context: &Context<'_>,
    service: Option<&Service>,
    traffic: Traffic<'_>,
    switch: bool,
    todo: &mut Todo,
) -> Option<Timestamp> {
    let narrows = match (service.and_then(traffic_of), traffic) {
        (Some(Traffic::One(before)), Traffic::One(after)) => before != after,
        (Some(Traffic::Beside(_)), Traffic::One(_)) => true,
        (Some(_), Traffic::Beside(_)) | (None, _) => false,
    };
    let switched = if switch || narrows { Some(context.now) } else { service.and_then(switched_time) };
    let wanted = build::service(context.owner, traffic, switched);
    // A selector with more labels than are wanted selects fewer pods.
    let selector = |service: &Service| service.spec.as_ref().and_then(|spec| spec.selector.clone());
    match service {
        Some(found) if found.metadata.deletion_timestamp.is_none() && selector(found) != selector(&wanted) => {
            todo.replace(service, wanted);
        }
        Some(_) | None => todo.apply(service, wanted),
    }
    switched
}

/// The model version whose replicas the Service selects, whether they answer or not.
pub(crate) fn in_service<'a>(context: &Context<'a>) -> Option<&'a str> {
    let named = |service: &&Service| service.metadata.name.as_deref() == Some(context.owner.name);
    version_in_service(context.children.services.iter().find(named)?).map(fleet::version)
}

/// The fleet of the newest version with replicas that answer; one that takes its steps is none yet, if there is another.
fn newest_available<'a>(context: &Context<'a>) -> Option<&'a str> {
    let answering = context.children.deployments.iter().filter(|deployment| available(deployment) > 0);
    // Some shards alone answer less than all of another version.
    let whole = |name: &str| fleet::of(context, name).is_some_and(|fleet| fleet.available() > 0);
    let number = |name: &str| fleet::version(name).trim_start_matches('v').parse::<u64>().unwrap_or_default();
    let climbs = |deployment: &Deployment| Ledger::of(deployment).is_some_and(|ledger| ledger.stage != Stage::Passed);
    let versions = answering.filter_map(|deployment| Some((!climbs(deployment), version_of(&deployment.metadata)?)));
    versions.max_by_key(|(done, name)| (whole(name), *done, number(name))).map(|(_, name)| name)
}

fn named<'a, T: Child>(objects: &'a [T], name: &str) -> Option<&'a T> {
    objects.iter().find(|object| object.metadata().name.as_deref() == Some(name))
}

/// The fleet that a Service selects, or keeps while another takes a share.
fn version_in_service(service: &Service) -> Option<&str> {
    service_annotation(service, annotation::STABLE_VERSION).or_else(|| selected_version(service))
}

fn selected_version(service: &Service) -> Option<&str> {
    service.spec.as_ref()?.selector.as_ref()?.get(label::MODEL_VERSION).map(String::as_str)
}

/// The pods that a Service selects.
fn traffic_of(service: &Service) -> Option<Traffic<'_>> {
    let beside = || service_annotation(service, annotation::STABLE_VERSION).map(Traffic::Beside);
    selected_version(service).map(Traffic::One).or_else(beside)
}

fn switched_time(service: &Service) -> Option<Timestamp> {
    service_annotation(service, annotation::SWITCHED_TIME)?.parse().ok()
}

fn service_annotation<'a>(service: &'a Service, key: &str) -> Option<&'a str> {
    service.metadata.annotations.as_ref()?.get(key).map(String::as_str)
}
