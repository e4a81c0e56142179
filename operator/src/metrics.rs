//! What the operator counts, in the OpenMetrics text format.

use std::time::Duration;

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use crate::failure::Class;

/// Content type of [`Metrics::encode`].
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Bounds of the histogram of reconciliations, in seconds: from one that has nothing to do to one that waits for the API server.
const SECONDS: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0];

/// How a reconciliation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Outcome {
    /// Nothing was to be done.
    Settled,
    /// Something was written.
    Changed,
    /// It waits for the watches to show an own write.
    Waited,
    /// A step failed.
    Failed,
    /// The job cannot be read, and gets nothing.
    Malformed,
}

/// How a question for progress ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum PollOutcome {
    /// The coordinator answered.
    Answered,
    /// The answer is about another run.
    OtherRun,
    /// There was no answer, or none that makes sense.
    Failed,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WriteLabels {
    kind: String,
    verb: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ErrorLabels {
    class: String,
}

/// Everything that is counted.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    reconciliations: Family<OutcomeLabels, Counter>,
    seconds: Histogram,
    writes: Family<WriteLabels, Counter>,
    errors: Family<ErrorLabels, Counter>,
    polls: Family<OutcomeLabels, Counter>,
    leader: Gauge,
    jobs: Gauge,
}

// === impl Metrics ===

impl Metrics {
    pub(crate) fn new(version: &str) -> Self {
        let mut registry = Registry::with_prefix("coterie_operator");
        let reconciliations = Family::default();
        registry.register("reconciliations", "Reconciliations, by how they ended", reconciliations.clone());
        let seconds = Histogram::new(SECONDS);
        registry.register("reconcile_seconds", "Time that a reconciliation took, writes included", seconds.clone());
        let writes = Family::default();
        registry.register("writes", "Writes that the API server accepted", writes.clone());
        let errors = Family::default();
        registry.register("errors", "Failed steps, by what is done about them", errors.clone());
        let polls = Family::default();
        registry.register("polls", "Questions for the progress of a run", polls.clone());
        let leader = Gauge::default();
        registry.register("leader", "1 while this replica leads", leader.clone());
        let jobs = Gauge::default();
        registry.register("jobs", "Jobs that this replica knows", jobs.clone());
        let build: Family<Vec<(String, String)>, Gauge> = Family::default();
        build.get_or_create(&vec![("version".to_owned(), version.to_owned())]).set(1);
        registry.register("build_info", "The running version: always 1", build);
        Self { registry, reconciliations, seconds, writes, errors, polls, leader, jobs }
    }

    pub(crate) fn reconciled(&self, outcome: Outcome, took: Duration) {
        self.reconciliations.get_or_create(&OutcomeLabels { outcome: format!("{outcome:?}") }).inc();
        self.seconds.observe(took.as_secs_f64());
    }

    pub(crate) fn wrote(&self, kind: &str, verb: &str) {
        self.writes.get_or_create(&WriteLabels { kind: kind.to_owned(), verb: verb.to_owned() }).inc();
    }

    pub(crate) fn failed(&self, class: Class) {
        self.error(&format!("{class:?}"));
    }

    /// A job that cannot be read was met.
    pub(crate) fn malformed(&self) {
        self.error("Malformed");
    }

    /// A watch broke; it starts again.
    pub(crate) fn watch_failed(&self) {
        self.error("Watch");
    }

    pub(crate) fn polled(&self, outcome: PollOutcome) {
        self.polls.get_or_create(&OutcomeLabels { outcome: format!("{outcome:?}") }).inc();
    }

    pub(crate) fn leader(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    pub(crate) fn jobs(&self, count: usize) {
        self.jobs.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Everything, as text.
    pub(crate) fn encode(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }

    fn error(&self, class: &str) {
        self.errors.get_or_create(&ErrorLabels { class: class.to_owned() }).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_as_documented() {
        let metrics = Metrics::new("1.2.3");
        metrics.reconciled(Outcome::Settled, Duration::from_millis(2));
        metrics.wrote("Job", "create");
        metrics.failed(Class::Stale);
        metrics.malformed();
        metrics.polled(PollOutcome::Answered);
        metrics.leader(true);
        metrics.jobs(3);
        let text = metrics.encode();
        for line in [
            "coterie_operator_reconciliations_total{outcome=\"Settled\"} 1",
            "coterie_operator_reconcile_seconds_count 1",
            "coterie_operator_writes_total{kind=\"Job\",verb=\"create\"} 1",
            "coterie_operator_errors_total{class=\"Stale\"} 1",
            "coterie_operator_errors_total{class=\"Malformed\"} 1",
            "coterie_operator_polls_total{outcome=\"Answered\"} 1",
            "coterie_operator_leader 1",
            "coterie_operator_jobs 3",
            "coterie_operator_build_info{version=\"1.2.3\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }
}
