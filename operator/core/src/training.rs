//! Which runs there should be, and what became of those there are.
//!
//! A run is *open* until the status says how it ended; from then on the status counts and its objects are only history. Each step below takes
//! the account as the one before left it, so the order of the calls in [`plan`] is the order of events within one plan.

mod objects;
mod start;

use coterie_crds::names::reason;
use coterie_crds::run::PublishedModel;
use coterie_crds::status::{FinishedRun, ModelStatus, RunState, RunStatus, Trigger};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::context::{Context, Todo};
use crate::plan::Poll;
use crate::progress;
use crate::results;
use crate::runs::{self, Finding, Run};
use crate::validate::Key;

/// Finished runs that the status lists, beside those whose objects are still there.
const LISTED: usize = 10;

/// What the status says of training, kept up to date step by step.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) run: Option<RunStatus>,
    pub(crate) model: Option<ModelStatus>,
    pub(crate) history: Vec<FinishedRun>,
    pub(crate) last_schedule: Option<Timestamp>,
    pub(crate) next_schedule: Option<Timestamp>,
    pub(crate) poll: Option<Poll>,
    /// A run ended well, but its outcome was lost with its pods.
    lost: bool,
}

/// Decides about the runs of a job.
pub(crate) fn plan(context: &Context<'_>, todo: &mut Todo) -> Account {
    let status = context.status;
    let mut account = Account {
        run: status.run.clone(),
        model: status.model.clone(),
        history: status.history.clone(),
        last_schedule: status.last_schedule_time.as_ref().map(|time| time.0),
        next_schedule: status.next_schedule_time.as_ref().map(|time| time.0),
        poll: None,
        lost: false,
    };
    let mut runs = runs::of(context.owner.name, context.children, status);
    adopt(context, &runs, &mut account);
    for run in &mut runs {
        settle(context, run, &mut account, todo);
    }
    accept(context, &mut account, todo);
    cancel_outdated(context, &mut runs, &mut account, todo);
    start::start(context, &mut runs, &mut account, todo);
    // What is over ends before something new begins, so that a crash in between never leaves two runs at work.
    objects::clean(context, &runs, &account, todo);
    for run in runs.iter().filter(|run| run.over.is_none()) {
        advance(context, run, &mut account, todo);
    }
    forget(&runs, &mut account);
    account
}

/// A run that the status does not know, because the status was lost: takes it from its record.
fn adopt(context: &Context<'_>, runs: &[Run<'_>], account: &mut Account) {
    let Some(newest) = runs.last() else { return };
    if account.run.as_ref().is_some_and(|run| run.number >= newest.number) {
        return;
    }
    let Some(key) = &newest.key else { return };
    account.run = Some(fresh(newest.number, &newest.name, newest.trigger, key, newest.created.unwrap_or(context.now)));
}

fn fresh(number: i64, name: &str, trigger: Trigger, key: &Key, start: Timestamp) -> RunStatus {
    RunStatus {
        name: name.to_owned(),
        number,
        trigger,
        training_hash: key.training_hash.clone(),
        retrain_token: key.retrain_token.clone(),
        state: RunState::Starting,
        start_time: Some(Time(start)),
        completion_time: None,
        message: String::new(),
        progress: String::new(),
        iteration: None,
        max_iterations: None,
        inertia: None,
        rows: None,
        rows_per_second: None,
        workers: None,
        estimated_completion_time: None,
        observed_time: None,
        result: None,
    }
}

/// Puts the end of a run on record.
fn settle(context: &Context<'_>, run: &mut Run<'_>, account: &mut Account, todo: &mut Todo) {
    if run.over.is_some() {
        return;
    }
    let (state, message, model) = match run.finding(context.now) {
        Finding::Published(model) => (RunState::Succeeded, format!("published model {}", model.version), Some(model)),
        Finding::Failed(message) => (RunState::Failed, message, None),
        Finding::Lost => {
            account.lost |= account.run.as_ref().is_some_and(|newest| newest.number == run.number);
            // Not a failure, which would stay one: whenever the job can go on, another run takes its place.
            let message = "the run ended well, but its pods were removed before their outcome was read".to_owned();
            (RunState::Cancelled, message, None)
        }
        Finding::Absent | Finding::Leaving | Finding::Queued | Finding::Waiting(_) | Finding::Running => return,
    };
    let result = model.map(|model| result_of(context, run, &model));
    match state {
        RunState::Succeeded => todo.normal(reason::RUN_SUCCEEDED, "Train", format!("run {} {message}", run.name)),
        RunState::Cancelled => {
            todo.warning(reason::RUN_CANCELLED, "Train", format!("run {} is given up: {message}", run.name));
        }
        _ => todo.warning(reason::RUN_FAILED, "Train", format!("run {} failed: {message}", run.name)),
    }
    close(context, run, state, message, result, account);
}

fn result_of(context: &Context<'_>, run: &Run<'_>, model: &PublishedModel) -> ModelStatus {
    let key = run.key.clone().unwrap_or(Key { training_hash: String::new(), retrain_token: None });
    results::model_status(model, &run.name, key, context.now)
}

/// Ends a run in the account.
fn close(
    context: &Context<'_>,
    run: &mut Run<'_>,
    state: RunState,
    message: String,
    result: Option<ModelStatus>,
    account: &mut Account,
) {
    run.over = Some(state);
    let newest = account.run.as_mut().filter(|newest| newest.number == run.number);
    let start = newest.as_ref().and_then(|newest| newest.start_time.clone()).or(run.created.map(Time));
    account.history.insert(
        0,
        FinishedRun {
            name: run.name.clone(),
            trigger: run.trigger,
            state,
            start_time: start,
            completion_time: Some(context.time()),
            version: result.as_ref().map(|model| model.version.clone()),
            message: message.clone(),
        },
    );
    match newest {
        Some(newest) => {
            newest.state = state;
            newest.completion_time = Some(context.time());
            newest.message = message;
            newest.estimated_completion_time = None;
            newest.rows_per_second = None;
            newest.workers = None;
            newest.progress = progress::finished(state, newest.iteration, result.as_ref());
            if let Some(model) = &result {
                newest.iteration = Some(model.metrics.iterations);
                newest.inertia = Some(model.metrics.inertia.clone());
                newest.rows = Some(model.metrics.rows);
            }
            newest.result = result;
        }
        // A run beside a newer one: its model counts if it is good and nothing newer is there.
        None => {
            if let (Some(model), Ok(spec)) = (result, context.spec)
                && is_wanted(&model, &spec.key)
                && spec.gates.missed(&model.metrics).is_empty()
                && account.model.as_ref().is_none_or(|current| runs::number(&current.run) < Some(run.number))
            {
                account.model = Some(model);
            }
        }
    }
}

/// Whether a model answers what is asked for.
pub(crate) fn is_wanted(model: &ModelStatus, key: &Key) -> bool {
    model.training_hash == key.training_hash && model.retrain_token == key.retrain_token
}

/// Takes the newest run's model into service if the gates let it.
fn accept(context: &Context<'_>, account: &mut Account, todo: &mut Todo) {
    let (Some(run), Ok(spec)) = (&account.run, context.spec) else { return };
    let Some(model) = run.result.as_ref().filter(|model| is_wanted(model, &spec.key)) else { return };
    let current = account.model.as_ref().and_then(|model| runs::number(&model.run));
    if current < Some(run.number) && spec.gates.missed(&model.metrics).is_empty() {
        todo.normal(reason::RUN_SUCCEEDED, "Accept", format!("model {} is accepted: {}", model.version, model.digest));
        account.model = Some(model.clone());
    }
}

/// Ends open runs that answer what is not asked any more.
fn cancel_outdated(context: &Context<'_>, runs: &mut [Run<'_>], account: &mut Account, todo: &mut Todo) {
    let Ok(spec) = context.spec else { return };
    for run in runs.iter_mut().filter(|run| run.over.is_none() && run.key.as_ref() != Some(&spec.key)) {
        cancel(context, run, "the spec or the retrain token changed", account, todo);
    }
}

fn cancel(context: &Context<'_>, run: &mut Run<'_>, why: &str, account: &mut Account, todo: &mut Todo) {
    todo.normal(reason::RUN_CANCELLED, "Train", format!("run {} is cancelled: {why}", run.name));
    if run.is_gone() {
        objects::remove_unseen_job(run, todo); // else `clean` sees to it
    }
    close(context, run, RunState::Cancelled, format!("cancelled: {why}"), None, account);
}

/// Sees to the objects of an open run, and says where it stands.
fn advance(context: &Context<'_>, run: &Run<'_>, account: &mut Account, todo: &mut Todo) {
    let suspended = context.observed.job.spec.suspend;
    let finding = run.finding(context.now);
    if let Some(lost) = run.news_until() {
        // Its outcome is lost if nobody hears of it by then.
        todo.wake_at(lost.max(context.now));
    }
    let (state, message) = match &finding {
        _ if suspended => (
            RunState::Suspended,
            "held back by spec.suspend; goes on from its checkpoint when that is false".to_owned(),
        ),
        Finding::Queued => (RunState::Suspended, "waits in its queue".to_owned()),
        Finding::Absent => (RunState::Starting, "its objects are being created".to_owned()),
        Finding::Leaving => (RunState::Starting, "waits until pods of its former Job have ended".to_owned()),
        Finding::Waiting(why) => (RunState::Starting, why.clone()),
        Finding::Running | Finding::Published(_) | Finding::Failed(_) | Finding::Lost => {
            (RunState::Running, "training".to_owned())
        }
    };
    if suspended {
        if let Some(job) = run.job {
            todo.delete(job);
        }
    } else {
        objects::ensure(context, run, account.model.as_ref(), todo);
    }
    let Some(newest) = account.run.as_mut().filter(|newest| newest.number == run.number) else { return };
    newest.state = state;
    newest.message = message;
    if state != RunState::Running {
        progress::pause(newest);
        return;
    }
    let Some((_, record)) = &run.record else { return };
    progress::update(newest, context, &record.config.run);
    if let Some(pod_ip) = run.coordinator().and_then(|pod| pod.status.as_ref()?.pod_ip.clone()) {
        let last =
            newest.observed_time.as_ref().map_or(context.now, |time| time.0 + context.settings.progress_interval);
        account.poll = Some(Poll { run: record.config.run.clone(), pod_ip, at: last.max(context.now) });
    }
}

/// Shortens the list of finished runs, but not by those that still have objects: without an entry they would be taken for open.
fn forget(runs: &[Run<'_>], account: &mut Account) {
    let present = |name: &str| runs.iter().any(|run| run.name == name && !run.is_gone());
    let mut listed = 0;
    account.history.retain(|entry| {
        listed += 1;
        listed <= LISTED || present(&entry.name)
    });
}
