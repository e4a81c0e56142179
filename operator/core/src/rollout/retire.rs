//! The removal of what nobody needs any more.

use std::collections::BTreeSet;

use coterie_crds::names::label;
use coterie_crds::spec::Serving;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::candidate;
use crate::context::{Context, Todo};
use crate::fleet;
use crate::replicas::version_of;

/// Removes replicas of versions that nobody needs, with what belongs to them.
pub(super) fn retire(
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
    // Those by which shards find each other. The one that clients ask is of no version.
    for service in &children.services {
        if version_of(&service.metadata).is_some_and(|version| !kept.contains(version)) {
            todo.delete(service);
        }
    }
    for object in &children.config_maps {
        let Some(version) = version_of(&object.metadata) else { continue };
        let outdated = version == wanted && object.metadata.name.as_deref() != Some(config);
        // Pods of a template that is being replaced may still mount the one before, as do those of a template that is to be replaced.
        let ready = || fleet::of(context, wanted).is_some_and(|fleet| fleet.is_ready(fleet.desired()));
        let mounted = || children.deployments.iter().any(|deployment| mounts(deployment, &object.metadata));
        let replaced = outdated && ready() && !mounted();
        if !kept.contains(version) || replaced {
            todo.delete(object);
        }
    }
}

/// Whether the template of a Deployment names a ConfigMap.
fn mounts(deployment: &Deployment, config: &ObjectMeta) -> bool {
    candidate::config_name(deployment).is_some_and(|name| config.name.as_deref() == Some(name))
}

/// Removes all that serves.
pub(super) fn remove_all(context: &Context<'_>, todo: &mut Todo) {
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
