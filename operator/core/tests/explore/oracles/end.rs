//! What must hold once nothing moves any more.

use std::collections::BTreeSet;

use coterie_crds::ClusteringJob;
use coterie_crds::names::{condition, label, reason};
use coterie_crds::spec::ClusteringJobSpec;
use coterie_crds::status::{CanaryState, ClusteringJobStatus};
use k8s_openapi::api::{
    apps::v1::Deployment,
    autoscaling::v2::HorizontalPodAutoscaler,
    batch::v1::Job,
    core::v1::{ConfigMap, Pod, Secret, Service},
    networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
};

use super::{CONDITIONS, Destiny, destiny, digest, holds, selected_alone, shards};
use crate::explore::apiserver::Server;
use crate::explore::deployments::{available, serves};
use crate::explore::operator::NAME;

/// What excuses an end.
pub struct Luck<'a> {
    /// A run may have failed that was meant to succeed.
    pub failed: bool,
    /// Objects that were deleted by hand.
    pub lost: &'a BTreeSet<String>,
    /// There was a second operator.
    pub rivalry: bool,
}

/// What must hold once nothing moves any more.
pub fn end(server: &Server, luck: &Luck<'_>) -> Result<(), String> {
    let Some(job) = server.get::<ClusteringJob>(NAME) else { return nothing_left(server) };
    let status = job.status.as_ref().ok_or("no status at the end")?;
    let destiny = destiny(&job.spec);
    let truths: Vec<&str> = CONDITIONS.into_iter().filter(|kind| holds(status, kind)).collect();
    let (ready, stalled) = (holds(status, condition::READY), holds(status, condition::STALLED));
    must!(
        !holds(status, condition::RECONCILING),
        "{destiny:?}: at rest, but Reconciling: {}",
        words(status, condition::RECONCILING)
    );
    must!(
        holds(status, condition::SUSPENDED) == job.spec.suspend,
        "{destiny:?}: spec.suspend is {}, true are {truths:?}",
        job.spec.suspend
    );
    match destiny {
        Destiny::Suspended => {}
        Destiny::Ready | Destiny::Rejected | Destiny::Unservable | Destiny::Worse if luck.failed && stalled => {
            return Ok(());
        }
        Destiny::Worse => must!(ready != rejected(server, status)?, "Worse: true are {truths:?}"),
        Destiny::Ready => must!(ready, "Ready is due, true are {truths:?}: {}", words(status, condition::READY)),
        Destiny::Invalid | Destiny::Failed | Destiny::Rejected | Destiny::Unservable => {
            must!(
                stalled && !ready,
                "{destiny:?}: Stalled is due, true are {truths:?}: {}",
                words(status, condition::READY)
            );
        }
    }
    if ready && destiny == Destiny::Ready && job.spec.serving.is_some() {
        let version =
            server.get::<Service>(NAME).and_then(|service| selected_alone(service)).ok_or("no Service serves")?;
        let shards = shards(&job.spec);
        let numbered = |number: usize| if shards > 1 { format!("-{number}") } else { String::new() };
        for name in (0..shards).map(|number| format!("{NAME}-{version}{}", numbered(number))) {
            let deployment = server.get::<Deployment>(&name).ok_or("a selected Deployment is missing")?;
            let config = serves(server, deployment).ok_or("the replicas have no configuration")?;
            let (found, asked) = (config.digest, digest(&job.spec));
            must!(found == asked, "{found} is served, {asked} is asked for");
            must!(shards == 1 || server.get::<Service>(&name).is_some(), "shards find none of the Service {name}");
        }
        let names = server.all::<Deployment>().keys();
        must!(names.len() == shards, "old Deployments stay: {names:?}");
        let peers = server.all::<Service>().keys().filter(|name| name.contains("-of-")).count();
        must!(peers == if shards > 1 { shards } else { 0 }, "old Services of shards stay");
        must!(server.get::<PodDisruptionBudget>(NAME).is_some(), "there is no disruption budget");
        let scaled = job.spec.serving.as_ref().is_some_and(|serving| serving.autoscaling.is_some());
        must!(
            server.all::<HorizontalPodAutoscaler>().len() == usize::from(scaled),
            "autoscalers do not follow the spec"
        );
    }
    if destiny != Destiny::Invalid && job.spec.serving.is_none() {
        must!(server.all::<Deployment>().is_empty(), "Deployments stay without serving");
        must!(server.all::<HorizontalPodAutoscaler>().is_empty(), "autoscalers stay without serving");
        must!(server.get::<Service>(NAME).is_none(), "the Service stays without serving");
        must!(
            !server.all::<Service>().keys().any(|name| name.contains("-of-")),
            "Services of shards stay without serving"
        );
    }
    history(server, &job.spec, luck)
}

/// Whether the newest model was taken out of the traffic; then it has no pods, and the one before has all of it.
fn rejected(server: &Server, status: &ClusteringJobStatus) -> Result<bool, String> {
    let stalled = status.condition(condition::STALLED).filter(|stalled| stalled.reason == reason::CANARY_REJECTED);
    let Some(canary) = status.serving.as_ref().and_then(|serving| serving.canary.as_ref()) else {
        must!(stalled.is_none(), "CanaryRejected without a canary");
        return Ok(false);
    };
    must!(stalled.is_some() && canary.state == CanaryState::Rejected, "a canary does not end: {canary:?}");
    let service = server.get::<Service>(NAME).ok_or("no Service at the end of a canary")?;
    let version = selected_alone(service).ok_or("a rejected canary gets traffic")?;
    must!(*version != canary.version, "a rejected canary gets all the traffic");
    let replicas = |version: &String| {
        let deployment = server.get::<Deployment>(&format!("{NAME}-{version}"));
        deployment.map_or(0, |deployment| available(deployment))
    };
    must!(replicas(&canary.version) == 0, "a rejected canary keeps its replicas");
    must!(replicas(version) > 0, "nothing answers after a canary");
    Ok(true)
}

fn words(status: &ClusteringJobStatus, kind: &str) -> String {
    status.condition(kind).map(|condition| format!("{}: {}", condition.reason, condition.message)).unwrap_or_default()
}

/// No more runs stay than were asked for, beside the newest; none has lost its record.
fn history(server: &Server, spec: &ClusteringJobSpec, luck: &Luck<'_>) -> Result<(), String> {
    let jobs = server.all::<Job>().len();
    let kept = spec.history.successful_runs + spec.history.failed_runs;
    must!(i32::try_from(jobs).is_ok_and(|jobs| jobs <= kept + 1), "{jobs} Jobs stay, {kept} are to be kept");
    let kept = |name: &&String| !luck.rivalry && !luck.lost.contains(*name);
    for name in server.all::<Job>().keys().filter(kept) {
        must!(server.get::<ConfigMap>(name).is_some(), "Job {name} has no record");
    }
    for (name, secret) in server.all::<Secret>() {
        let run = secret
            .metadata
            .labels
            .as_ref()
            .and_then(|labels| labels.get(label::RUN))
            .map(|run| format!("{NAME}-r{run}"));
        let Some(run) = run.filter(|run| kept(&run)) else { continue };
        must!(server.get::<ConfigMap>(&run).is_some(), "the Secret {name} outlives its run");
    }
    for name in server.all::<Service>().keys().filter(|name| *name != NAME && !name.contains("-of-")).filter(kept) {
        must!(server.get::<ConfigMap>(name).is_some(), "the Service {name} outlives its run");
    }
    Ok(())
}

/// After the resource is gone, so is all that belonged to it.
fn nothing_left(server: &Server) -> Result<(), String> {
    let counts = [
        ("ConfigMaps", server.all::<ConfigMap>().len()),
        ("Secrets", server.all::<Secret>().len()),
        ("Services", server.all::<Service>().len()),
        ("Jobs", server.all::<Job>().len()),
        ("Pods", server.all::<Pod>().len()),
        ("Deployments", server.all::<Deployment>().len()),
        ("autoscalers", server.all::<HorizontalPodAutoscaler>().len()),
        ("disruption budgets", server.all::<PodDisruptionBudget>().len()),
        ("network policies", server.all::<NetworkPolicy>().len()),
    ];
    for (what, count) in counts {
        must!(count == 0, "{count} {what} outlive the resource");
    }
    Ok(())
}
