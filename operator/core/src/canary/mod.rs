//! The gradual move of the traffic to a new model version, `spec.serving.rollout`.
//!
//! While a version moves up its steps, the Service selects the pods of both versions, and the share of the traffic is that of the pods; so no mesh is
//! needed. The version in service (the *stable* one) keeps all its replicas until the end, so that it can take everything back at any moment.
//!
//! ```text
//! step 1: pods start -> share the traffic for a while -> step 2 ... -> all pods start -> the version takes all
//!              |                 | a gate is missed, a pod restarts, pods do not start any more
//!              | not ready       v
//!              v            rejected: all traffic goes back, the pods end, until something changes
//!         waits, as without steps
//! ```

mod gates;
mod ledger;

use coterie_crds::names::{label, reason};
use coterie_crds::spec::Rollout;
use coterie_crds::status::{CanaryState, CanaryStatus};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use self::gates::Gates;
pub(crate) use self::ledger::{Ledger, Stage};
use crate::context::{Context, Todo};
use crate::plan::{Replica, TrafficPoll};
use crate::replicas::{available, desired, is_ready, stuck, version_of};
use crate::traffic::Traffic;

/// What a canary is decided from, beside the context.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate<'a> {
    /// The version that is to come into service.
    pub(crate) version: &'a str,
    pub(crate) deployment: Option<&'a Deployment>,
    /// The version in service.
    pub(crate) stable: &'a Deployment,
    /// Replicas of the version in service.
    pub(crate) replicas: i32,
    /// Covers what the canary is made from.
    pub(crate) attempt: &'a str,
    /// How long pods may take to become ready.
    pub(crate) deadline: SignedDuration,
    /// Whether its pods are made from what they are to be made from.
    pub(crate) current: bool,
    /// Whether the Service was seen to select the stable version alone.
    pub(crate) closed: bool,
}

/// What a canary comes to.
#[derive(Debug)]
pub(crate) struct Course {
    /// Replicas of the new version.
    pub(crate) replicas: i32,
    pub(crate) ledger: Ledger,
    pub(crate) status: CanaryStatus,
    /// What the job waits for, in words.
    pub(crate) waits: String,
    /// Why its first pods do not get any traffic.
    pub(crate) failure: Option<String>,
    pub(crate) poll: Option<TrafficPoll>,
}

/// The next move of a canary.
pub(crate) fn plan(context: &Context<'_>, rollout: &Rollout, candidate: Candidate<'_>, todo: &mut Todo) -> Course {
    let now = context.now;
    let mut ledger = so_far(context, candidate).unwrap_or_else(|| Ledger::new(candidate.attempt.to_owned(), now));
    let begun = *ledger.begun.get_or_insert(now);
    let late = begun + candidate.deadline;
    let pods = pods(context, candidate.version);
    let traffic = context.observed.traffic.as_ref().filter(|traffic| is_about(traffic, candidate.version, &ledger));
    let size =
        |step: usize| rollout.steps.get(step).map_or(candidate.replicas, |step| share(step.weight, candidate.replicas));
    let ready = |replicas: i32| {
        candidate.current && candidate.deployment.is_some_and(|deployment| is_ready(deployment, replicas))
    };
    let wanted = |ledger: &Ledger| match ledger.stage {
        Stage::Climbing => size(ledger.step),
        Stage::Passed => candidate.replicas,
        Stage::Rejected if candidate.closed => 0,
        // What has been open drains before it ends.
        Stage::Rejected => candidate.deployment.map_or(0, desired),
    };

    let asked = wanted(&ledger);
    let is_late = now >= late && ledger.paused.is_none() && !ready(asked);
    let stopped = candidate.deployment.and_then(stuck).filter(|_| !ready(asked));
    let stopped =
        stopped.or_else(|| is_late.then(|| format!("{asked} replicas are not ready after {:#}", candidate.deadline)));
    let mut failure = None;
    match (ledger.stage, ledger.opened) {
        (Stage::Rejected, _) => {}
        (Stage::Climbing | Stage::Passed, Some(opened)) => {
            let gates = Gates::new(&rollout.gates);
            let fault = pods.iter().find_map(|pod| restart(pod, opened));
            let fault = fault.or_else(|| stopped.map(|words| format!("its replicas do not become ready: {words}")));
            // Bad answers are better than none.
            let why = traffic.and_then(|traffic| gates.missed(traffic)).or(fault);
            if let Some(why) = why.filter(|_| available(candidate.stable) > 0) {
                // It may have passed in an earlier attempt; what is rejected is the present one.
                let attempt = candidate.attempt.to_owned();
                ledger = Ledger { attempt, stage: Stage::Rejected, why, ..ledger };
            }
        }
        // Nobody was served by it yet: its pods may be mended, as without steps.
        (Stage::Climbing | Stage::Passed, None) => failure = stopped,
    }
    if ledger.stage == Stage::Climbing {
        let ready = ready(size(ledger.step)) && is_alone(context, candidate);
        climb(context, rollout, &mut ledger, ready, todo);
    }
    if ledger.stage != Stage::Rejected && ledger.paused.is_none() {
        let late = ledger.begun.unwrap_or(now) + candidate.deadline;
        if now < late {
            todo.wake_at(late);
        }
    }
    let status = report(context, rollout, candidate, &ledger, traffic);
    let poll = ledger.opened.filter(|_| ledger.is_open()).map(|since| TrafficPoll {
        version: candidate.version.to_owned(),
        since,
        replicas: pods.iter().filter_map(|pod| replica(pod)).collect(),
        interval: SignedDuration::from_secs(rollout.gates.interval_seconds.into()),
    });
    Course {
        replicas: wanted(&ledger),
        waits: waits(context, rollout, &ledger, &status),
        failure,
        poll,
        status,
        ledger,
    }
}

/// What is known of the canary: the copy that has come further. What is of an earlier attempt does not count, unless that has passed.
fn so_far(context: &Context<'_>, candidate: Candidate<'_>) -> Option<Ledger> {
    let this = |ledger: &Ledger| ledger.attempt == candidate.attempt;
    let kept = candidate.deployment.and_then(Ledger::of).filter(|kept| this(kept) || kept.stage == Stage::Passed);
    Ledger::further(kept, reported(context, candidate.version).filter(this))
}

fn reported(context: &Context<'_>, version: &str) -> Option<Ledger> {
    Ledger::reported(context.status.serving.as_ref().and_then(|serving| serving.canary.as_ref()), version)
}

/// Whether the canary of a version has begun in any attempt.
pub(crate) fn has_begun(context: &Context<'_>, version: &str, deployment: Option<&Deployment>) -> bool {
    deployment.and_then(Ledger::of).is_some() || reported(context, version).is_some()
}

/// Takes what steps can be taken now.
fn climb(context: &Context<'_>, rollout: &Rollout, ledger: &mut Ledger, ready: bool, todo: &mut Todo) {
    let now = context.now;
    let Some(step) = rollout.steps.get(ledger.step) else { return };
    match ledger.paused {
        None if ready => {
            ledger.paused = Some(now);
            ledger.opened.get_or_insert(now);
            todo.wake_at(now + SignedDuration::from_secs(step.pause_seconds.into()));
        }
        None => {}
        Some(since) => {
            let end = since + SignedDuration::from_secs(step.pause_seconds.into());
            if now < end {
                todo.wake_at(end);
                return;
            }
            (ledger.begun, ledger.paused) = (Some(now), None);
            if ledger.step + 1 < rollout.steps.len() {
                ledger.step += 1;
            } else {
                ledger.stage = Stage::Passed;
            }
        }
    }
}

/// Least number of pods that has a share among it and the stable ones; but at least one, and no more than those.
fn share(weight: i32, stable: i32) -> i32 {
    let (weight, stable) = (i64::from(weight.clamp(1, 99)), i64::from(stable));
    let pods = (weight * stable + 99 - weight) / (100 - weight);
    i32::try_from(pods.clamp(1, stable.max(1))).unwrap_or(1)
}

/// An interval counts that began after this canary first got traffic.
fn is_about(traffic: &Traffic, version: &str, ledger: &Ledger) -> bool {
    traffic.version == version && ledger.opened.is_some_and(|opened| traffic.from >= opened)
}

/// Serving pods of a version that are to stay.
fn pods<'a>(context: &Context<'a>, version: &str) -> Vec<&'a Pod> {
    let pods = context.children.pods.iter();
    pods.filter(|pod| is_serving(pod) && version_of(&pod.metadata) == Some(version)).collect()
}

fn is_serving(pod: &Pod) -> bool {
    let component = pod.metadata.labels.as_ref().and_then(|labels| labels.get(label::COMPONENT));
    component.is_some_and(|component| component == label::SERVING) && pod.metadata.deletion_timestamp.is_none()
}

/// Whether no third version has pods that a Service for both would select.
fn is_alone(context: &Context<'_>, candidate: Candidate<'_>) -> bool {
    let third =
        |version: Option<&str>| version != Some(candidate.version) && version != version_of(&candidate.stable.metadata);
    let deployments = context.children.deployments.iter().map(|deployment| version_of(&deployment.metadata));
    let pods = context.children.pods.iter().filter(|pod| is_serving(pod)).map(|pod| version_of(&pod.metadata));
    !deployments.chain(pods).any(third)
}

/// Where a pod is asked.
fn replica(pod: &Pod) -> Option<Replica> {
    let ip = pod.status.as_ref()?.pod_ip.clone()?;
    Some(Replica { name: pod.metadata.name.clone()?, ip })
}

/// How a container of a pod ended after a time, if one did.
fn restart(pod: &Pod, after: Timestamp) -> Option<String> {
    let statuses = pod.status.as_ref()?.container_statuses.iter().flatten();
    let ends = statuses.flat_map(|status| [&status.state, &status.last_state]).flatten();
    let end = ends
        .filter_map(|state| state.terminated.as_ref())
        .find(|end| end.finished_at.as_ref().is_some_and(|time| time.0 >= after))?;
    let words = end.reason.as_ref().map_or(String::new(), |reason| format!(" ({reason})"));
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    Some(format!("its pod {name} ended with exit code {}{words}", end.exit_code))
}

fn report(
    context: &Context<'_>,
    rollout: &Rollout,
    candidate: Candidate<'_>,
    ledger: &Ledger,
    traffic: Option<&Traffic>,
) -> CanaryStatus {
    let before = context.status.serving.as_ref().and_then(|serving| serving.canary.as_ref());
    let before = before.filter(|before| before.version == candidate.version && before.attempt == ledger.attempt);
    let answering = candidate.deployment.map_or(0, available);
    let all = answering + available(candidate.stable);
    let weight =
        if ledger.is_open() && all > 0 { (f64::from(answering) * 100.0 / f64::from(all)).round() as i32 } else { 0 };
    let part = |part: u64, whole: u64| (whole > 0).then(|| rounded(part as f64 / whole as f64));
    let (requests, error_rate, latency_millis, reassigned) = match traffic {
        Some(traffic) => (
            Some(two_digits(traffic.requests as f64).0 as i64),
            part(traffic.errors, traffic.requests),
            traffic.latency_millis.map(rounded),
            part(traffic.reassigned, traffic.rows),
        ),
        // An operator that has just started has not asked yet.
        None => before.map_or((None, None, None, None), |before| {
            (before.requests, before.error_rate.clone(), before.latency_millis.clone(), before.reassigned.clone())
        }),
    };
    CanaryStatus {
        version: candidate.version.to_owned(),
        attempt: ledger.attempt.clone(),
        state: match (ledger.stage, ledger.paused) {
            (Stage::Climbing, None) => CanaryState::Starting,
            (Stage::Climbing, Some(_)) => CanaryState::Paused,
            (Stage::Passed, _) => CanaryState::Promoting,
            (Stage::Rejected, _) => CanaryState::Rejected,
        },
        step: i32::try_from(ledger.step.min(rollout.steps.len().saturating_sub(1)) + 1).unwrap_or(i32::MAX),
        weight,
        start_time: ledger.opened.map(Time),
        step_time: ledger.paused.map(Time),
        requests,
        error_rate,
        latency_millis,
        reassigned,
        message: ledger.why.clone(),
    }
}

/// A number with two significant digits, so that the status is not written for every change, and how many of them are decimals.
fn two_digits(value: f64) -> (f64, usize) {
    if value == 0.0 || !value.is_finite() {
        return (0.0, 0);
    }
    let decimals = 1 - value.abs().log10().floor() as i32;
    let unit = 10f64.powi(-decimals);
    ((value / unit).round() * unit, usize::try_from(decimals).unwrap_or_default())
}

fn rounded(value: f64) -> String {
    let (value, decimals) = two_digits(value);
    format!("{value:.decimals$}")
}

fn waits(context: &Context<'_>, rollout: &Rollout, ledger: &Ledger, status: &CanaryStatus) -> String {
    let (version, weight, step, steps) = (&status.version, status.weight, status.step, rollout.steps.len());
    match status.state {
        CanaryState::Starting => format!("replicas of model {version} start for step {step} of {steps}"),
        CanaryState::Paused => {
            let pause = rollout.steps.get(ledger.step).map_or(0, |step| step.pause_seconds);
            let end = ledger.paused.unwrap_or(context.now) + SignedDuration::from_secs(pause.into());
            format!("model {version} has {weight} % of the traffic in step {step} of {steps}, until {end}")
        }
        CanaryState::Promoting => format!("model {version} has passed all steps; its remaining replicas start"),
        CanaryState::Rejected => format!("model {version} was rejected"),
    }
}

/// Tells people of the moves of a canary, once each.
pub(crate) fn announce(before: Option<&CanaryStatus>, after: Option<&CanaryStatus>, todo: &mut Todo) {
    let Some(after) = after else { return };
    let same = |before: &&CanaryStatus| before.version == after.version && before.attempt == after.attempt;
    let before = before.filter(same).map(|before| (before.state, before.step));
    if before == Some((after.state, after.step)) {
        return;
    }
    let CanaryStatus { version, step, message, .. } = after;
    match after.state {
        CanaryState::Starting => {}
        CanaryState::Paused => {
            todo.normal(reason::CANARY, "Serve", format!("model {version} takes traffic: step {step}"))
        }
        CanaryState::Promoting => {
            todo.normal(reason::CANARY_PROMOTED, "Serve", format!("model {version} has passed all steps"));
        }
        CanaryState::Rejected => {
            let words = format!("model {version} gets no traffic any more: {message}");
            todo.warning(reason::CANARY_REJECTED, "Serve", words);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The least number of pods, found by trying.
    fn least(weight: i32, stable: i32) -> i32 {
        (1..).find(|pods| pods * 100 >= weight * (pods + stable)).unwrap().min(stable)
    }

    #[test]
    fn a_share_is_the_least_number_of_pods_with_its_weight() {
        for weight in 1..=99 {
            for stable in 1..=60 {
                assert_eq!(share(weight, stable), least(weight, stable), "{weight} % beside {stable}");
            }
        }
    }

    #[test]
    fn numbers_have_two_digits() {
        for (value, text) in [
            (0.0, "0"),
            (0.012_345, "0.012"),
            (1.0, "1.0"),
            (9.96, "10.0"),
            (123.0, "120"),
            (98_765.0, "99000"),
            (1e-9, "0.0000000010"),
        ] {
            assert_eq!(rounded(value), text);
        }
    }
}
