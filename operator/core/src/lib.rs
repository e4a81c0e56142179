//! What the operator decides about a `ClusteringJob`: observed state and the time in, a [`Plan`](plan::Plan) out. No client, no clock, no randomness.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod observed;
pub mod plan;

pub use observed::{Children, Observed, Refusal, Settings};
pub use plan::{Action, Plan};

use jiff::Timestamp;

/// Decides what is to be done about one job. Planning again on the state that a plan leads to gives an empty plan.
#[must_use]
pub fn plan(_observed: &Observed, _settings: &Settings, _now: Timestamp) -> Plan {
    Plan::default()
}
