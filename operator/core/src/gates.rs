//! Whether a model is good enough to go into service.

use coterie_crds::spec::{self, Decimal};
use coterie_crds::status::ModelMetrics;

/// `spec.evaluation.gates`, its decimal strings read.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Gates {
    min_silhouette: Option<f64>,
    max_davies_bouldin: Option<f64>,
    min_ari: Option<f64>,
    min_cluster_share: Option<f64>,
    min_rows: Option<i64>,
    converged: bool,
}

impl Gates {
    pub(crate) fn new(gates: &spec::Gates) -> Result<Self, String> {
        let spec::Gates { min_silhouette, max_davies_bouldin, min_ari, min_cluster_share, min_rows, converged } = gates;
        let read = |name: &str, value: &Option<Decimal>| match value {
            None => Ok(None),
            Some(text) => match text.value() {
                Some(value) => Ok(Some(value)),
                None => Err(format!("spec.evaluation.gates.{name} is {:?}, which is not a decimal number", text.0)),
            },
        };
        Ok(Self {
            min_silhouette: read("minSilhouette", min_silhouette)?,
            max_davies_bouldin: read("maxDaviesBouldin", max_davies_bouldin)?,
            min_ari: read("minAri", min_ari)?,
            min_cluster_share: read("minClusterShare", min_cluster_share)?,
            min_rows: *min_rows,
            converged: *converged,
        })
    }

    /// Every gate that the model misses, in words; empty when it is accepted.
    pub(crate) fn missed(&self, metrics: &ModelMetrics) -> Vec<String> {
        let Self { min_silhouette, max_davies_bouldin, min_ari, min_cluster_share, min_rows, converged } = self;
        let mut missed = Vec::new();
        let mut demand =
            |name: &str, bound: Option<f64>, value: Option<&String>, holds: fn(f64, f64) -> bool, side: &str| {
                let Some(bound) = bound else { return };
                match value.and_then(|text| text.parse::<f64>().ok()) {
                    None => missed.push(format!("{name} was not measured")),
                    Some(value) if holds(value, bound) => {}
                    Some(value) => missed.push(format!("{name} is {value}, {side} {bound}")),
                }
            };
        let at_least = |value: f64, bound: f64| value >= bound;
        let at_most = |value: f64, bound: f64| value <= bound;
        demand("the silhouette", *min_silhouette, metrics.silhouette.as_ref(), at_least, "below minSilhouette");
        demand(
            "the Davies-Bouldin index",
            *max_davies_bouldin,
            metrics.davies_bouldin.as_ref(),
            at_most,
            "above maxDaviesBouldin",
        );
        demand("the adjusted Rand index", *min_ari, metrics.ari.as_ref(), at_least, "below minAri");
        let share = Some(&metrics.smallest_cluster_share);
        demand("the share of the smallest cluster", *min_cluster_share, share, at_least, "below minClusterShare");
        if let Some(bound) = min_rows
            && metrics.rows < *bound
        {
            missed.push(format!("it was made from {} rows, fewer than minRows {bound}", metrics.rows));
        }
        if *converged && !metrics.converged {
            missed.push("the iterations did not converge; allow more with maxIterations".to_owned());
        }
        missed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics(silhouette: Option<&str>) -> ModelMetrics {
        ModelMetrics {
            rows: 100,
            silhouette: silhouette.map(str::to_owned),
            smallest_cluster_share: "0.02".to_owned(),
            ..ModelMetrics::default()
        }
    }

    #[test]
    fn no_gates_accept_everything() {
        assert!(Gates::default().missed(&ModelMetrics::default()).is_empty());
    }

    #[test]
    fn every_missed_gate_is_named() {
        let gates = Gates::new(&spec::Gates {
            min_silhouette: Some(Decimal::from("0.5")),
            max_davies_bouldin: Some(Decimal::from("1")),
            min_ari: None,
            min_cluster_share: Some(Decimal::from("0.01")),
            min_rows: Some(101),
            converged: true,
        })
        .unwrap();
        assert_eq!(
            gates.missed(&metrics(Some("0.25"))),
            [
                "the silhouette is 0.25, below minSilhouette 0.5",
                "the Davies-Bouldin index was not measured",
                "it was made from 100 rows, fewer than minRows 101",
                "the iterations did not converge; allow more with maxIterations",
            ]
        );
    }

    #[test]
    fn a_bound_itself_is_accepted() {
        let gates = Gates { min_silhouette: Some(0.5), min_rows: Some(100), ..Gates::default() };
        assert!(gates.missed(&metrics(Some("0.5"))).is_empty());
        assert!(!gates.missed(&metrics(None)).is_empty());
    }
}
