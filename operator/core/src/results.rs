//! Numbers of a run as the status shows them: reals as text.

use coterie_crds::run::PublishedModel;
use coterie_crds::status::{ModelMetrics, ModelStatus, RunCost};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::validate::Key;

/// A published model, as the status shows it.
pub(crate) fn model_status(model: &PublishedModel, run: &str, key: Key, now: Timestamp) -> ModelStatus {
    let PublishedModel {
        version,
        uri,
        digest,
        rows,
        rows_dropped,
        clusters,
        noise,
        iterations,
        converged,
        inertia,
        silhouette,
        davies_bouldin,
        calinski_harabasz,
        ari,
        nmi,
        smallest_cluster_share,
        seconds,
        cpu_seconds,
        bytes_read,
        peak_rss_bytes,
    } = model;
    ModelStatus {
        version: version.clone(),
        uri: uri.clone(),
        digest: digest.clone(),
        run: run.to_owned(),
        training_hash: key.training_hash,
        retrain_token: key.retrain_token,
        trained_time: Some(Time(now)),
        metrics: ModelMetrics {
            rows: whole(*rows),
            rows_dropped: whole(*rows_dropped),
            clusters: clusters.map(whole),
            noise: noise.map(whole),
            iterations: i64::from(*iterations),
            converged: *converged,
            inertia: real(*inertia),
            silhouette: silhouette.map(score),
            davies_bouldin: davies_bouldin.map(score),
            calinski_harabasz: calinski_harabasz.map(score),
            ari: ari.map(score),
            nmi: nmi.map(score),
            smallest_cluster_share: score(*smallest_cluster_share),
        },
        cost: Some(RunCost {
            seconds: format!("{seconds:.1}"),
            cpu_seconds: format!("{cpu_seconds:.1}"),
            bytes_read: whole(*bytes_read),
            peak_memory_bytes: whole(*peak_rss_bytes),
        }),
    }
}

/// A count as Kubernetes takes it.
pub(crate) fn whole(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A real number in full.
pub(crate) fn real(value: f64) -> String {
    format!("{value}")
}

/// A score for people: four decimals.
fn score(value: f64) -> String {
    format!("{value:.4}")
}
