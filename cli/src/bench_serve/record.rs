//! What is kept of each request, and what is told of all.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::exchange::{Answer, Problem};

/// Latencies are kept in nanoseconds with three digits, from a microsecond to ten minutes; what lies outside counts as the end.
const RANGE: (u64, u64) = (1_000, 600_000_000_000);
const DIGITS: u8 = 3;
/// How much later than due a request may be begun before the figures are in doubt.
pub(super) const LATE: Duration = Duration::from_millis(1);

/// Counts and latencies of a measurement while it goes.
#[derive(Debug)]
pub(super) struct Record {
    latency: Histogram<u64>,
    service: Histogram<u64>,
    sent: u64,
    answered: u64,
    bytes_sent: u64,
    bytes_received: u64,
    versions: BTreeMap<String, u64>,
    failures: BTreeMap<String, Failed>,
    late: u64,
    latest: Duration,
    last: Duration,
}

/// What became of a request. Times are counted from the start of the measurement.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) due: Duration,
    pub(super) sent: Duration,
    pub(super) ended: Duration,
    pub(super) bytes_sent: u64,
    pub(super) answer: Result<Answer, Problem>,
}

/// Requests that failed in the same way.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Failed {
    count: u64,
    first_message: String,
}

/// A measurement, as it is told.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Measurement {
    /// From the start to the last answer.
    pub(super) seconds: f64,
    pub(super) sent: u64,
    pub(super) answered: u64,
    pub(super) failed: u64,
    failures: BTreeMap<String, Failed>,
    pub(super) versions: BTreeMap<String, u64>,
    /// From when a request was due to its answer, in milliseconds.
    pub(super) latency: Quantiles,
    /// From when a request was sent to its answer, in milliseconds.
    pub(super) service: Quantiles,
    /// Requests answered a second.
    pub(super) achieved_rate: f64,
    pub(super) rows_per_second: f64,
    /// Bytes of bodies.
    pub(super) bytes_sent: u64,
    pub(super) bytes_received: u64,
    /// Requests that the generator itself began more than a millisecond late.
    pub(super) late: u64,
    /// The longest such delay, in milliseconds.
    pub(super) latest: f64,
}

/// A distribution, in milliseconds.
#[derive(Debug, Clone, Copy, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Quantiles {
    pub(super) p50: f64,
    pub(super) p90: f64,
    pub(super) p95: f64,
    pub(super) p99: f64,
    #[serde(rename = "p99.9")]
    pub(super) p999: f64,
    pub(super) max: f64,
}

// === impl Record ===

impl Record {
    pub(super) fn new() -> Result<Self, hdrhistogram::CreationError> {
        Ok(Self {
            latency: Histogram::new_with_bounds(RANGE.0, RANGE.1, DIGITS)?,
            service: Histogram::new_with_bounds(RANGE.0, RANGE.1, DIGITS)?,
            sent: 0,
            answered: 0,
            bytes_sent: 0,
            bytes_received: 0,
            versions: BTreeMap::new(),
            failures: BTreeMap::new(),
            late: 0,
            latest: Duration::ZERO,
            last: Duration::ZERO,
        })
    }

    /// A request was begun so long after it was due.
    pub(super) fn begun(&mut self, lateness: Duration) {
        self.sent += 1;
        self.late += u64::from(lateness > LATE);
        self.latest = self.latest.max(lateness);
    }

    /// A request ended.
    pub(super) fn ended(&mut self, outcome: Outcome) {
        let Outcome { due, sent, ended, bytes_sent, answer } = outcome;
        self.last = self.last.max(ended);
        self.bytes_sent += bytes_sent;
        match answer {
            Ok(Answer { version, bytes }) => {
                self.answered += 1;
                self.bytes_received += bytes;
                self.latency.saturating_record(nanoseconds(ended.saturating_sub(due)));
                self.service.saturating_record(nanoseconds(ended.saturating_sub(sent)));
                match self.versions.get_mut(&version) {
                    Some(count) => *count += 1,
                    None => drop(self.versions.insert(version, 1)),
                }
            }
            Err(Problem { kind, message }) => self.fail(kind, message, 1),
        }
    }

    /// So many requests had no answer when waiting for them ended, so long after the start.
    pub(super) fn gave_up(&mut self, count: u64, now: Duration) {
        if count > 0 {
            self.last = self.last.max(now);
            self.fail("unanswered".to_owned(), "no answer until waiting for it ended".to_owned(), count);
        }
    }

    fn fail(&mut self, kind: String, message: String, count: u64) {
        self.failures.entry(kind).or_insert(Failed { count: 0, first_message: message }).count += count;
    }

    /// What there is to tell, when each request had so many rows.
    pub(super) fn measurement(&self, rows: usize) -> Measurement {
        let seconds = self.last.as_secs_f64();
        let achieved = if seconds > 0.0 { self.answered as f64 / seconds } else { 0.0 };
        Measurement {
            seconds,
            sent: self.sent,
            answered: self.answered,
            failed: self.failures.values().map(|failed| failed.count).sum(),
            failures: self.failures.clone(),
            versions: self.versions.clone(),
            latency: Quantiles::of(&self.latency),
            service: Quantiles::of(&self.service),
            achieved_rate: achieved,
            rows_per_second: achieved * rows as f64,
            bytes_sent: self.bytes_sent,
            bytes_received: self.bytes_received,
            late: self.late,
            latest: milliseconds(nanoseconds(self.latest)),
        }
    }
}

// === impl Measurement ===

impl Measurement {
    /// How requests failed: the status, how often, and what the first of them was told.
    pub(super) fn failures(&self) -> impl Iterator<Item = (&str, u64, &str)> {
        self.failures.iter().map(|(kind, failed)| (kind.as_str(), failed.count, failed.first_message.as_str()))
    }
}

// === impl Quantiles ===

impl Quantiles {
    fn of(histogram: &Histogram<u64>) -> Self {
        let at = |share| milliseconds(histogram.value_at_quantile(share));
        let max = milliseconds(histogram.max());
        Self { p50: at(0.5), p90: at(0.9), p95: at(0.95), p99: at(0.99), p999: at(0.999), max }
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn milliseconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn outcome(due: u32, sent: u32, ended: u32, answer: Result<Answer, Problem>) -> Outcome {
        Outcome { due: MS * due, sent: MS * sent, ended: MS * ended, bytes_sent: 10, answer }
    }

    fn answer(version: &str) -> Result<Answer, Problem> {
        Ok(Answer { version: version.to_owned(), bytes: 7 })
    }

    /// The slow twin: sorted values.
    fn quantile(sorted: &[u32], share: f64) -> f64 {
        f64::from(sorted[(share * sorted.len() as f64).ceil() as usize - 1])
    }

    #[test]
    fn quantiles_are_those_of_the_sorted_values() {
        let mut record = Record::new().unwrap();
        let mut values: Vec<u32> = (0..5000u32).map(|i| 1 + i * 7919 % 5000 * (1 + i % 3)).collect();
        for &value in &values {
            record.begun(Duration::ZERO);
            record.ended(outcome(0, 0, value, answer("v1")));
        }
        values.sort_unstable();
        let Quantiles { p50, p90, p95, p99, p999, max } = record.measurement(1).latency;
        for (share, found) in [(0.5, p50), (0.9, p90), (0.95, p95), (0.99, p99), (0.999, p999), (1.0, max)] {
            let expected = quantile(&values, share);
            assert!((found - expected).abs() <= 1e-3 * expected, "{share}: {found}, expected {expected}");
        }
    }

    #[test]
    fn waiting_counts_from_when_a_request_was_due() {
        let mut record = Record::new().unwrap();
        record.begun(Duration::ZERO);
        record.ended(outcome(100, 400, 450, answer("v1")));
        let measurement = record.measurement(1);
        assert!((measurement.latency.max - 350.0).abs() < 0.5, "{measurement:?}");
        assert!((measurement.service.max - 50.0).abs() < 0.5, "{measurement:?}");
    }

    #[test]
    fn versions_failures_and_bytes_are_counted() {
        let mut record = Record::new().unwrap();
        let refused = |message: &str| Err(Problem { kind: "429".to_owned(), message: message.to_owned() });
        for (ended, answer) in [(500, answer("v1")), (900, answer("v2")), (1000, answer("v2"))] {
            record.begun(Duration::ZERO);
            record.ended(outcome(0, 0, ended, answer));
        }
        record.begun(2 * MS);
        record.ended(outcome(0, 0, 10, refused("first")));
        record.begun(3 * MS);
        record.ended(outcome(0, 0, 10, refused("second")));
        record.begun(Duration::ZERO);
        record.gave_up(1, MS * 2000);
        let measurement = record.measurement(10);
        assert_eq!((measurement.sent, measurement.answered, measurement.failed), (6, 3, 3));
        assert_eq!(measurement.versions, BTreeMap::from([("v1".to_owned(), 1), ("v2".to_owned(), 2)]));
        let failures: Vec<_> = measurement.failures().collect();
        assert_eq!(failures, [("429", 2, "first"), ("unanswered", 1, "no answer until waiting for it ended")]);
        assert_eq!((measurement.bytes_sent, measurement.bytes_received), (50, 21));
        assert_eq!((measurement.seconds, measurement.achieved_rate, measurement.rows_per_second), (2.0, 1.5, 15.0));
        assert_eq!((measurement.late, measurement.latest), (2, 3.0));
    }

    #[test]
    fn nothing_measured_is_no_division_by_zero() {
        let measurement = Record::new().unwrap().measurement(1);
        assert_eq!((measurement.achieved_rate, measurement.latency.p50), (0.0, 0.0));
    }
}
