//! What must hold whenever a plan is made.

use coterie_crds::names::{condition, label};
use coterie_crds::status::{CanaryState, ClusteringJobStatus, Trigger};
use coterie_operator_core::plan::{Kind, Object};
use coterie_operator_core::{Action, Observed, Plan};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::destiny::accepts;
use super::{CONDITIONS, deployment, digest, fleet, holds, selected, shards, version};
use crate::explore::deployments::available;
use crate::explore::kstatus::{self, Verdict};
use crate::explore::operator::{NAME, describe};
use crate::explore::training::is_worse;

/// What must hold whenever a plan is made.
pub fn plan(observed: &Observed, plan: &Plan) -> Result<(), String> {
    let mut job = observed.job.clone();
    if job.metadata.deletion_timestamp.is_some() {
        must!(
            plan.status.is_none() && plan.actions.is_empty(),
            "writes for a job that is being deleted: {:?}",
            plan.actions
        );
        return Ok(());
    }
    if let Some(status) = &plan.status {
        job.status = Some(status.clone());
    }
    let before = observed.job.status.as_ref();
    let idle = plan.status.is_some() && plan.status.as_ref() == before && plan.actions.is_empty();
    must!(!idle, "the status is written again for nothing");
    let status = job.status.as_ref().ok_or("no status was written")?;
    must!(
        Some(status.observed_generation) == job.metadata.generation,
        "observedGeneration {} at generation {:?}",
        status.observed_generation,
        job.metadata.generation
    );
    conditions(before, status)?;
    if holds(status, condition::READY) {
        ready(observed, status)?;
    }
    if kstatus::verdict(&job) == Verdict::Current {
        // The model in service is as good as before while the schedule's next ones are made.
        let scheduled = status.run.as_ref().is_some_and(|run| run.trigger == Trigger::Schedule);
        let exempt =
            |meta: &ObjectMeta| scheduled && meta.labels.as_ref().is_some_and(|labels| labels.contains_key(label::RUN));
        let makes = |action: &&Action| match action {
            Action::Delete(_) => false,
            Action::CreateIdentity(meta) => !exempt(meta),
            Action::Create(object) | Action::Apply(object) => !exempt(object.metadata()),
        };
        let pending: Vec<String> = plan.actions.iter().filter(makes).map(describe).collect();
        must!(pending.is_empty(), "Ready with pending writes: {pending:?}");
    }
    canary(observed, plan, status)?;
    traffic(observed, plan)
}

/// What was rejected stays so, and while a version takes its steps the one in service keeps its replicas.
fn canary(observed: &Observed, plan: &Plan, status: &ClusteringJobStatus) -> Result<(), String> {
    let of = |status: &ClusteringJobStatus| status.serving.as_ref().and_then(|serving| serving.canary.clone());
    let Some(after) = of(status) else { return Ok(()) };
    if let Some(before) = observed.job.status.as_ref().and_then(of)
        && before.state == CanaryState::Rejected
        && (&before.version, &before.attempt) == (&after.version, &after.attempt)
    {
        must!(after.state == CanaryState::Rejected, "a rejected canary goes on: {after:?}");
    }
    let Some(serving) = &observed.job.spec.serving else { return Ok(()) };
    let most = serving.autoscaling.as_ref().map_or(serving.replicas, |bounds| bounds.max_replicas);
    for action in &plan.actions {
        let Action::Apply(Object::Deployment(wanted)) = action else { continue };
        if version(wanted) == Some(&after.version) {
            continue;
        }
        let replicas = |deployment: &Deployment| deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
        let before = version(wanted).and_then(|version| deployment(&observed.children.deployments, version));
        let before = before.map_or(0, replicas).min(most);
        must!(replicas(wanted) >= before, "the version in service shrinks from {before} during a canary");
    }
    Ok(())
}

fn conditions(before: Option<&ClusteringJobStatus>, status: &ClusteringJobStatus) -> Result<(), String> {
    must!(status.conditions.len() == CONDITIONS.len(), "conditions: {:?}", status.conditions);
    for kind in CONDITIONS {
        let condition = status.condition(kind).ok_or_else(|| format!("condition {kind} is missing"))?;
        must!(
            condition.observed_generation == Some(status.observed_generation),
            "{kind} has another observedGeneration"
        );
        must!(!condition.reason.is_empty(), "{kind} has no reason");
        if let Some(old) = before.and_then(|before| before.condition(kind)) {
            let (moved, changed) =
                (old.last_transition_time != condition.last_transition_time, old.status != condition.status);
            must!(moved <= changed, "the transition time of {kind} moved without a transition");
        }
    }
    must!(
        !(holds(status, condition::RECONCILING) && holds(status, condition::STALLED)),
        "both Reconciling and Stalled are true"
    );
    must!(!(holds(status, condition::READY) && holds(status, condition::STALLED)), "both Ready and Stalled are true");
    Ok(())
}

/// Ready must be true in every sense.
fn ready(observed: &Observed, status: &ClusteringJobStatus) -> Result<(), String> {
    let spec = &observed.job.spec;
    let model = status.model.as_ref().ok_or("Ready without a model")?;
    must!(model.digest == digest(spec), "Ready with model {}, but {} is asked for", model.digest, digest(spec));
    must!(model.retrain_token == spec.retrain_token, "Ready with a model of another retrain token");
    let silhouette = model.metrics.silhouette.as_ref().and_then(|text| text.parse().ok()).unwrap_or(0.0);
    must!(accepts(spec, silhouette), "Ready with a model that misses a gate");
    if spec.serving.is_some() {
        let selected = observed
            .children
            .services
            .iter()
            .find(|service| service.metadata.name.as_deref() == Some(NAME))
            .and_then(selected);
        let wanted = fleet(spec, &model.version);
        must!(selected == Some(&wanted), "Ready, but the Service selects {selected:?}, not {wanted}");
        let deployments = observed.children.deployments.iter();
        let answering =
            deployments.filter(|deployment| version(deployment) == Some(&wanted) && available(deployment) > 0);
        let (found, all) = (answering.count(), shards(spec));
        must!(found == all, "Ready, but replicas of {found} of {all} shards of {wanted} answer");
    }
    Ok(())
}

/// The Service is never moved from replicas that answer to some that do not, and those it selects are not removed.
fn traffic(observed: &Observed, plan: &Plan) -> Result<(), String> {
    // Those of a job before that had the same name are none of this one's.
    let ours = |deployment: &&Deployment| {
        let owners = deployment.metadata.owner_references.iter().flatten();
        owners.map(|owner| Some(&owner.uid)).any(|uid| uid == observed.job.metadata.uid.as_ref())
    };
    let deployments = || observed.children.deployments.iter().filter(ours);
    // A fleet answers once all its shards do.
    let answers = |wanted: &String| {
        let shards = wanted.rsplit_once("-of-").map_or(1, |(_, shards)| shards.parse().unwrap());
        let of_it = deployments().filter(|deployment| version(deployment) == Some(wanted));
        of_it.filter(|deployment| available(deployment) > 0).count() == shards
    };
    let service = observed.children.services.iter().find(|service| service.metadata.name.as_deref() == Some(NAME));
    let before = service.and_then(selected);
    for action in &plan.actions {
        match action {
            Action::Apply(Object::Service(service)) if service.metadata.name.as_deref() == Some(NAME) => {
                let after = selected(service).ok_or("the Service selects no version")?;
                let moved = before != Some(after);
                let others = deployments().filter_map(version).any(|other| other != after && answers(other));
                must!(!moved || answers(after) || !others, "the Service is pointed at {after}, where nothing answers");
            }
            Action::Delete(deletion)
                if deletion.object.kind == Kind::Deployment && observed.job.spec.serving.is_some() =>
            {
                let gone =
                    deployments().find(|d| d.metadata.name.as_ref() == Some(&deletion.object.name)).and_then(version);
                must!(
                    gone.is_none() || before != gone,
                    "the Deployment that the Service selects, {gone:?}, is deleted"
                );
            }
            _ => {}
        }
    }
    Ok(())
}

/// Whether a canary ends because time went by before its pods were ready. Nothing else ends that of a good model.
pub fn is_late(plan: &Plan) -> Result<bool, String> {
    let Some(status) = &plan.status else { return Ok(false) };
    let canary = status.serving.as_ref().and_then(|serving| serving.canary.as_ref());
    let Some(canary) = canary.filter(|canary| canary.state == CanaryState::Rejected) else { return Ok(false) };
    let late = canary.message.contains("do not become ready");
    let worse = status.model.as_ref().is_some_and(|model| is_worse(&model.digest));
    must!(late || worse, "a good canary is rejected: {}", canary.message);
    Ok(late && !worse)
}
