//! The conditions of a job: what holds, and what a person should know or do.
//!
//! kstatus reads `Reconciling` and `Stalled` first, so at most one of them is ever true, and `Ready` is true only when neither is.

use coterie_crds::names::{condition, reason};
use coterie_crds::status::{CanaryState, ModelStatus, RunState, RunStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::context::Context;
use crate::rollout::Outlook;
use crate::training::{self, Account};

/// One condition before it is written.
struct Statement {
    kind: &'static str,
    holds: bool,
    reason: &'static str,
    message: String,
}

/// Why a job cannot go on, or what it waits for.
struct Verdict {
    reason: &'static str,
    message: String,
}

impl Verdict {
    fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

/// All conditions, with transition times kept where nothing changed. `writing`: objects of the job are not yet as they should be.
pub(crate) fn of(context: &Context<'_>, account: &Account, serving: &Outlook, writing: bool) -> Vec<Condition> {
    let trained = trained(context, account);
    let stalled = stalled(context, account, serving);
    let pending = if stalled.is_some() { None } else { pending(context, account, serving, &trained) };
    let applying = || Verdict::new(reason::APPLYING, "objects of the job are being written");
    let pending = pending.or_else(|| (writing && stalled.is_none()).then(applying));
    let suspended = context.observed.job.spec.suspend;

    let mut statements = Vec::new();
    let mut say = |kind, holds, reason, message: String| statements.push(Statement { kind, holds, reason, message });
    match (&stalled, &pending) {
        (Some(verdict), _) | (None, Some(verdict)) => {
            say(condition::READY, false, verdict.reason, verdict.message.clone())
        }
        (None, None) => say(condition::READY, true, reason::READY, everything(account, serving)),
    }
    // A job that is held back on purpose is not at work.
    match pending.as_ref().filter(|verdict| verdict.reason != reason::SUSPENDED) {
        Some(verdict) => say(condition::RECONCILING, true, verdict.reason, verdict.message.clone()),
        None => say(condition::RECONCILING, false, reason::IDLE, "nothing is left to do".to_owned()),
    }
    match &stalled {
        Some(verdict) => say(condition::STALLED, true, verdict.reason, verdict.message.clone()),
        None => say(condition::STALLED, false, reason::NOT_STALLED, "nothing hinders the job".to_owned()),
    }
    match &trained {
        Ok(message) => say(condition::TRAINED, true, reason::RUN_SUCCEEDED, message.clone()),
        Err(verdict) => say(condition::TRAINED, false, verdict.reason, verdict.message.clone()),
    }
    let (holds, why, message) = serving_statement(serving, account);
    say(condition::SERVING, holds, why, message);
    if suspended {
        say(
            condition::SUSPENDED,
            true,
            reason::SUSPENDED,
            "runs are held back; set spec.suspend to false to go on".to_owned(),
        );
    } else {
        say(condition::SUSPENDED, false, reason::NOT_SUSPENDED, "runs are made when they are due".to_owned());
    }
    statements.into_iter().map(|statement| written(context, statement)).collect()
}

fn written(context: &Context<'_>, statement: Statement) -> Condition {
    let Statement { kind, holds, reason, message } = statement;
    let status = if holds { "True" } else { "False" };
    let before = context.status.condition(kind).filter(|before| before.status == status);
    Condition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: shortened(message),
        observed_generation: context.observed.job.metadata.generation,
        last_transition_time: before.map_or_else(|| context.time(), |before| before.last_transition_time.clone()),
    }
}

/// The API server takes 32768 characters; people take fewer.
fn shortened(message: String) -> String {
    const MOST: usize = 2000;
    match message.char_indices().nth(MOST) {
        None => message,
        Some((end, _)) => format!("{}...", &message[..end]),
    }
}

/// Whether there is an accepted model for the spec: which one, or why not.
fn trained(context: &Context<'_>, account: &Account) -> Result<String, Verdict> {
    let Ok(spec) = context.spec else {
        return Err(match &account.model {
            Some(model) => Verdict::new(
                reason::INVALID_SPEC,
                format!("the newest model, {}, is of an earlier spec", model.version),
            ),
            None => Verdict::new(reason::INVALID_SPEC, "no model has been trained"),
        });
    };
    if let Some(model) = &account.model
        && model.training_hash == spec.key.training_hash
        && model.retrain_token == spec.key.retrain_token
    {
        return Ok(format!("model {} of run {}", model.version, model.run));
    }
    let Some(run) = &account.run else { return Err(Verdict::new(reason::NOT_TRAINED, "no run has been made yet")) };
    Err(match run.state {
        RunState::Starting => Verdict::new(reason::RUN_STARTING, format!("run {}: {}", run.name, run.message)),
        RunState::Suspended => Verdict::new(reason::QUEUED, format!("run {}: {}", run.name, run.message)),
        RunState::Running => Verdict::new(reason::TRAINING, format!("run {} computes", run.name)),
        RunState::Failed => Verdict::new(reason::RUN_FAILED, format!("run {} failed", run.name)),
        RunState::Succeeded => {
            Verdict::new(reason::GATE_FAILED, format!("the model of run {} misses a gate", run.name))
        }
        RunState::Cancelled => Verdict::new(reason::NOT_TRAINED, "no run has been made for this spec yet"),
    })
}

/// What only a change can mend.
fn stalled(context: &Context<'_>, account: &Account, serving: &Outlook) -> Option<Verdict> {
    let spec = match context.spec {
        Err(message) => return Some(Verdict::new(reason::INVALID_SPEC, message.clone())),
        Ok(spec) => spec,
    };
    if let Some(refusal) = context.observed.refusals.first() {
        let message = format!("the cluster refuses {}: {}", refusal.object, refusal.message);
        return Some(Verdict::new(reason::REFUSED, message));
    }
    if let Some(run) = account.run.as_ref().filter(|run| answers(run, &spec.key)) {
        let kept =
            account.model.as_ref().map_or(String::new(), |model| format!("; model {} stays in service", model.version));
        let verdict = match run.state {
            RunState::Failed => {
                let advice = "change the spec or the data, then set spec.retrainToken to a new value to try again";
                Some(Verdict::new(
                    reason::RUN_FAILED,
                    format!("run {} failed: {}{kept}. {advice}", run.name, run.message),
                ))
            }
            RunState::Succeeded => run.result.as_ref().and_then(|model| gate_missed(context, account, model)),
            RunState::Starting | RunState::Suspended | RunState::Running | RunState::Cancelled => None,
        };
        if verdict.is_some() {
            return verdict;
        }
    }
    if let Some(verdict) = account.model.as_ref().and_then(|model| gate_missed(context, account, model)) {
        return Some(verdict);
    }
    if let Some(why) = &serving.rejection {
        return Some(rejected(account, serving, why));
    }
    let failure = serving.failure.as_ref()?;
    let model = account.model.as_ref().map(|model| model.version.as_str()).unwrap_or_default();
    let kept = match serving.status.as_ref().and_then(|status| status.version.as_deref()) {
        Some(version) if version != model => format!("; model {version} stays in service"),
        Some(_) | None => String::new(),
    };
    Some(Verdict::new(
        reason::ROLLOUT_FAILED,
        format!("replicas of model {model} do not become ready: {failure}{kept}. Look at their pods and logs"),
    ))
}

/// A canary that did worse than it may.
fn rejected(account: &Account, serving: &Outlook, why: &str) -> Verdict {
    let model = account.model.as_ref().map(|model| model.version.as_str()).unwrap_or_default();
    let kept = match serving.status.as_ref().and_then(|status| status.version.as_deref()) {
        Some(version) => format!("; model {version} stays in service"),
        None => String::new(),
    };
    let advice = "train another model (change the spec, or spec.retrainToken), or change spec.serving.rollout to try this one again";
    Verdict::new(reason::CANARY_REJECTED, format!("model {model} was rejected: {why}{kept}. To go on, {advice}"))
}

/// The gates that the newest model misses. They are judged anew whenever they change, for a model in service too: it stays there, but the job
/// says that it is not what was asked for.
fn gate_missed(context: &Context<'_>, account: &Account, model: &ModelStatus) -> Option<Verdict> {
    let spec = context.spec.as_ref().ok()?;
    let missed = spec.gates.missed(&model.metrics);
    if missed.is_empty() || !training::is_wanted(model, &spec.key) {
        return None;
    }
    let kept =
        account.model.as_ref().map_or(String::new(), |model| format!("; model {} stays in service", model.version));
    let advice = "change the data or the parameters, or lower spec.evaluation.gates";
    let missed = missed.join("; ");
    Some(Verdict::new(
        reason::GATE_FAILED,
        format!("model {} is not accepted: {missed}{kept}. {advice}", model.version),
    ))
}

fn answers(run: &RunStatus, key: &crate::validate::Key) -> bool {
    run.training_hash == key.training_hash && run.retrain_token == key.retrain_token
}

/// What the job waits for.
fn pending(
    context: &Context<'_>,
    account: &Account,
    serving: &Outlook,
    trained: &Result<String, Verdict>,
) -> Option<Verdict> {
    if let Err(verdict) = trained {
        if context.observed.job.spec.suspend {
            return Some(Verdict::new(reason::SUSPENDED, "a run is due, but spec.suspend holds it back"));
        }
        return Some(Verdict::new(verdict.reason, verdict.message.clone()));
    }
    let status = serving.status.as_ref()?;
    if serving.complete {
        return None;
    }
    let model = account.model.as_ref().map(|model| model.version.as_str()).unwrap_or_default();
    if let Some(waits) = &serving.waits {
        return Some(Verdict::new(reason::CANARY, waits.clone()));
    }
    let awaited = clause(serving.awaited.as_deref());
    Some(match &status.version {
        Some(version) if version != model => Verdict::new(
            reason::ROLLING_OUT,
            format!("replicas of model {model} start; model {version} answers until they are ready{awaited}"),
        ),
        Some(_) if serving.divides => Verdict::new(
            reason::ROLLING_OUT,
            format!(
                "replicas of model {model} start with other shards; those before answer until they are ready{awaited}"
            ),
        ),
        Some(_) => Verdict::new(
            reason::DEGRADED,
            format!("{} of {} replicas of model {model} are ready{awaited}", status.ready_replicas, status.replicas),
        ),
        None => Verdict::new(reason::ROLLING_OUT, format!("replicas of model {model} start{awaited}")),
    })
}

/// What is added to a message, if anything.
fn clause(words: Option<&str>) -> String {
    words.map_or(String::new(), |words| format!("; {words}"))
}

fn everything(account: &Account, serving: &Outlook) -> String {
    let model = account.model.as_ref().map(|model| model.version.as_str()).unwrap_or_default();
    match &serving.status {
        Some(status) => format!("model {model} answers at {}", status.address),
        None => format!("model {model} is trained"),
    }
}

fn serving_statement(serving: &Outlook, account: &Account) -> (bool, &'static str, String) {
    let Some(status) = &serving.status else {
        return (false, reason::NOT_REQUESTED, "spec.serving is not set".to_owned());
    };
    let canary = status.canary.as_ref().map_or(String::new(), |canary| match canary.state {
        CanaryState::Rejected => format!("; model {} was rejected", canary.version),
        _ if canary.start_time.is_some() => format!("; model {} takes a share", canary.version),
        CanaryState::Starting | CanaryState::Paused | CanaryState::Promoting => String::new(),
    });
    let lacking = clause(serving.lacking.as_deref());
    let ready = format!("{} of {} replicas{lacking}{canary}", status.ready_replicas, status.replicas);
    match &status.version {
        Some(version) if serving.available >= status.replicas => {
            (true, reason::AVAILABLE, format!("model {version} on {ready}"))
        }
        Some(version) if serving.available > 0 => (true, reason::DEGRADED, format!("model {version} on {ready}")),
        _ if account.model.is_none() => (false, reason::NO_MODEL, "there is no accepted model yet".to_owned()),
        _ => (false, reason::ROLLING_OUT, format!("replicas start: {ready}")),
    }
}
