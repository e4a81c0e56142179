//! The replicas of the accepted model, and their configuration.

use coterie_crds::ClusteringJob;
use coterie_crds::run::{SERVE_CONFIG_KEY, ServeConfig, ShadowConfig};
use coterie_crds::status::ModelStatus;
use k8s_openapi::api::{apps::v1::Deployment, core::v1::ConfigMap};

use super::named;
use crate::build;
use crate::context::{Context, Todo};
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
    model: &ModelStatus,
    deployment: Option<&Deployment>,
    shadow: Option<ShadowConfig>,
    todo: &mut Todo,
) -> Configuration {
    let job = &context.observed.job;
    // A spec that asks for another model says nothing about where this one lies.
    let frozen = !context.spec.as_ref().is_ok_and(|spec| spec.key.training_hash == model.training_hash);
    let labelled = || {
        let mut objects = context.children.config_maps.iter();
        objects.find(|object| version_of(&object.metadata) == Some(&model.version))
    };
    let existing = deployment.and_then(|deployment| mounted(context, deployment)).or_else(labelled);
    let source = job.spec.source.store.as_ref().filter(|_| same_scheme(job));
    let store = job.spec.output.as_ref().and_then(|output| output.store.as_ref()).or(source);
    let config = ServeConfig {
        model: model.uri.clone(),
        digest: model.digest.clone(),
        store: store.map(resolved_store).unwrap_or_default(),
        items: context.spec.as_ref().ok().and_then(|spec| spec.resolved.items),
        shadow,
    };
    let config = build::serve_config(context.owner, &model.version, &config);
    let config = existing.filter(|_| frozen).cloned().unwrap_or(config);
    let name = config.metadata.name.clone().unwrap_or_default();
    if named(&context.children.config_maps, &name).is_none() {
        todo.create(config);
    }
    Configuration { name, frozen }
}

/// What the pods of a Deployment serve.
pub(super) fn served(context: &Context<'_>, deployment: &Deployment) -> Option<ServeConfig> {
    serde_json::from_str(mounted(context, deployment)?.data.as_ref()?.get(SERVE_CONFIG_KEY)?).ok()
}

fn mounted<'a>(context: &Context<'a>, deployment: &Deployment) -> Option<&'a ConfigMap> {
    let volumes = deployment.spec.as_ref()?.template.spec.as_ref()?.volumes.as_ref()?;
    let map = volumes.iter().find_map(|volume| volume.config_map.as_ref())?;
    named(&context.children.config_maps, &map.name)
}

fn same_scheme(job: &ClusteringJob) -> bool {
    job.spec.output.as_ref().is_some_and(|output| output.uri.scheme() == job.spec.source.uri.scheme())
}

fn resolved_store(store: &coterie_crds::spec::Store) -> coterie_crds::resolved::Store {
    let coterie_crds::spec::Store { endpoint, region, allow_http, ca_bundle, credentials_secret_ref: _ } =
        store.clone();
    coterie_crds::resolved::Store { endpoint, region, allow_http, ca_bundle }
}
