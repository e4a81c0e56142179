//! The summary of a finished run: what `coterie run --summary` writes and what the operator puts into status.

use coterie_model::Model;
use serde::{Deserialize, Serialize};

/// Resources a run took, summed over its processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// From the coordinator's start to the published model.
    pub seconds: f64,
    /// CPU seconds of the workers.
    pub cpu_seconds: f64,
    /// Bytes fetched from the source.
    pub bytes_read: u64,
    /// Greatest resident set of any worker, in bytes.
    pub peak_rss_bytes: u64,
}

/// Summary of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Version within the output.
    pub model_version: String,
    /// Where the version lies.
    pub model_uri: String,
    /// Equal digest means equal model.
    pub model_digest: String,
    /// Kept rows.
    pub rows_read: u64,
    /// Rows left out.
    pub rows_dropped: u64,
    /// Rows that belong to no cluster, where the algorithm knows such rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noise: Option<u64>,
    /// Passes made by the kept restart; 0 for an algorithm that does not iterate.
    pub iterations: u32,
    /// Whether the centroids came to rest.
    pub converged: bool,
    /// Sum of squared distances to the nearest centroid.
    pub inertia: f64,
    /// Mean silhouette of the evaluated rows; null when not evaluated.
    pub silhouette: Option<f64>,
    /// Rows the silhouette was computed on.
    pub silhouette_rows: Option<u64>,
    /// Davies-Bouldin index.
    pub davies_bouldin: Option<f64>,
    /// Calinski-Harabasz index.
    pub calinski_harabasz: Option<f64>,
    /// Adjusted Rand index against known classes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ari: Option<f64>,
    /// Normalised mutual information with known classes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nmi: Option<f64>,
    /// Per cluster.
    pub clusters: Vec<ClusterSummary>,
    /// Wall-clock seconds.
    pub seconds: f64,
    /// CPU seconds of the workers.
    pub cpu_seconds: f64,
    /// Bytes fetched from the source.
    pub bytes_read: u64,
    /// Greatest resident set of any worker, in bytes.
    pub peak_rss_bytes: u64,
    /// Number of workers.
    pub workers: u32,
}

/// One cluster of a summary.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterSummary {
    /// Index.
    pub cluster: u32,
    /// Rows.
    pub size: u64,
    /// Share of all rows.
    pub share: f64,
    /// Mean distance to the centroid.
    pub mean_distance: f64,
    /// Greatest distance to the centroid.
    pub radius: f64,
    /// Mean silhouette of its evaluated rows.
    pub silhouette: Option<f64>,
}

impl Summary {
    /// Summary of a published model.
    #[must_use]
    pub fn new(model: &Model, digest: String, uri: String, cost: Cost) -> Self {
        let metrics = &model.training.metrics;
        Self {
            model_version: model.version.clone(),
            model_uri: uri,
            model_digest: digest,
            rows_read: model.training.input.rows,
            rows_dropped: model.training.input.dropped,
            noise: metrics.noise,
            iterations: model.training.iterations,
            converged: model.training.converged,
            inertia: metrics.inertia,
            silhouette: metrics.silhouette,
            silhouette_rows: metrics.silhouette_rows,
            davies_bouldin: metrics.davies_bouldin,
            calinski_harabasz: metrics.calinski_harabasz,
            ari: metrics.ari,
            nmi: metrics.nmi,
            clusters: (0..)
                .zip(&model.clusters)
                .map(|(cluster, statistics)| ClusterSummary {
                    cluster,
                    size: statistics.size,
                    share: statistics.share,
                    mean_distance: statistics.mean_distance,
                    radius: statistics.radius,
                    silhouette: statistics.silhouette,
                })
                .collect(),
            seconds: cost.seconds,
            cpu_seconds: cost.cpu_seconds,
            bytes_read: cost.bytes_read,
            peak_rss_bytes: cost.peak_rss_bytes,
            workers: model.training.workers,
        }
    }
}
