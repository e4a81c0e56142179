//! What the operator decides about a `ClusteringJob`: observed state and the time in, a [`Plan`](plan::Plan) out. No client, no clock, no
//! randomness.
//!
//! # The pipeline
//! | step | module | decides |
//! |---|---|---|
//! | validate | `validate`, `gates`, `schedule` | whether the spec can be acted on, and what a model for it answers (its *key*) |
//! | runs | `runs` | what the objects of each training run say |
//! | train | `training`, `progress`, `results` | which runs end, start, go on, are removed; which model is accepted |
//! | roll out | `rollout`, `canary` | which replicas there are, which versions the Service points at |
//! | report | `conditions` | what the status says of all that |
//! | build | `build` | the objects themselves, from what they are made of |
//!
//! # Guarantees
//! From any state, planning again and again reaches one in which the plan is empty, and stays there; whatever is read late, refused,
//! repeated or cut off on the way. `tests/explore.rs` tries it in many thousand ways.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod build;
mod canary;
mod conditions;
mod context;
mod fleet;
mod gates;
pub mod observed;
pub mod plan;
mod progress;
mod replicas;
mod results;
mod rollout;
mod runs;
mod same;
mod schedule;
pub mod traffic;
mod training;
mod validate;

pub use observed::{Children, Observed, Refusal, Settings};
pub use plan::{Action, Plan};

use coterie_crds::names::{condition, reason};
use coterie_crds::status::{ClusteringJobStatus, Trigger};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::build::Owner;
use crate::context::{Context, Todo};
use crate::plan::Event;

/// Decides what is to be done about one job. Planning again on the state that a plan leads to gives, sooner or later, an empty plan.
#[must_use]
pub fn plan(observed: &Observed, settings: &Settings, now: Timestamp) -> Plan {
    let job = &observed.job;
    if job.metadata.deletion_timestamp.is_some() {
        // Its children go with it, by their owner references.
        return Plan::default();
    }
    // What is written with seconds must be compared in seconds.
    let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
    let owner = Owner::of(job);
    let before = job.status.clone().unwrap_or_default();
    let children = context::owned(&observed.children, owner.uid);
    let spec = validate::validate(job);
    let context = Context { observed, children: &children, status: &before, spec: &spec, settings, owner, now };

    let mut todo = Todo::default();
    let policy = format!("{}-training", owner.name);
    let found = children.network_policies.iter().find(|object| object.metadata.name.as_ref() == Some(&policy));
    todo.apply(found, build::training_policy(owner));
    let mut of_runs = Todo::default();
    let account = training::plan(&context, &mut of_runs);
    let mut of_serving = Todo::default();
    let serving = rollout::plan(&context, account.model.as_ref(), &mut of_serving);
    // A run by the clock does not make the job less ready; whatever else is being written does.
    let by_the_clock = account.run.as_ref().is_some_and(|run| run.trigger == Trigger::Schedule);
    let writing = todo.writes() || of_serving.writes() || (of_runs.writes() && !by_the_clock);
    todo.append(of_runs);
    todo.append(of_serving);
    let conditions = conditions::of(&context, &account, &serving, writing);
    let status = ClusteringJobStatus {
        observed_generation: job.metadata.generation.unwrap_or_default(),
        conditions,
        run: account.run,
        model: account.model,
        serving: serving.status,
        history: account.history,
        last_schedule_time: account.last_schedule.map(Time),
        next_schedule_time: account.next_schedule.map(Time),
    };
    announce(&before, &status, &mut todo);
    let canary = |status: &ClusteringJobStatus| status.serving.as_ref().and_then(|serving| serving.canary.clone());
    canary::announce(canary(&before).as_ref(), canary(&status).as_ref(), &mut todo);
    Plan {
        status: (status != before || job.status.is_none() || !todo.actions.is_empty()).then_some(status),
        actions: todo.actions,
        events: todo.events,
        poll: account.poll,
        traffic: serving.poll,
        wake: todo.wake,
    }
}

/// Tells people of trouble when it begins, and of suspensions.
fn announce(before: &ClusteringJobStatus, after: &ClusteringJobStatus, todo: &mut Todo) {
    let turned = |kind: &str| {
        let (old, new) = (before.condition(kind), after.condition(kind));
        new.filter(|new| old.is_none_or(|old| old.status != new.status || old.reason != new.reason))
    };
    if let Some(stalled) = turned(condition::STALLED)
        && stalled.status == "True"
    {
        for known in [reason::INVALID_SPEC, reason::REFUSED, reason::GATE_FAILED, reason::ROLLOUT_FAILED] {
            if stalled.reason == known {
                todo.events.push(Event {
                    warning: true,
                    reason: known,
                    action: "Reconcile",
                    message: stalled.message.clone(),
                });
            }
        }
    }
    if let Some(suspended) = turned(condition::SUSPENDED) {
        if suspended.status == "True" {
            todo.normal(reason::SUSPENDED, "Suspend", "runs are held back");
        } else if before.condition(condition::SUSPENDED).is_some() {
            todo.normal(reason::NOT_SUSPENDED, "Resume", "runs go on");
        }
    }
}
