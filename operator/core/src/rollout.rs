//! Which replicas there should be, and which model version the Service points at.
//!
//! Each model version has a Deployment of its own. The Service is pointed at the accepted model's once all its replicas are ready, and the
//! Deployment before it goes only after every proxy had time to notice. So there is no moment without replicas that answer, a version that
//! cannot start never gets a request, and no client sees two versions at once.

use std::collections::BTreeSet;

use coterie_crds::names::{annotation, label, reason};
use coterie_crds::run::{CacheConfig, RedisConfig, ServeConfig};
use coterie_crds::spec::{Cache, Redis, Serving};
use coterie_crds::status::{ModelStatus, ServingStatus};
use jiff::Timestamp;
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::build::{self, Replica};
use crate::context::{Child, Context, Todo};

/// How serving stands after this plan.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outlook {
    /// `None` when serving is not asked for.
    pub(crate) status: Option<ServingStatus>,
    /// Whether the accepted model is in service with all its replicas.
    pub(crate) complete: bool,
    /// Replicas of the version in service that answer.
    pub(crate) available: i32,
    /// Why the accepted model does not come into service.
    pub(crate) failure: Option<String>,
}

/// Decides about the serving replicas of the accepted model.
pub(crate) fn plan(context: &Context<'_>, model: Option<&ModelStatus>, todo: &mut Todo) -> Outlook {
    let Some(serving) = &context.observed.job.spec.serving else {
        remove_all(context, todo);
        return Outlook::default();
    };
    let owner = context.owner;
    let children = context.children;
    todo.apply(named(&children.network_policies, &format!("{}-serving", owner.name)), build::serving_policy(owner));
    let service = children.services.iter().find(|service| service.metadata.name.as_deref() == Some(owner.name));
    // Without a Service, what answers counts as in service.
    let selected = service.and_then(selected_version).or_else(|| newest_available(context));
    let Some(model) = model else {
        // Also where the account of the model was lost: what serves goes on serving.
        let current = selected.and_then(|version| deployment_of(context, version));
        let available = current.map_or(0, available);
        let status = status(context, selected, None, current.map_or(0, desired), available);
        return Outlook { status: Some(status), complete: false, available, failure: None };
    };
    todo.apply(named(&children.disruption_budgets, owner.name), build::disruption_budget(owner));
    let wanted = model.version.as_str();
    let replicas = replicas(context, serving, wanted, selected);
    let config = candidate(context, serving, model, replicas, todo);
    let candidate = deployment_of(context, wanted);
    let ready = candidate.is_some_and(|candidate| is_ready(candidate, replicas));

    let stranded =
        selected.is_none_or(|version| deployment_of(context, version).is_none_or(|other| available(other) == 0));
    let switch = selected != Some(wanted)
        && (ready || (stranded && candidate.is_some_and(|candidate| available(candidate) > 0)));
    let after = if switch || selected.is_none() { wanted } else { selected.unwrap_or(wanted) };
    let switched = if switch && selected.is_some() { Some(context.now) } else { service.and_then(switched_time) };
    todo.apply(service, build::service(owner, after, switched));
    if switch {
        todo.normal(reason::AVAILABLE, "Serve", format!("model {wanted} takes the traffic"));
    }
    if let Some(bounds) = &serving.autoscaling
        && after == wanted
    {
        let name = format!("{}-{wanted}", owner.name);
        todo.apply(named(&children.autoscalers, &name), build::autoscaler(owner, wanted, bounds));
    }
    retire(context, serving, (wanted, after), &config, switched, todo);

    // The status tells what was observed, not what is about to be written.
    let current = selected.and_then(|version| deployment_of(context, version));
    let answering = current.map_or(0, available);
    let failed = candidate.and_then(stuck);
    let complete = service.and_then(selected_version) == Some(wanted) && ready;
    let candidate_version = (!complete).then(|| wanted.to_owned());
    let in_service = selected.filter(|_| answering > 0);
    Outlook {
        status: Some(status(context, in_service, candidate_version, current.map_or(replicas, desired), answering)),
        complete,
        available: answering,
        failure: failed.filter(|_| !ready),
    }
}

fn status(
    context: &Context<'_>,
    version: Option<&str>,
    candidate_version: Option<String>,
    replicas: i32,
    ready_replicas: i32,
) -> ServingStatus {
    let host = format!("{}.{}.svc", context.owner.name, context.owner.namespace);
    ServingStatus {
        version: version.map(str::to_owned),
        candidate_version,
        replicas,
        ready_replicas,
        address: format!("http://{host}:8080"),
        grpc_address: format!("http://{host}:8081"),
    }
}

/// Number of replicas of a version. An autoscaler's number is left to it; a new version begins with as many as the one in service has.
fn replicas(context: &Context<'_>, serving: &Serving, wanted: &str, selected: Option<&str>) -> i32 {
    let Some(bounds) = &serving.autoscaling else { return serving.replicas };
    let now = deployment_of(context, wanted).or_else(|| deployment_of(context, selected?)).map(desired);
    now.unwrap_or(bounds.min_replicas).clamp(bounds.min_replicas, bounds.max_replicas)
}

/// Sees to the Deployment of the accepted model and its configuration; returns the latter's name.
fn candidate(context: &Context<'_>, serving: &Serving, model: &ModelStatus, replicas: i32, todo: &mut Todo) -> String {
    let owner = context.owner;
    let job = &context.observed.job;
    // A spec that asks for another model says nothing about where this one lies.
    let frozen = !context.spec.as_ref().is_ok_and(|spec| spec.key.training_hash == model.training_hash);
    let existing =
        context.children.config_maps.iter().find(|object| version_of(&object.metadata) == Some(&model.version));
    let source = job.spec.source.store.as_ref().filter(|_| same_scheme(job));
    let store = job.spec.output.as_ref().and_then(|output| output.store.as_ref()).or(source);
    let config = ServeConfig {
        model: model.uri.clone(),
        digest: model.digest.clone(),
        store: store.map(resolved_store).unwrap_or_default(),
        items: context.spec.as_ref().ok().and_then(|spec| spec.resolved.items),
        cache: serving.cache.as_ref().map(cache_config),
    };
    let config = build::serve_config(owner, &model.version, &config);
    let config = existing.filter(|_| frozen).cloned().unwrap_or(config);
    let name = config.metadata.name.clone().unwrap_or_default();
    if named(&context.children.config_maps, &name).is_none() {
        todo.create(config);
    }
    let mut credentials = build::credentials(job);
    let redis = serving.cache.as_ref().and_then(|cache| cache.redis.as_ref());
    credentials
        .extend(redis.and_then(|redis| redis.credentials_secret_ref.as_ref()).map(|secret| secret.name.as_str()));
    let replica = Replica { owner, version: &model.version, serving, credentials: &credentials, config: &name };
    let observed = deployment_of(context, &model.version);
    let wanted = build::deployment(&replica, replicas, observed, frozen, context.settings);
    if observed.is_none() {
        todo.normal(reason::ROLLING_OUT, "Serve", format!("replicas of model {} start", model.version));
    }
    todo.apply(observed, wanted);
    name
}

fn cache_config(cache: &Cache) -> CacheConfig {
    let Cache { memory_mebibytes, time_to_live_seconds, redis } = cache;
    CacheConfig {
        bytes: u64::from(memory_mebibytes.unsigned_abs()) << 20,
        time_to_live_seconds: u64::from(time_to_live_seconds.unsigned_abs()),
        redis: redis.as_ref().map(|Redis { host, port, timeout_millis, credentials_secret_ref: _ }| RedisConfig {
            host: host.clone(),
            port: u16::try_from(*port).unwrap_or_default(),
            timeout_millis: u64::from(timeout_millis.unsigned_abs()),
        }),
    }
}

fn same_scheme(job: &coterie_crds::ClusteringJob) -> bool {
    job.spec.output.as_ref().is_some_and(|output| output.uri.scheme() == job.spec.source.uri.scheme())
}

fn resolved_store(store: &coterie_crds::spec::Store) -> coterie_crds::resolved::Store {
    let coterie_crds::spec::Store { endpoint, region, allow_http, ca_bundle, credentials_secret_ref: _ } =
        store.clone();
    coterie_crds::resolved::Store { endpoint, region, allow_http, ca_bundle }
}

/// Removes replicas of versions that nobody needs, with what belongs to them.
fn retire(
    context: &Context<'_>,
    serving: &Serving,
    (wanted, after): (&str, &str),
    config: &str,
    switched: Option<Timestamp>,
    todo: &mut Todo,
) {
    let children = context.children;
    let retires = switched.map(|time| time + context.settings.switch_grace);
    let waits = retires.is_some_and(|time| context.now < time);
    let others =
        |metadata: &ObjectMeta| version_of(metadata).is_some_and(|version| version != wanted && version != after);
    let mut kept: BTreeSet<String> = [wanted, after].map(str::to_owned).into();
    for deployment in children.deployments.iter().filter(|deployment| others(&deployment.metadata)) {
        if waits {
            kept.extend(version_of(&deployment.metadata).map(str::to_owned));
        } else {
            todo.delete(deployment);
        }
    }
    if waits
        && kept.len() > 1
        && let Some(time) = retires
    {
        todo.wake_at(time);
    }
    for autoscaler in &children.autoscalers {
        let version = version_of(&autoscaler.metadata).unwrap_or_default();
        if serving.autoscaling.is_none() || !kept.contains(version) {
            todo.delete(autoscaler);
        }
    }
    for object in &children.config_maps {
        let Some(version) = version_of(&object.metadata) else { continue };
        let outdated = version == wanted && object.metadata.name.as_deref() != Some(config);
        // Pods of a template that is being replaced may still mount the one before.
        let replaced = outdated
            && deployment_of(context, wanted).is_some_and(|deployment| is_ready(deployment, desired(deployment)));
        if !kept.contains(version) || replaced {
            todo.delete(object);
        }
    }
}

fn remove_all(context: &Context<'_>, todo: &mut Todo) {
    let children = context.children;
    let is_serving = |metadata: &ObjectMeta| {
        metadata
            .labels
            .as_ref()
            .and_then(|labels| labels.get(label::COMPONENT))
            .is_some_and(|value| value == label::SERVING)
    };
    children.services.iter().filter(|object| is_serving(&object.metadata)).for_each(|object| todo.delete(object));
    children.autoscalers.iter().for_each(|object| todo.delete(object));
    children.deployments.iter().for_each(|object| todo.delete(object));
    children.disruption_budgets.iter().for_each(|object| todo.delete(object));
    children
        .network_policies
        .iter()
        .filter(|object| is_serving(&object.metadata))
        .for_each(|object| todo.delete(object));
    children.config_maps.iter().filter(|object| is_serving(&object.metadata)).for_each(|object| todo.delete(object));
}

/// The newest version with replicas that answer.
fn newest_available<'a>(context: &Context<'a>) -> Option<&'a str> {
    let answering = context.children.deployments.iter().filter(|deployment| available(deployment) > 0);
    let number = |version: &&str| version.trim_start_matches('v').parse::<u64>().unwrap_or_default();
    answering.filter_map(|deployment| version_of(&deployment.metadata)).max_by_key(number)
}

fn named<'a, T: Child>(objects: &'a [T], name: &str) -> Option<&'a T> {
    objects.iter().find(|object| object.metadata().name.as_deref() == Some(name))
}

fn version_of(metadata: &ObjectMeta) -> Option<&str> {
    metadata.labels.as_ref()?.get(label::MODEL_VERSION).map(String::as_str)
}

fn selected_version(service: &Service) -> Option<&str> {
    service.spec.as_ref()?.selector.as_ref()?.get(label::MODEL_VERSION).map(String::as_str)
}

fn switched_time(service: &Service) -> Option<Timestamp> {
    service.metadata.annotations.as_ref()?.get(annotation::SWITCHED_TIME)?.parse().ok()
}

fn deployment_of<'a>(context: &Context<'a>, version: &str) -> Option<&'a Deployment> {
    context.children.deployments.iter().find(|deployment| version_of(&deployment.metadata) == Some(version))
}

fn desired(deployment: &Deployment) -> i32 {
    deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

fn available(deployment: &Deployment) -> i32 {
    deployment.status.as_ref().and_then(|status| status.available_replicas).unwrap_or(0)
}

/// Whether all of so many replicas are of the newest template and answer.
fn is_ready(deployment: &Deployment, replicas: i32) -> bool {
    let Some(status) = &deployment.status else { return false };
    deployment.metadata.deletion_timestamp.is_none()
        && status.observed_generation >= deployment.metadata.generation
        && status.updated_replicas.unwrap_or(0) >= replicas
        && status.replicas.unwrap_or(0) <= status.updated_replicas.unwrap_or(0)
        && status.available_replicas.unwrap_or(0) >= replicas
}

/// Why a Deployment has given up.
fn stuck(deployment: &Deployment) -> Option<String> {
    let conditions = deployment.status.as_ref()?.conditions.as_ref()?;
    let progressing = conditions.iter().find(|condition| condition.type_ == "Progressing")?;
    (progressing.status == "False").then(|| progressing.message.clone().unwrap_or_default())
}
