//! What must hold: at every plan, at every write, and at the end.

/// Fails with a message unless something holds.
macro_rules! must {
    ($holds:expr, $($message:tt)+) => {
        if !$holds {
            return Err(format!($($message)+));
        }
    };
}

mod destiny;
mod end;
mod plan;
mod server;

use coterie_crds::names::{annotation, condition, label};
use coterie_crds::spec::ClusteringJobSpec;
use coterie_crds::status::ClusteringJobStatus;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Service;

pub use destiny::{Destiny, destiny, digest, face};
pub use end::{Luck, end};
pub use plan::{is_late, plan};
pub use server::{canary, server, stored};

/// The types of conditions that every status has.
const CONDITIONS: [&str; 6] = [
    condition::READY,
    condition::RECONCILING,
    condition::STALLED,
    condition::TRAINED,
    condition::SERVING,
    condition::SUSPENDED,
];

/// Whether a condition is true.
pub fn holds(status: &ClusteringJobStatus, kind: &str) -> bool {
    status.condition(kind).is_some_and(|condition| condition.status == "True")
}

/// The only version that gets traffic.
fn selected_alone(service: &Service) -> Option<&String> {
    service.spec.as_ref()?.selector.as_ref()?.get(label::MODEL_VERSION)
}

/// The version in service, beside which another may take a share.
fn selected(service: &Service) -> Option<&String> {
    let beside = service.metadata.annotations.as_ref().and_then(|notes| notes.get(annotation::STABLE_VERSION));
    beside.or_else(|| selected_alone(service))
}

/// What the pods are labelled with that a spec wants of a model version.
fn fleet(spec: &ClusteringJobSpec, version: &str) -> String {
    match shards(spec) {
        1 => version.to_owned(),
        shards => format!("{version}-of-{shards}"),
    }
}

/// Deployments that a spec wants of a version.
fn shards(spec: &ClusteringJobSpec) -> usize {
    spec.serving.as_ref().map_or(1, |serving| serving.shards as usize)
}

fn version(deployment: &Deployment) -> Option<&String> {
    deployment.metadata.labels.as_ref()?.get(label::MODEL_VERSION)
}

fn deployment<'a>(deployments: &'a [Deployment], wanted: &str) -> Option<&'a Deployment> {
    deployments.iter().find(|deployment| version(deployment).is_some_and(|version| version == wanted))
}
