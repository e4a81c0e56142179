//! What the pods of a model version answered in an interval, from what each of them reports.

use coterie_crds::run::{LatencyReport, TrafficReport};
use jiff::Timestamp;

/// The percentile of the latency that is judged.
const PERCENTILE: f64 = 0.95;

/// What the pods of a model version answered in an interval.
#[derive(Clone, Debug, PartialEq)]
pub struct Traffic {
    /// The version.
    pub version: String,
    /// Begin of the interval.
    pub from: Timestamp,
    /// End of the interval.
    pub until: Timestamp,
    /// Queries answered.
    pub requests: u64,
    /// Those that ended with an error of the server's.
    pub errors: u64,
    /// 95th percentile of the time they took, in milliseconds. `None`: there were none.
    pub latency_millis: Option<f64>,
    /// Rows that were compared with the model in service.
    pub rows: u64,
    /// Those of them that it puts into another cluster.
    pub reassigned: u64,
}

/// Sums of what pods report at the end of an interval, less what they reported at its begin.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sums {
    requests: u64,
    errors: u64,
    latency: LatencyReport,
    rows: u64,
    reassigned: u64,
}

impl Sums {
    /// Adds what one pod has answered between two reports. Counts that fell belong to a process that has begun anew since.
    pub fn add(&mut self, before: &TrafficReport, after: &TrafficReport) {
        let begun_anew = TrafficReport::default();
        let same = before.requests <= after.requests && before.errors <= after.errors;
        let before = if same { before } else { &begun_anew };
        self.requests += after.requests - before.requests;
        self.errors += after.errors - before.errors;
        self.add_latency(&before.latency, &after.latency);
        if let Some(shadow) = &after.shadow {
            let earlier = before.shadow.as_ref().filter(|earlier| earlier.version == shadow.version);
            let (rows, reassigned) = earlier.map_or((0, 0), |earlier| (earlier.rows, earlier.reassigned));
            let rows = shadow.rows.saturating_sub(rows);
            self.rows += rows;
            // The best matching may change between two reports.
            self.reassigned += shadow.reassigned.saturating_sub(reassigned).min(rows);
        }
    }

    fn add_latency(&mut self, before: &LatencyReport, after: &LatencyReport) {
        if self.latency.seconds.is_empty() {
            self.latency = LatencyReport { seconds: after.seconds.clone(), counts: vec![0; after.seconds.len()] };
        }
        // Pods of one version have the same bounds.
        if self.latency.seconds != after.seconds {
            return;
        }
        let earlier = before.counts.iter().copied().chain(std::iter::repeat(0));
        for ((sum, now), earlier) in self.latency.counts.iter_mut().zip(&after.counts).zip(earlier) {
            *sum += now.saturating_sub(earlier);
        }
    }

    /// The sums as what a version answered between two times.
    #[must_use]
    pub fn traffic(self, version: &str, from: Timestamp, until: Timestamp) -> Traffic {
        let Self { requests, errors, latency, rows, reassigned } = self;
        Traffic {
            version: version.to_owned(),
            from,
            until,
            requests,
            errors,
            latency_millis: percentile(&latency, requests).map(|seconds| seconds * 1000.0),
            rows,
            reassigned,
        }
    }
}

/// The percentile of a histogram, between the bounds as if all times in between were as frequent; at most the last bound.
fn percentile(latency: &LatencyReport, requests: u64) -> Option<f64> {
    if requests == 0 {
        return None;
    }
    let rank = PERCENTILE * requests as f64;
    let (mut lower, mut below) = (0.0, 0);
    for (&upper, &count) in latency.seconds.iter().zip(&latency.counts) {
        if count as f64 >= rank {
            let within = (rank - below as f64) / (count - below) as f64;
            return Some(lower + (upper - lower) * within);
        }
        (lower, below) = (upper, count);
    }
    latency.seconds.last().copied()
}

#[cfg(test)]
mod tests {
    use coterie_crds::run::ShadowReport;

    use super::*;

    fn report(requests: u64, errors: u64, counts: [u64; 3]) -> TrafficReport {
        TrafficReport {
            model_version: "v2".to_owned(),
            requests,
            errors,
            latency: LatencyReport { seconds: vec![0.01, 0.02, 0.04], counts: counts.to_vec() },
            shadow: None,
        }
    }

    fn sum(pairs: &[(TrafficReport, TrafficReport)]) -> Traffic {
        let mut sums = Sums::default();
        pairs.iter().for_each(|(before, after)| sums.add(before, after));
        sums.traffic("v2", Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn pods_are_added_up() {
        let one = (report(100, 1, [90, 100, 100]), report(200, 3, [190, 200, 200]));
        let other = (report(0, 0, [0, 0, 0]), report(100, 0, [0, 100, 100]));
        let traffic = sum(&[one, other]);
        assert_eq!((traffic.requests, traffic.errors), (200, 2));
        // 100 up to 10 ms, 100 up to 20 ms: 190 lie below 19 ms.
        assert!((traffic.latency_millis.unwrap() - 19.0).abs() < 1e-9, "{traffic:?}");
    }

    #[test]
    fn a_process_that_began_anew_counts_from_zero() {
        let traffic = sum(&[(report(100, 9, [100, 100, 100]), report(7, 1, [7, 7, 7]))]);
        assert_eq!((traffic.requests, traffic.errors), (7, 1));
        let none = sum(&[(report(5, 0, [5, 5, 5]), report(5, 0, [5, 5, 5]))]);
        assert_eq!((none.requests, none.latency_millis), (0, None));
    }

    #[test]
    fn times_beyond_the_last_bound_are_told_as_that() {
        let traffic = sum(&[(report(0, 0, [0, 0, 0]), report(100, 0, [10, 20, 50]))]);
        assert_eq!(traffic.latency_millis, Some(40.0));
    }

    #[test]
    fn rows_are_compared_with_one_version_only() {
        let shadow = |version: &str, rows, reassigned| {
            let shadow = ShadowReport { version: version.to_owned(), rows, reassigned };
            TrafficReport { shadow: Some(shadow), ..report(10, 0, [10, 10, 10]) }
        };
        let traffic = sum(&[(shadow("v1", 100, 10), shadow("v1", 300, 90))]);
        assert_eq!((traffic.rows, traffic.reassigned), (200, 80));
        let traffic = sum(&[(shadow("v0", 100, 10), shadow("v1", 50, 5))]);
        assert_eq!((traffic.rows, traffic.reassigned), (50, 5));
        // A better matching was found meanwhile.
        let traffic = sum(&[(shadow("v1", 100, 60), shadow("v1", 110, 50))]);
        assert_eq!((traffic.rows, traffic.reassigned), (10, 0));
    }
}
