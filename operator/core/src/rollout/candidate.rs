//! The replicas of the accepted model, and their configuration.

use coterie_crds::ClusteringJob;
use coterie_crds::run::{
    CacheConfig, ItemsConfig, RedisConfig, RedisTlsConfig, SERVE_CONFIG_KEY, ServeConfig, ShadowConfig,
};
use coterie_crds::spec::{Cache, Redis, RedisTls, Serving};
use coterie_crds::status::ModelStatus;
use k8s_openapi::api::{apps::v1::Deployment, core::v1::ConfigMap};

use super::named;
use crate::build;
use crate::context::{Context, Todo};
use crate::fleet;
use crate::replicas::version_of;

/// How the replicas of a model are configured.
#[derive(Debug)]
pub(super) struct Configuration {
    /// Name of the ConfigMap.
    pub(super) name: String,
    /// Whether the pods stay as they are, since the spec asks for another model.
    pub(super) frozen: bool,
}

/// Sees to the configuration of the accepted model. `shadow` is what its replicas compare themselves with.
pub(super) fn configure(
    context: &Context<'_>,
    serving: &Serving,
    (model, fleet): (&ModelStatus, &str),
    deployment: Option<&Deployment>,
    shadow: Option<ShadowConfig>,
    todo: &mut Todo,
) -> Configuration {
    let job = &context.observed.job;
    let frozen = is_frozen(context, model);
    let labelled = || {
        let mut objects = context.children.config_maps.iter();
        objects.find(|object| version_of(&object.metadata) == Some(fleet))
    };
    let existing = deployment.and_then(|deployment| mounted(context, deployment)).or_else(labelled);
    let source = job.spec.source.store.as_ref().filter(|_| same_scheme(job));
    let store = job.spec.output.as_ref().and_then(|output| output.store.as_ref()).or(source);
    let config = ServeConfig {
        model: model.uri.clone(),
        digest: model.digest.clone(),
        store: store.map(resolved_store).unwrap_or_default(),
        items: context.spec.as_ref().ok().and_then(|spec| spec.resolved.items).map(ItemsConfig::from),
        cache: serving.cache.as_ref().map(cache_config),
        shadow,
    };
    let config = build::serve_config(context.owner, fleet, &config);
    let config = existing.filter(|_| frozen).cloned().unwrap_or(config);
    let name = config.metadata.name.clone().unwrap_or_default();
    if named(&context.children.config_maps, &name).is_none() {
        todo.create(config);
    }
    Configuration { name, frozen }
}

/// A spec that asks for another model says nothing about where this one lies, nor how it is divided.
fn is_frozen(context: &Context<'_>, model: &ModelStatus) -> bool {
    !context.spec.as_ref().is_ok_and(|spec| spec.key.training_hash == model.training_hash)
}

/// The name of the fleet that is to serve a model; `selected` is the one that does now.
pub(super) fn fleet(context: &Context<'_>, serving: &Serving, model: &ModelStatus, selected: Option<&str>) -> String {
    let of_model = |name: &&str| fleet::version(name) == model.version;
    let children = context.children;
    let replicas = children.deployments.iter().map(|deployment| &deployment.metadata);
    // Where the replicas were lost, their configuration tells how they were divided.
    let mut all = replicas.chain(children.config_maps.iter().map(|config| &config.metadata)).filter_map(version_of);
    let existing = selected.filter(of_model).or_else(|| all.find(of_model));
    match existing.filter(|_| is_frozen(context, model)) {
        Some(existing) => existing.to_owned(),
        None => fleet::name(&model.version, serving.shards.unsigned_abs()),
    }
}

/// What the pods of a Deployment serve.
pub(super) fn served(context: &Context<'_>, deployment: &Deployment) -> Option<ServeConfig> {
    serde_json::from_str(mounted(context, deployment)?.data.as_ref()?.get(SERVE_CONFIG_KEY)?).ok()
}

fn mounted<'a>(context: &Context<'a>, deployment: &Deployment) -> Option<&'a ConfigMap> {
    named(&context.children.config_maps, config_name(deployment)?)
}

/// The name of the ConfigMap in a Deployment's template.
pub(super) fn config_name(deployment: &Deployment) -> Option<&str> {
    let volumes = deployment.spec.as_ref()?.template.spec.as_ref()?.volumes.as_ref()?;
    let map = volumes.iter().find_map(|volume| volume.config_map.as_ref())?;
    Some(&map.name)
}

/// Secrets whose keys are variables of the pods' environment: those of the stores, and of the server for shared answers.
pub(super) fn credentials<'a>(job: &'a ClusteringJob, serving: &'a Serving) -> Vec<&'a str> {
    let redis = serving.cache.as_ref().and_then(|cache| cache.redis.as_ref());
    let login = redis.and_then(|redis| redis.credentials_secret_ref.as_ref()).map(|secret| secret.name.as_str());
    let mut all = build::credentials(job);
    all.extend(login);
    all
}

fn cache_config(cache: &Cache) -> CacheConfig {
    let Cache { memory_mebibytes, time_to_live_seconds, redis } = cache;
    CacheConfig {
        bytes: u64::from(memory_mebibytes.unsigned_abs()) << 20,
        time_to_live_seconds: u64::from(time_to_live_seconds.unsigned_abs()),
        redis: redis.as_ref().map(|Redis { host, port, tls, timeout_millis, credentials_secret_ref: _ }| RedisConfig {
            host: host.clone(),
            port: u16::try_from(*port).unwrap_or_default(),
            tls: tls.as_ref().map(|RedisTls { ca_bundle }| RedisTlsConfig { ca_bundle: ca_bundle.clone() }),
            timeout_millis: u64::from(timeout_millis.unsigned_abs()),
        }),
    }
}

fn same_scheme(job: &ClusteringJob) -> bool {
    job.spec.output.as_ref().is_some_and(|output| output.uri.scheme() == job.spec.source.uri.scheme())
}

fn resolved_store(store: &coterie_crds::spec::Store) -> coterie_crds::resolved::Store {
    let coterie_crds::spec::Store { endpoint, region, allow_http, ca_bundle, credentials_secret_ref: _ } =
        store.clone();
    coterie_crds::resolved::Store { endpoint, region, allow_http, ca_bundle }
}
