//! The objects of runs: what an open one lacks is made, what is left of others is removed.

use coterie_crds::run::{COORDINATION_PORT, CoordinatorAddress, RELAY_FROM_BYTES, Retention, RunConfig};
use coterie_crds::status::{ModelStatus, RunState};

use super::Account;
use crate::build::{self, Owner, Record};
use crate::context::{Context, Todo};
use crate::plan::{Action, Deletion, Kind, ObjectRef};
use crate::rollout;
use crate::runs::Run;
use crate::validate::Validated;

/// Creates what an open run lacks: the record first, the Job last. `accepted` is the model that is to serve meanwhile.
pub(super) fn ensure(context: &Context<'_>, run: &Run<'_>, accepted: Option<&ModelStatus>, todo: &mut Todo) {
    let job = &context.observed.job;
    let owner = context.owner;
    let workers = match (&run.record, context.spec) {
        (Some((_, record)), _) => record.config.job.workers,
        (None, Ok(spec)) => {
            let record = new_record(context, run, accepted, spec);
            let workers = record.config.job.workers;
            todo.create(build::record(owner, &run.name, &record));
            workers
        }
        // Nobody knows what to train.
        (None, Err(_)) => return,
    };
    if run.service.is_none() {
        todo.apply(None, build::run_service(owner, &run.name, run.number));
    }
    if run.job.is_none() {
        todo.actions.push(Action::CreateIdentity(Box::new(build::identity(owner, &run.name, run.number))));
        todo.create(build::run_job(job, &run.name, run.number, workers, context.settings));
    }
}

fn new_record(context: &Context<'_>, run: &Run<'_>, accepted: Option<&ModelStatus>, spec: &Validated) -> Record {
    let owner = context.owner;
    let in_service = context.status.serving.iter().flat_map(|serving| [&serving.version, &serving.candidate_version]);
    // The status may not know yet of a model that has just been accepted.
    let models = context.status.model.iter().chain(accepted).map(|model| &model.version);
    let mut protect: Vec<String> = in_service.flatten().chain(models).cloned().collect();
    // Also while none of its replicas answers.
    protect.extend(rollout::in_service(context).map(str::to_owned));
    protect.sort();
    protect.dedup();
    let limit = context.observed.job.spec.output.as_ref().and_then(|output| output.history_limit);
    let millis = |duration: jiff::SignedDuration| u64::try_from(duration.as_millis()).unwrap_or_default();
    Record {
        number: run.number,
        trigger: run.trigger,
        training_hash: spec.key.training_hash.clone(),
        retrain_token: spec.key.retrain_token.clone(),
        scheduled_time: run.scheduled,
        config: RunConfig {
            run: format!("{}-{}", run.name, owner.short_uid()),
            version: None,
            job: spec.resolved.clone(),
            coordinator: CoordinatorAddress::Address(format!(
                "{0}-0.{0}.{1}.svc:{COORDINATION_PORT}",
                run.name, owner.namespace
            )),
            lease_millis: millis(context.settings.lease),
            patience_millis: millis(context.settings.patience),
            tls: build::TLS_DIRECTORY.into(),
            retention: limit.map(|limit| Retention { limit: limit.unsigned_abs(), protect }),
            relay_from_bytes: RELAY_FROM_BYTES,
        },
    }
}

/// Removes what is left of runs that are over: cancelled ones, and more finished ones than `spec.history` keeps.
pub(super) fn clean(context: &Context<'_>, runs: &[Run<'_>], account: &Account, todo: &mut Todo) {
    let limits = &context.observed.job.spec.history;
    let newest = account.run.as_ref().map(|run| run.number);
    let (mut successful, mut failed) = (limits.successful_runs, limits.failed_runs);
    for run in runs.iter().rev() {
        let kept = match run.over {
            None => continue,
            Some(RunState::Succeeded) => {
                successful -= 1;
                successful >= 0
            }
            Some(RunState::Failed) => {
                failed -= 1;
                failed >= 0
            }
            Some(_) => false,
        };
        // The Job of the newest run shows how things stand.
        let shown = newest == Some(run.number) && run.over != Some(RunState::Cancelled);
        if !kept && !shown {
            remove(context.owner, run, todo);
        }
    }
}

/// Removes the objects of a run: the Job and its pods first, the record last.
fn remove(owner: Owner<'_>, run: &Run<'_>, todo: &mut Todo) {
    if let Some(job) = run.job {
        todo.delete(job);
        return;
    }
    if run.is_gone() {
        return;
    }
    if run.over == Some(RunState::Cancelled) {
        remove_unseen_job(run, todo);
    }
    // Secrets are never read, so what is left of the run stands for its Secret too.
    todo.actions.push(Action::Delete(Deletion {
        object: ObjectRef { kind: Kind::Secret, name: build::identity_name(owner, &run.name) },
        uid: None,
        resource_version: None,
    }));
    if let Some(service) = run.service {
        todo.delete(service);
    }
    if let Some((record, _)) = &run.record {
        todo.delete(*record);
    }
}

/// Removes a Job that may have been created a moment ago. One of that name that is somebody else's stays: the executor looks first.
pub(super) fn remove_unseen_job(run: &Run<'_>, todo: &mut Todo) {
    let object = ObjectRef { kind: Kind::Job, name: run.name.clone() };
    todo.actions.push(Action::Delete(Deletion { object, uid: None, resource_version: None }));
}
