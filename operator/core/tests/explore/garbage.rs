//! The garbage collector: it deletes what belongs to something that is gone, and the dependents of what is deleted in the foreground.

use coterie_crds::ClusteringJob;
use k8s_openapi::api::{
    apps::v1::Deployment,
    autoscaling::v2::HorizontalPodAutoscaler,
    batch::v1::Job,
    core::v1::{ConfigMap, Pod, Secret, Service},
    networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{OwnerReference, Time};

use super::apiserver::{FOREGROUND, Server, Stored};
use super::controllers::Move;

/// A step of the garbage collector.
#[derive(Clone, Debug, PartialEq)]
pub struct GarbageMove {
    kind: Kind,
    name: String,
    /// Whether the object waited for its dependents and goes now.
    last: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    ClusteringJob,
    ConfigMap,
    Secret,
    Service,
    Job,
    Pod,
    Deployment,
    Autoscaler,
    Budget,
    Policy,
}

enum OwnerState {
    Alive,
    Going,
    Gone,
}

fn owner_state(server: &Server, owner: &OwnerReference) -> OwnerState {
    let meta = match owner.kind.as_str() {
        "Job" => server.get::<Job>(&owner.name).map(|job| &job.metadata),
        _ => server.get::<ClusteringJob>(&owner.name).map(|job| &job.metadata),
    };
    match meta.filter(|meta| meta.uid.as_ref() == Some(&owner.uid)) {
        None => OwnerState::Gone,
        Some(meta) if waits(meta.finalizers.as_ref()) && meta.deletion_timestamp.is_some() => OwnerState::Going,
        Some(_) => OwnerState::Alive,
    }
}

fn waits(finalizers: Option<&Vec<String>>) -> bool {
    finalizers.is_some_and(|finalizers| finalizers.iter().any(|finalizer| finalizer == FOREGROUND))
}

pub(super) fn moves(server: &Server, moves: &mut Vec<Move>) {
    orphans::<ConfigMap>(server, Kind::ConfigMap, moves);
    orphans::<Secret>(server, Kind::Secret, moves);
    orphans::<Service>(server, Kind::Service, moves);
    orphans::<Job>(server, Kind::Job, moves);
    orphans::<Pod>(server, Kind::Pod, moves);
    orphans::<Deployment>(server, Kind::Deployment, moves);
    orphans::<HorizontalPodAutoscaler>(server, Kind::Autoscaler, moves);
    orphans::<PodDisruptionBudget>(server, Kind::Budget, moves);
    orphans::<NetworkPolicy>(server, Kind::Policy, moves);
    last::<Job>(server, Kind::Job, moves);
    last::<ClusteringJob>(server, Kind::ClusteringJob, moves);
}

/// Objects whose owner is gone or waits for them.
fn orphans<T: Stored>(server: &Server, kind: Kind, moves: &mut Vec<Move>) {
    for (name, object) in server.all::<T>() {
        let Some(owner) = object.meta().owner_references.iter().flatten().next() else { continue };
        if object.meta().deletion_timestamp.is_none() && !matches!(owner_state(server, owner), OwnerState::Alive) {
            moves.push(Move::Garbage(GarbageMove { kind, name: name.clone(), last: false }));
        }
    }
}

/// Objects that waited for their dependents, and have none any more.
fn last<T: Stored>(server: &Server, kind: Kind, moves: &mut Vec<Move>) {
    for (name, object) in server.all::<T>() {
        if object.meta().deletion_timestamp.is_some() && waits(object.meta().finalizers.as_ref()) {
            let uid = object.meta().uid.as_deref().unwrap_or_default();
            let free = none::<ConfigMap>(server, uid)
                && none::<Secret>(server, uid)
                && none::<Service>(server, uid)
                && none::<Job>(server, uid)
                && none::<Pod>(server, uid)
                && none::<Deployment>(server, uid)
                && none::<HorizontalPodAutoscaler>(server, uid)
                && none::<PodDisruptionBudget>(server, uid)
                && none::<NetworkPolicy>(server, uid);
            if free {
                moves.push(Move::Garbage(GarbageMove { kind, name: name.clone(), last: true }));
            }
        }
    }
}

fn none<T: Stored>(server: &Server, uid: &str) -> bool {
    let owned = |object: &T| object.meta().owner_references.iter().flatten().any(|owner| owner.uid == uid);
    !server.all::<T>().values().any(|object| owned(object))
}

pub(super) fn carry_out(server: &mut Server, step: &GarbageMove) {
    let GarbageMove { kind, name, last: _ } = step;
    match kind {
        Kind::ClusteringJob => server.remove::<ClusteringJob>(name),
        Kind::ConfigMap => server.remove::<ConfigMap>(name),
        Kind::Secret => server.remove::<Secret>(name),
        Kind::Service => server.remove::<Service>(name),
        Kind::Job => server.remove::<Job>(name),
        Kind::Pod => {
            // Pods end gracefully.
            let now = server.now;
            let _ = server.update::<Pod>(name, |pod| pod.metadata.deletion_timestamp = Some(Time(now)));
        }
        Kind::Deployment => server.remove::<Deployment>(name),
        Kind::Autoscaler => server.remove::<HorizontalPodAutoscaler>(name),
        Kind::Budget => server.remove::<PodDisruptionBudget>(name),
        Kind::Policy => server.remove::<NetworkPolicy>(name),
    }
}
