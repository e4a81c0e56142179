//! What must hold on the server after every write of an operator.

use std::collections::BTreeSet;
use std::sync::Arc;

use coterie_crds::ClusteringJob;
use coterie_crds::names::{annotation, label};
use coterie_crds::run::ServeConfig;
use coterie_crds::status::{CanaryState, RunState};
use coterie_operator_core::Action;
use coterie_operator_core::plan::Object;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Service};

use super::{selected, selected_alone, version};
use crate::explore::apiserver::{Server, Stored};
use crate::explore::deployments::{available, serves};
use crate::explore::jobs::is_active;
use crate::explore::operator::NAME;
use crate::explore::training::Models;

/// What must hold on the server after every write of an operator. Runs may be active at the same time that are all `together` in a
/// schedule that allows it, or where a leader was paused and creates what is cancelled already.
pub fn server(server: &Server, written: &Action, together: &BTreeSet<String>, rivalry: bool) -> Result<(), String> {
    let Some(job) = server.get::<ClusteringJob>(NAME) else { return Ok(()) };
    if let Action::Create(Object::ConfigMap(record)) = written
        && record.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(label::RUN))
        && owned(record.as_ref(), job)
    {
        answered_once(server, job, record)?;
    }
    if matches!(written, Action::Create(Object::Job(_))) && !rivalry {
        let active: Vec<&String> = server
            .all::<Job>()
            .iter()
            .filter(|(_, run)| is_active(run) && owned(run.as_ref(), job))
            .map(|(name, _)| name)
            .collect();
        let allowed = active.iter().all(|name| together.contains(*name));
        must!(active.len() <= 1 || allowed, "runs are active at the same time: {active:?}");
    }
    Ok(())
}

/// The model in service stays in the store, for each of its shards, unless a version that is about to end was put into service by hand.
pub fn stored(server: &Server, models: &Models) -> Result<(), String> {
    let Some(job) = server.get::<ClusteringJob>(NAME) else { return Ok(()) };
    if let Some(service) = server.get::<Service>(NAME)
        && job.spec.serving.is_some()
        && let Some(fleet) = selected(service)
    {
        let answers = |deployment: &&Arc<Deployment>| version(deployment) == Some(fleet) && available(deployment) > 0;
        for deployment in server.all::<Deployment>().values().filter(answers) {
            let Some(ServeConfig { model, .. }) = serves(server, deployment) else { continue };
            must!(models.exists(&model), "the model in service, {model}, was removed from the store");
        }
    }
    Ok(())
}

/// What must hold after a write that was done: what was rejected gets no traffic.
pub fn canary(server: &Server, written: &Action) -> Result<(), String> {
    let status = server.get::<ClusteringJob>(NAME).and_then(|job| job.status.as_ref());
    if matches!(written, Action::Apply(Object::Service(service)) if service.metadata.name.as_deref() == Some(NAME))
        && let Some(canary) = status.and_then(|status| status.serving.as_ref()?.canary.as_ref())
        && canary.state == CanaryState::Rejected
    {
        let alone = server.get::<Service>(NAME).and_then(|service| selected_alone(service));
        must!(alone.is_some_and(|alone| *alone != canary.version), "a rejected canary gets traffic: {canary:?}");
    }
    Ok(())
}

/// No run is made for what the run before it answers already, unless that was cancelled or its outcome was lost.
fn answered_once(server: &Server, job: &Arc<ClusteringJob>, record: &ConfigMap) -> Result<(), String> {
    let of =
        |record: &ConfigMap, key: &str| record.metadata.annotations.as_ref().and_then(|notes| notes.get(key).cloned());
    let name = record.metadata.name.clone().unwrap_or_default();
    let number: Option<i64> = name.rsplit_once("-r").and_then(|(_, number)| number.parse().ok());
    let Some(before) = number.map(|number| format!("{NAME}-r{}", number - 1)) else { return Ok(()) };
    let Some(earlier) = server.get::<ConfigMap>(&before).filter(|earlier| owned(earlier.as_ref(), job)) else {
        return Ok(());
    };
    let history = job.status.iter().flat_map(|status| &status.history);
    let cancelled = history.clone().any(|run| run.name == before && run.state == RunState::Cancelled);
    let same =
        [annotation::TRAINING_HASH, annotation::RETRAIN_TOKEN].iter().all(|key| of(record, key) == of(earlier, key));
    let trigger = of(record, annotation::TRIGGER).unwrap_or_default();
    let excused = cancelled || trigger == "ResultLost" || trigger == "Schedule";
    must!(!same || excused, "run {name} ({trigger}) answers what {before} does");
    Ok(())
}

fn owned<T: Stored>(object: &T, job: &Arc<ClusteringJob>) -> bool {
    object.meta().owner_references.iter().flatten().any(|owner| Some(&owner.uid) == job.metadata.uid.as_ref())
}
