//! Whether another run is due, and why.

use coterie_crds::names::reason;
use coterie_crds::spec::ConcurrencyPolicy;
use coterie_crds::status::{RunState, Trigger};
use jiff::Timestamp;

use super::{Account, cancel, fresh, is_wanted};
use crate::context::{Context, Todo};
use crate::runs::{self, Run};
use crate::validate::Validated;

/// Claims the next run if one is due.
pub(super) fn start<'a>(context: &Context<'a>, runs: &mut Vec<Run<'a>>, account: &mut Account, todo: &mut Todo) {
    let Ok(spec) = context.spec else { return };
    if spec.schedule.is_none() {
        account.next_schedule = None;
    }
    let suspended = context.observed.job.spec.suspend;
    let wanted = if suspended { None } else { needed(spec, account) };
    let scheduled = scheduled(context, spec, suspended, runs, account, todo);
    let Some(trigger) = wanted.or(scheduled.map(|_| Trigger::Schedule)) else { return };
    let replaced = "the schedule's next time came";
    if trigger == Trigger::Schedule && spec.schedule.as_ref().is_some_and(|s| s.policy == ConcurrencyPolicy::Replace) {
        for run in runs.iter_mut().filter(|run| run.over.is_none()) {
            cancel(context, run, replaced, account, todo);
        }
    }
    let number = runs.last().map_or(1, |run| run.number + 1);
    let name = runs::name(context.owner.name, number);
    account.run = Some(fresh(number, &name, trigger, &spec.key, context.now));
    if scheduled.is_some() {
        account.last_schedule = scheduled;
    }
    todo.normal(reason::RUN_STARTING, "Train", format!("run {name} starts: {}", because(trigger)));
    runs.push(Run {
        number,
        name,
        key: Some(spec.key.clone()),
        trigger,
        scheduled,
        created: None,
        record: None,
        service: None,
        job: None,
        pods: Vec::new(),
        over: None,
    });
}

fn because(trigger: Trigger) -> &'static str {
    match trigger {
        Trigger::Created => "the job is new",
        Trigger::SpecChanged => "the spec changed",
        Trigger::RetrainToken => "the retrain token changed",
        Trigger::Schedule => "the schedule's time has come",
        Trigger::ResultLost => "the outcome of the run before it was lost",
    }
}

/// Why a run is needed apart from the schedule.
fn needed(spec: &Validated, account: &Account) -> Option<Trigger> {
    let satisfied = account.model.as_ref().is_some_and(|model| is_wanted(model, &spec.key));
    let Some(newest) = &account.run else {
        return (!satisfied).then_some(Trigger::Created);
    };
    let hash_is_wanted = newest.training_hash == spec.key.training_hash;
    if hash_is_wanted && newest.retrain_token == spec.key.retrain_token {
        return match newest.state {
            RunState::Cancelled if account.lost => Some(Trigger::ResultLost),
            RunState::Cancelled if !satisfied => Some(Trigger::SpecChanged),
            RunState::Cancelled
            | RunState::Failed
            | RunState::Succeeded
            | RunState::Starting
            | RunState::Suspended
            | RunState::Running => None,
        };
    }
    if satisfied {
        return None;
    }
    Some(if hash_is_wanted { Trigger::RetrainToken } else { Trigger::SpecChanged })
}

/// The time of the schedule that a run may start for now. Keeps the next time up to date.
fn scheduled(
    context: &Context<'_>,
    spec: &Validated,
    suspended: bool,
    runs: &[Run<'_>],
    account: &mut Account,
    todo: &mut Todo,
) -> Option<Timestamp> {
    let schedule = spec.schedule.as_ref()?;
    let next = schedule.next_after(context.now);
    let due = account.next_schedule.and_then(|expected| schedule.due(expected, context.now));
    let Some(due) = due else {
        account.next_schedule = next;
        if let (Some(next), false) = (next, suspended) {
            todo.wake_at(next);
        }
        return None;
    };
    if suspended {
        return None;
    }
    if let Some(next) = next {
        todo.wake_at(next);
    }
    if due.expired {
        todo.warning(
            reason::MISSED_SCHEDULE,
            "Schedule",
            format!("the run of {} is left out: startingDeadlineSeconds has passed", due.time),
        );
        account.next_schedule = next;
        return None;
    }
    let active = runs.iter().any(|run| run.over.is_none());
    if active && schedule.policy == ConcurrencyPolicy::Forbid {
        return None;
    }
    if due.count > 1 {
        todo.warning(
            reason::MISSED_SCHEDULE,
            "Schedule",
            format!(
                "{} times of the schedule passed without a run; only the last, {}, is made up for",
                due.count, due.time
            ),
        );
    }
    account.next_schedule = next;
    Some(due.time)
}
