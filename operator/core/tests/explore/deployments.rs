//! The Deployment controller, without surge (replicas become ready one by one while those of the template before stay), and the autoscaler.

use coterie_crds::run::{SERVE_CONFIG_KEY, ServeConfig};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::{
    apps::v1::{Deployment, DeploymentCondition, DeploymentStatus},
    autoscaling::v2::HorizontalPodAutoscaler,
    core::v1::{ConfigMap, PodTemplateSpec},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::apiserver::Server;
use super::controllers::{Controllers, Move};
use super::training::BROKEN;

/// Memory that no node has.
pub const TOO_MUCH_MEMORY: &str = "64Ti";

/// A step of the Deployment controller or the autoscaler.
#[derive(Clone, Debug, PartialEq)]
pub enum DeploymentMove {
    /// Takes notice of a new generation.
    Observe(String),
    /// One more replica is ready.
    Ready(String),
    /// The rollout takes too long.
    GiveUp(String),
    /// The autoscaler sets replicas.
    Scale(String, i32),
}

fn spec_replicas(deployment: &Deployment) -> i32 {
    deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

/// Replicas that answer.
pub fn available(deployment: &Deployment) -> i32 {
    deployment.status.as_ref().and_then(|status| status.available_replicas).unwrap_or_default()
}

fn is_complete(deployment: &Deployment) -> bool {
    let status = deployment.status.clone().unwrap_or_default();
    let replicas = spec_replicas(deployment);
    status.updated_replicas.unwrap_or(0) == replicas && status.available_replicas.unwrap_or(0) == replicas
}

fn progressing(deployment: &Deployment) -> Option<&DeploymentCondition> {
    let conditions = deployment.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == "Progressing")
}

fn deadline(deployment: &Deployment) -> Option<Timestamp> {
    let condition = progressing(deployment).filter(|condition| condition.status == "True")?;
    let since = condition.last_update_time.as_ref()?.0;
    let seconds = deployment.spec.as_ref()?.progress_deadline_seconds?;
    since.checked_add(SignedDuration::from_secs(seconds.into())).ok().filter(|_| !is_complete(deployment))
}

/// When a rollout takes too long.
pub(super) fn timer(server: &Server) -> Option<Timestamp> {
    server.all::<Deployment>().values().filter_map(|deployment| deadline(deployment)).min()
}

/// What a Deployment's replicas serve.
pub fn serves(server: &Server, deployment: &Deployment) -> Option<ServeConfig> {
    let template = deployment.spec.as_ref()?.template.spec.as_ref()?;
    let map = template.volumes.iter().flatten().find_map(|volume| volume.config_map.as_ref())?;
    serde_json::from_str(server.get::<ConfigMap>(&map.name)?.data.as_ref()?.get(SERVE_CONFIG_KEY)?).ok()
}

/// Whether a new pod becomes ready.
fn starts(controllers: &Controllers, server: &Server, deployment: &Deployment) -> bool {
    let template = deployment.spec.as_ref().and_then(|spec| spec.template.spec.as_ref());
    let fits = template.is_some_and(|spec| {
        let requests = spec.containers.first().and_then(|container| container.resources.as_ref()?.requests.as_ref());
        requests.is_none_or(|requests| requests.get("memory").is_none_or(|memory| memory.0 != TOO_MUCH_MEMORY))
    });
    fits && serves(server, deployment).is_some_and(|config| {
        !config.digest.contains(&format!(":k{BROKEN}-")) && controllers.models.exists(&config.model)
    })
}

fn template(deployment: &Deployment) -> Option<&PodTemplateSpec> {
    deployment.spec.as_ref().map(|spec| &spec.template)
}

pub(super) fn moves(controllers: &Controllers, server: &Server, moves: &mut Vec<Move>) {
    for (name, deployment) in server.all::<Deployment>() {
        let observed = deployment.status.as_ref().and_then(|status| status.observed_generation);
        let step = if observed != deployment.metadata.generation {
            Some(DeploymentMove::Observe(name.clone()))
        } else if is_complete(deployment) {
            None
        } else if starts(controllers, server, deployment) {
            Some(DeploymentMove::Ready(name.clone()))
        } else {
            deadline(deployment).filter(|at| server.now >= *at).map(|_| DeploymentMove::GiveUp(name.clone()))
        };
        moves.extend(step.map(Move::Deployment));
    }
    for autoscaler in server.all::<HorizontalPodAutoscaler>().values() {
        let Some(spec) = &autoscaler.spec else { continue };
        let Some(deployment) = server.get::<Deployment>(&spec.scale_target_ref.name) else { continue };
        let replicas = spec_replicas(deployment);
        let wanted = replicas.min(spec.max_replicas).max(spec.min_replicas.unwrap_or(1));
        if wanted != replicas {
            moves.push(Move::Deployment(DeploymentMove::Scale(spec.scale_target_ref.name.clone(), wanted)));
        }
    }
}

pub(super) fn carry_out(controllers: &mut Controllers, server: &mut Server, step: &DeploymentMove) {
    let now = server.now;
    match step {
        DeploymentMove::Observe(name) => {
            let running =
                server.get::<Deployment>(name).and_then(|d| controllers.running.get(d.metadata.uid.as_ref()?)).cloned();
            let _ = server.update::<Deployment>(name, |deployment| {
                let replicas = spec_replicas(deployment);
                let rolls = running.as_ref() != template(deployment);
                let generation = deployment.metadata.generation;
                let status = deployment.status.get_or_insert_default();
                status.observed_generation = generation;
                status.replicas = Some(replicas);
                status.available_replicas = status.available_replicas.map(|available| available.min(replicas));
                status.ready_replicas = status.available_replicas;
                status.updated_replicas = if rolls { None } else { Some(replicas) };
                conclude(status, replicas, "ReplicaSetUpdated", now);
            });
        }
        DeploymentMove::Ready(name) => {
            let _ = server.update::<Deployment>(name, |deployment| {
                let replicas = spec_replicas(deployment);
                let uid = deployment.metadata.uid.clone().unwrap_or_default();
                let same = controllers.running.get(&uid) == template(deployment);
                let status = deployment.status.get_or_insert_default();
                let (updated, available) =
                    (status.updated_replicas.unwrap_or(0), status.available_replicas.unwrap_or(0));
                if same {
                    status.updated_replicas = Some(replicas);
                    status.available_replicas = Some(available + 1);
                } else {
                    status.updated_replicas = Some(updated + 1);
                    status.available_replicas = Some(available.max(updated + 1));
                }
                status.ready_replicas = status.available_replicas;
                conclude(status, replicas, "ReplicaSetUpdated", now);
                if is_complete(deployment)
                    && let Some(template) = template(deployment)
                {
                    controllers.running.insert(uid, template.clone());
                }
            });
        }
        DeploymentMove::GiveUp(name) => {
            let _ = server.update::<Deployment>(name, |deployment| {
                let replicas = spec_replicas(deployment);
                conclude(deployment.status.get_or_insert_default(), replicas, "ProgressDeadlineExceeded", now);
            });
        }
        DeploymentMove::Scale(name, replicas) => {
            let _ = server.update::<Deployment>(name, |deployment| {
                deployment.spec.get_or_insert_default().replicas = Some(*replicas);
            });
        }
    }
}

/// Loses a ready replica.
pub fn crash(server: &mut Server, name: &str) {
    let now = server.now;
    let _ = server.update::<Deployment>(name, |deployment| {
        let replicas = spec_replicas(deployment);
        let status = deployment.status.get_or_insert_default();
        status.available_replicas = status.available_replicas.map(|available| (available - 1).max(0));
        status.ready_replicas = status.available_replicas;
        let reason = status
            .conditions
            .iter()
            .flatten()
            .find(|condition| condition.type_ == "Progressing")
            .and_then(|condition| condition.reason.clone())
            .unwrap_or_default();
        conclude(status, replicas, &reason, now);
    });
}

fn conclude(status: &mut DeploymentStatus, replicas: i32, reason: &str, now: Timestamp) {
    let available = status.available_replicas.unwrap_or(0);
    let complete = status.updated_replicas == Some(replicas) && available == replicas;
    status.unavailable_replicas = Some(replicas - available).filter(|missing| *missing > 0);
    let condition = |kind: &str, holds: bool, reason: &str| DeploymentCondition {
        type_: kind.to_owned(),
        status: if holds { "True" } else { "False" }.to_owned(),
        reason: Some(reason.to_owned()),
        last_update_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
        message: None,
    };
    let reason = if complete { "NewReplicaSetAvailable" } else { reason };
    status.conditions = Some(vec![
        condition("Available", available >= replicas, "MinimumReplicasAvailable"),
        condition("Progressing", reason != "ProgressDeadlineExceeded", reason),
    ]);
}
