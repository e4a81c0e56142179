//! How a run ended, as the operator reads it from a pod's termination message.

use coterie_crds::run::{PublishedModel, RunFailure, RunReport};

use super::summary::Summary;
use crate::error::RunError;

/// Most bytes of a termination message; the kubelet keeps no more.
const REPORT_CAP: usize = 4096;
/// Most bytes of the message of a failure.
const MESSAGE_CAP: usize = 2048;

/// The report of a run, or of a worker, that ended so.
#[must_use]
pub fn report(result: &Result<Summary, RunError>) -> RunReport {
    match result {
        Ok(summary) => RunReport::Published(published(summary)),
        Err(error) => RunReport::Failed(RunFailure {
            exit_code: error.exit_code,
            message: cut(&error.message, MESSAGE_CAP).to_owned(),
        }),
    }
}

/// The report as JSON that fits a termination message: quoting may make a message longer than it is.
#[must_use]
pub fn encode(mut report: RunReport) -> String {
    loop {
        let text = serde_json::to_string(&report).unwrap_or_default();
        match &mut report {
            RunReport::Failed(failure) if text.len() > REPORT_CAP && !failure.message.is_empty() => {
                let shorter = failure.message.len() * 3 / 4;
                failure.message = cut(&failure.message, shorter).to_owned();
            }
            RunReport::Failed(_) | RunReport::Published(_) => return text,
        }
    }
}

fn published(summary: &Summary) -> PublishedModel {
    let shares = summary.clusters.iter().map(|cluster| cluster.share);
    PublishedModel {
        version: summary.model_version.clone(),
        uri: summary.model_uri.clone(),
        digest: summary.model_digest.clone(),
        rows: summary.rows_read,
        rows_dropped: summary.rows_dropped,
        clusters: Some(summary.clusters.len() as u64),
        noise: summary.noise,
        iterations: summary.iterations,
        converged: summary.converged,
        inertia: summary.inertia,
        silhouette: summary.silhouette,
        davies_bouldin: summary.davies_bouldin,
        calinski_harabasz: summary.calinski_harabasz,
        ari: summary.ari,
        nmi: summary.nmi,
        smallest_cluster_share: shares.reduce(f64::min).unwrap_or(0.0),
        seconds: summary.seconds,
        cpu_seconds: summary.cpu_seconds,
        bytes_read: summary.bytes_read,
        peak_rss_bytes: summary.peak_rss_bytes,
    }
}

/// The beginning of `text`, of at most `most` bytes and whole characters.
fn cut(text: &str, most: usize) -> &str {
    text.get(..text.floor_char_boundary(most)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(message: String) -> (RunFailure, usize) {
        let text = encode(report(&Err(RunError::data(message))));
        let length = text.len();
        match serde_json::from_str(&text).unwrap() {
            RunReport::Failed(failure) => (failure, length),
            RunReport::Published(model) => panic!("{model:?}"),
        }
    }

    #[test]
    fn failures_keep_their_code_and_what_fits_of_their_message() {
        let (failure, _) = failed("a.parquet, row group 3, column x: NaN".into());
        assert_eq!((failure.exit_code, failure.message.as_str()), (65, "a.parquet, row group 3, column x: NaN"));
        let (failure, length) = failed("ü".repeat(5_000));
        assert_eq!(failure.message, "ü".repeat(1_024));
        assert!(length <= REPORT_CAP);
        // Each of these takes six bytes in JSON.
        let (failure, length) = failed("\u{1}".repeat(2_048));
        assert!(length <= REPORT_CAP && failure.message.len() > 400, "{length}");
    }

    #[test]
    fn a_summary_becomes_a_published_model() {
        let summary: Summary = serde_json::from_value(serde_json::json!({
            "modelVersion": "v2", "modelUri": "s3://m/models/v2", "modelDigest": "blake3:0", "rowsRead": 10, "rowsDropped": 1,
            "iterations": 3, "converged": true, "inertia": 1.5, "silhouette": 0.5, "silhouetteRows": 10,
            "daviesBouldin": null, "calinskiHarabasz": null, "seconds": 1.0, "cpuSeconds": 2.0, "bytesRead": 3,
            "peakRssBytes": 4, "workers": 2, "clusters": [
                {"cluster": 0, "size": 8, "share": 0.8, "meanDistance": 0.1, "radius": 1.0, "silhouette": null},
                {"cluster": 1, "size": 2, "share": 0.2, "meanDistance": 0.1, "radius": 1.0, "silhouette": null}
            ]
        }))
        .unwrap();
        let RunReport::Published(model) = report(&Ok(summary)) else { panic!("a model was published") };
        assert_eq!((model.version.as_str(), model.rows, model.silhouette), ("v2", 10, Some(0.5)));
        assert_eq!(model.smallest_cluster_share, 0.2);
    }
}
