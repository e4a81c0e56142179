//! The kubelet, for training pods: it starts them once everything they mount is there, and the processes in them end as
//! [`super::training`] says.

use std::sync::Arc;

use coterie_crds::run::{RUN_CONFIG_KEY, RunConfig, RunReport};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{
    ConfigMap, ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStatus, Pod, PodCondition,
    Secret, Service,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::apiserver::Server;
use super::controllers::{Controllers, Move};
use super::dice::Dice;
use super::jobs::{index, is_over, phase};
use super::training::{Outcome, clusters, failure, outcome};

/// A step of a kubelet.
#[derive(Clone, Debug, PartialEq)]
pub enum PodMove {
    /// The container starts.
    Start(String),
    /// The process ends by itself.
    End(String),
    /// A pod that is being deleted is gone.
    Reap(String),
}

pub(super) fn moves(server: &Server, moves: &mut Vec<Move>) {
    for (name, pod) in server.all::<Pod>() {
        let step = if pod.metadata.deletion_timestamp.is_some() {
            Some(PodMove::Reap(name.clone()))
        } else if phase(pod) == "Pending" {
            can_start(server, pod).then(|| PodMove::Start(name.clone()))
        } else {
            (phase(pod) == "Running" && ends(server, pod)).then(|| PodMove::End(name.clone()))
        };
        moves.extend(step.map(Move::Pod));
    }
}

/// Whether all that the pod mounts exists, and the Service that gives it its name.
fn can_start(server: &Server, pod: &Pod) -> bool {
    let Some(spec) = &pod.spec else { return false };
    let mounted = spec.volumes.iter().flatten().all(|volume| {
        let map = volume.config_map.as_ref().is_none_or(|map| server.get::<ConfigMap>(&map.name).is_some());
        let secret = volume.secret.as_ref().and_then(|secret| secret.secret_name.as_ref());
        map && secret.is_none_or(|name| server.get::<Secret>(name).is_some())
    });
    mounted && spec.subdomain.as_ref().is_none_or(|name| server.get::<Service>(name).is_some())
}

/// Only the coordinator ends by itself; workers are stopped.
fn ends(server: &Server, pod: &Pod) -> bool {
    index(pod) == 0
        && config(server, pod).is_some_and(|config| {
            // Without a deadline a run that hangs would hang for ever.
            outcome(clusters(&config.job)) != Outcome::Hangs || !has_deadline(server, pod)
        })
}

fn has_deadline(server: &Server, pod: &Pod) -> bool {
    let owner = pod.metadata.owner_references.iter().flatten().next();
    let job = owner.and_then(|owner| server.get::<Job>(&owner.name));
    job.and_then(|job| job.spec.as_ref()?.active_deadline_seconds).is_some()
}

/// The configuration of a pod's run.
pub fn config(server: &Server, pod: &Pod) -> Option<RunConfig> {
    let volumes = pod.spec.as_ref()?.volumes.as_ref()?;
    let map = volumes.iter().find_map(|volume| volume.config_map.as_ref())?;
    let object: &Arc<ConfigMap> = server.get(&map.name)?;
    serde_json::from_str(object.data.as_ref()?.get(RUN_CONFIG_KEY)?).ok()
}

pub(super) fn carry_out(controllers: &mut Controllers, server: &mut Server, step: &PodMove, dice: &mut Dice) {
    let now = server.now;
    match step {
        PodMove::Start(name) => {
            let Some(pod) = server.get::<Pod>(name).cloned() else { return };
            if index(&pod) == 0
                && let Some(config) = config(server, &pod)
            {
                controllers.models.reserve(&config);
            }
            let running = ContainerState {
                running: Some(ContainerStateRunning { started_at: Some(Time(now)) }),
                ..ContainerState::default()
            };
            set_state(server, name, "Running", running);
        }
        PodMove::End(name) => end(controllers, server, name),
        PodMove::Reap(name) => {
            // A coordinator may just make it before it is stopped.
            let running = server.get::<Pod>(name).is_some_and(|pod| phase(pod) == "Running" && ends(server, pod));
            if running && dice.chance(25) {
                end(controllers, server, name);
            } else {
                server.remove::<Pod>(name);
            }
        }
    }
}

/// The coordinator's process ends.
fn end(controllers: &mut Controllers, server: &mut Server, name: &str) {
    let Some(pod) = server.get::<Pod>(name).cloned() else { return };
    let Some(config) = config(server, &pod) else { return };
    let owner = pod.metadata.owner_references.iter().flatten().next();
    let key = (owner.map(|owner| owner.uid.clone()).unwrap_or_default(), 0);
    let tried = controllers.failures.get(&key).copied().unwrap_or_default();
    let report = match outcome(clusters(&config.job)) {
        Outcome::Model(silhouette) => controllers.models.publish(&config, silhouette),
        Outcome::Flaky(failures) if tried >= failures => controllers.models.publish(&config, 0.5),
        Outcome::Hangs => controllers.models.publish(&config, 0.5),
        Outcome::Flaky(_) => failure(75),
        Outcome::Fails(code) => failure(code),
    };
    exit(controllers, server, name, &report);
}

/// A process ends with this report.
pub fn exit(controllers: &mut Controllers, server: &mut Server, name: &str, report: &RunReport) {
    let Some(pod) = server.get::<Pod>(name).cloned() else { return };
    if is_over(&pod) {
        return;
    }
    let code = match report {
        RunReport::Published(_) => 0,
        RunReport::Failed(failed) => failed.exit_code,
    };
    if code != 0 {
        let owner = pod.metadata.owner_references.iter().flatten().next();
        let uid = owner.map(|owner| owner.uid.clone()).unwrap_or_default();
        *controllers.failures.entry((uid, index(&pod))).or_default() += 1;
    }
    let terminated = ContainerState {
        terminated: Some(ContainerStateTerminated {
            exit_code: code,
            // Only the coordinator reports.
            message: (index(&pod) == 0).then(|| serde_json::to_string(report).unwrap()),
            finished_at: Some(Time(server.now)),
            ..ContainerStateTerminated::default()
        }),
        ..ContainerState::default()
    };
    set_state(server, name, if code == 0 { "Succeeded" } else { "Failed" }, terminated);
}

fn set_state(server: &mut Server, name: &str, phase: &str, state: ContainerState) {
    let serial = name.rsplit('-').next().unwrap_or_default();
    let address = format!("10.1.{serial}");
    let _ = server.update::<Pod>(name, |pod| {
        let container =
            pod.spec.as_ref().and_then(|spec| spec.containers.first()).map(|container| container.name.clone());
        let status = pod.status.get_or_insert_default();
        status.phase = Some(phase.to_owned());
        status.pod_ip = Some(address);
        status.conditions = Some(vec![PodCondition {
            type_: "Ready".to_owned(),
            status: if phase == "Running" { "True" } else { "False" }.to_owned(),
            ..PodCondition::default()
        }]);
        status.container_statuses = Some(vec![ContainerStatus {
            name: container.unwrap_or_default(),
            ready: phase == "Running",
            state: Some(state),
            ..ContainerStatus::default()
        }]);
    });
}
