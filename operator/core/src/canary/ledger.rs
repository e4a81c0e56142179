//! How far a canary has come, as it is kept in an annotation of its Deployment and, again, in the status.
//!
//! Either copy may be read late or lost. Within an attempt a canary only ever moves on, so the one that is further counts: a canary that was rejected
//! does not begin anew because one of the two is old.

use coterie_crds::names::annotation;
use coterie_crds::status::{CanaryState, CanaryStatus};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use serde::{Deserialize, Serialize};

/// Where the canary of a version stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Ledger {
    /// What the canary is made from; another attempt begins with the first step.
    pub(crate) attempt: String,
    pub(crate) stage: Stage,
    /// Index of the step.
    pub(crate) step: usize,
    /// When the pods of the step, or of all, were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) begun: Option<Timestamp>,
    /// When the pause of the step began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) paused: Option<Timestamp>,
    /// When the version first got traffic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) opened: Option<Timestamp>,
    /// Why it was rejected.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) why: String,
}

/// The parts of a canary's life, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Stage {
    /// It takes its steps.
    Climbing,
    /// All steps are behind it. This holds for good, whatever becomes of `spec.serving.rollout`.
    Passed,
    /// It gets no traffic.
    Rejected,
}

impl Ledger {
    pub(crate) fn new(attempt: String, now: Timestamp) -> Self {
        Self {
            attempt,
            stage: Stage::Climbing,
            step: 0,
            begun: Some(now),
            paused: None,
            opened: None,
            why: String::new(),
        }
    }

    /// The one on a Deployment.
    pub(crate) fn of(deployment: &Deployment) -> Option<Self> {
        serde_json::from_str(deployment.metadata.annotations.as_ref()?.get(annotation::CANARY)?).ok()
    }

    /// The one that was reported about a version.
    pub(crate) fn reported(status: Option<&CanaryStatus>, version: &str) -> Option<Self> {
        let status = status.filter(|status| status.version == version)?;
        Some(Self {
            attempt: status.attempt.clone(),
            stage: match status.state {
                CanaryState::Starting | CanaryState::Paused => Stage::Climbing,
                CanaryState::Promoting => Stage::Passed,
                CanaryState::Rejected => Stage::Rejected,
            },
            step: usize::try_from(status.step - 1).unwrap_or_default(),
            begun: None,
            paused: status.step_time.as_ref().map(|time| time.0),
            opened: status.start_time.as_ref().map(|time| time.0),
            why: status.message.clone(),
        })
    }

    /// As an annotation.
    pub(crate) fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Whichever has come further; the first where they are alike.
    pub(crate) fn further(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        match (one, other) {
            (Some(one), Some(other)) => Some(if other.rank() > one.rank() { other } else { one }),
            (one, other) => one.or(other),
        }
    }

    fn rank(&self) -> (Stage, usize, bool, bool) {
        (self.stage, self.step, self.paused.is_some(), self.opened.is_some())
    }

    /// Whether the version is to get traffic beside the one in service.
    pub(crate) fn is_open(&self) -> bool {
        self.opened.is_some() && self.stage != Stage::Rejected
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(stage: Stage, step: usize, paused: bool) -> Ledger {
        let new = Ledger::new("a".to_owned(), Timestamp::UNIX_EPOCH);
        Ledger { stage, step, paused: paused.then_some(Timestamp::UNIX_EPOCH), ..new }
    }

    #[test]
    fn the_copy_that_is_further_counts() {
        let life = [
            ledger(Stage::Climbing, 0, false),
            ledger(Stage::Climbing, 0, true),
            ledger(Stage::Climbing, 1, false),
            ledger(Stage::Passed, 1, false),
            ledger(Stage::Rejected, 0, true),
        ];
        for (at, one) in life.iter().enumerate() {
            for other in &life[..=at] {
                assert_eq!(Ledger::further(Some(one.clone()), Some(other.clone())).as_ref(), Some(one));
                assert_eq!(Ledger::further(Some(other.clone()), Some(one.clone())).as_ref(), Some(one));
            }
            assert_eq!(Ledger::further(None, Some(one.clone())).as_ref(), Some(one));
        }
    }

    #[test]
    fn an_annotation_is_read_as_it_was_written() {
        let ledger = Ledger { why: "too \"slow\"".to_owned(), ..ledger(Stage::Rejected, 1, true) };
        let mut deployment = Deployment::default();
        deployment.metadata.annotations = Some([(annotation::CANARY.to_owned(), ledger.text())].into());
        assert_eq!(Ledger::of(&deployment), Some(ledger));
        deployment.metadata.annotations = Some([(annotation::CANARY.to_owned(), "{}".to_owned())].into());
        assert_eq!(Ledger::of(&deployment), None);
    }
}
