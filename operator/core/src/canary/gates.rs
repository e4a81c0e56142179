//! Whether what a canary answered in an interval is good enough.

use coterie_crds::spec::{Decimal, RolloutGates};

use crate::traffic::Traffic;

/// `spec.serving.rollout.gates`, read.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Gates {
    max_error_rate: Option<f64>,
    max_latency_millis: Option<f64>,
    max_reassigned: Option<f64>,
    /// Fewer requests, or rows, say nothing.
    least: u64,
}

impl Gates {
    pub(super) fn new(gates: &RolloutGates) -> Self {
        let RolloutGates { max_error_rate, max_latency_millis, max_reassigned, min_requests, interval_seconds: _ } =
            gates;
        Self {
            // The schema admits nothing but decimal numbers.
            max_error_rate: max_error_rate.as_ref().and_then(Decimal::value),
            max_latency_millis: max_latency_millis.map(f64::from),
            max_reassigned: max_reassigned.as_ref().and_then(Decimal::value),
            least: u64::from(min_requests.unsigned_abs()),
        }
    }

    /// The gates that were missed, in words.
    pub(super) fn missed(&self, traffic: &Traffic) -> Option<String> {
        let &Self { max_error_rate, max_latency_millis, max_reassigned, least } = self;
        let Traffic { requests, errors, latency_millis, rows, reassigned, .. } = traffic;
        let mut missed = Vec::new();
        if *requests >= least {
            let rate = *errors as f64 / *requests as f64;
            if let Some(bound) = max_error_rate.filter(|bound| rate > *bound) {
                missed.push(format!("the error rate of {requests} requests is {rate:.4}, above maxErrorRate {bound}"));
            }
            if let (Some(bound), Some(latency)) = (max_latency_millis, latency_millis)
                && *latency > bound
            {
                missed.push(format!(
                    "95 % of {requests} requests took up to {latency:.1} ms, above maxLatencyMillis {bound}"
                ));
            }
        }
        if *rows >= least {
            let share = *reassigned as f64 / *rows as f64;
            if let Some(bound) = max_reassigned.filter(|bound| share > *bound) {
                missed.push(format!(
                    "the model in service puts {share:.4} of {rows} rows into another cluster, above maxReassigned {bound}"
                ));
            }
        }
        (!missed.is_empty()).then(|| missed.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn traffic(requests: u64, errors: u64, latency: f64, rows: u64, reassigned: u64) -> Traffic {
        Traffic {
            version: "v2".to_owned(),
            from: Timestamp::UNIX_EPOCH,
            until: Timestamp::UNIX_EPOCH,
            requests,
            errors,
            latency_millis: Some(latency),
            rows,
            reassigned,
        }
    }

    fn gates() -> Gates {
        Gates::new(&RolloutGates {
            max_error_rate: Some(Decimal::from("0.01")),
            max_latency_millis: Some(50),
            max_reassigned: Some(Decimal::from("0.3")),
            ..RolloutGates::default()
        })
    }

    #[test]
    fn a_bound_itself_is_kept_to() {
        assert_eq!(gates().missed(&traffic(1000, 10, 50.0, 1000, 300)), None);
    }

    #[test]
    fn every_missed_gate_is_told_with_its_numbers() {
        assert_eq!(
            gates().missed(&traffic(1000, 11, 51.0, 200, 61)).unwrap(),
            "the error rate of 1000 requests is 0.0110, above maxErrorRate 0.01; 95 % of 1000 requests took up to 51.0 ms, above \
             maxLatencyMillis 50; the model in service puts 0.3050 of 200 rows into another cluster, above maxReassigned 0.3"
        );
    }

    #[test]
    fn too_little_says_nothing() {
        assert_eq!(gates().missed(&traffic(99, 99, 9000.0, 99, 99)), None);
        assert!(gates().missed(&traffic(99, 99, 9000.0, 100, 99)).unwrap().starts_with("the model in service"));
    }

    #[test]
    fn what_is_not_set_is_not_judged() {
        assert_eq!(Gates::new(&RolloutGates::default()).missed(&traffic(1000, 1000, 9000.0, 1000, 1000)), None);
    }
}
