//! What Deployments of serving replicas say.

use coterie_crds::names::label;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// The fleet that an object belongs to.
pub(crate) fn version_of(metadata: &ObjectMeta) -> Option<&str> {
    metadata.labels.as_ref()?.get(label::MODEL_VERSION).map(String::as_str)
}

/// Replicas asked for.
pub(crate) fn desired(deployment: &Deployment) -> i32 {
    deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

/// Replicas that answer.
pub(crate) fn available(deployment: &Deployment) -> i32 {
    deployment.status.as_ref().and_then(|status| status.available_replicas).unwrap_or(0)
}

/// Whether all of so many replicas are of the newest template and answer.
pub(crate) fn is_ready(deployment: &Deployment, replicas: i32) -> bool {
    let Some(status) = &deployment.status else { return false };
    deployment.metadata.deletion_timestamp.is_none()
        && status.observed_generation >= deployment.metadata.generation
        && status.updated_replicas.unwrap_or(0) >= replicas
        && status.replicas.unwrap_or(0) <= status.updated_replicas.unwrap_or(0)
        && status.available_replicas.unwrap_or(0) >= replicas
}

/// Why a Deployment has given up.
pub(crate) fn stuck(deployment: &Deployment) -> Option<String> {
    let conditions = deployment.status.as_ref()?.conditions.as_ref()?;
    let progressing = conditions.iter().find(|condition| condition.type_ == "Progressing")?;
    (progressing.status == "False").then(|| progressing.message.clone().unwrap_or_default())
}
