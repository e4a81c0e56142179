//! The model in memory.

use crate::items::Items;
use coterie_algorithms::features::Pipeline;
use coterie_algorithms::kmeans::Centroids;
use coterie_algorithms::members::Members;
use coterie_algorithms::metric::Metric;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A trained model: everything a server needs to answer, and everything needed to train it again.
#[derive(Clone, Debug)]
pub struct Model {
    /// Name of the job that made it.
    pub name: String,
    /// Version within the output: `v1`, `v2`, ...
    pub version: String,
    /// Distance between vectors.
    pub metric: Metric,
    /// From the input's columns to the space the centroids lie in.
    pub pipeline: Pipeline,
    /// k centroids in the pipeline's output space.
    pub centroids: Centroids,
    /// Names of the input's columns, one per input dimension.
    pub feature_names: Vec<String>,
    /// What the members of sets are, where the input was lists of members; `None` for other inputs, and where a model from before
    /// does not tell.
    pub members: Option<Members>,
    /// Statistics per cluster, in the order of the centroids.
    pub clusters: Vec<ClusterStatistics>,
    /// How the model came to be.
    pub training: Training,
    /// The rows it was trained on, where they were kept.
    pub items: Option<Items>,
}

/// What the training run measured about one cluster. Distances are in the pipeline's output space.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterStatistics {
    /// Rows assigned to it.
    pub size: u64,
    /// `size` as a share of all kept rows, 0..=1.
    pub share: f64,
    /// Sum of squared distances of its rows to the centroid.
    pub inertia: f64,
    /// Mean distance of its rows to the centroid; 0 when empty.
    pub mean_distance: f64,
    /// Largest distance of one of its rows to the centroid; 0 when empty.
    pub radius: f64,
    /// How the distances of its rows to the centroid are spread; absent when it is empty or that was not measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distance_percentiles: Option<DistancePercentiles>,
    /// Mean silhouette of its evaluated rows, -1..=1; absent when none was evaluated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silhouette: Option<f64>,
    /// Rows that show what the cluster is like, the nearest to the centroid first; empty when not collected.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exemplars: Vec<RowId>,
}

/// Distances that 50, 90, 95 and 99 percent of a cluster's rows do not exceed, right to 1 part in 64.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DistancePercentiles {
    /// Half of the rows.
    pub p50: f64,
    /// 90 percent.
    pub p90: f64,
    /// 95 percent.
    pub p95: f64,
    /// 99 percent.
    pub p99: f64,
}

/// Identity of a row of the source: the value of its id column, or its ordinal when there is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum RowId {
    /// An integer id, or the row's ordinal.
    Int(i64),
    /// A text id.
    Text(String),
}

/// How a model came to be: enough to reproduce its bits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Training {
    /// Name of the algorithm: `KMeans` or `Lsh`.
    pub algorithm: String,
    /// Parameters of the algorithm and of the evaluation that shape the model. Covered by the model digest, so worker
    /// counts, addresses and times do not belong here.
    pub parameters: serde_json::Value,
    /// Seed of every random choice.
    pub seed: u64,
    /// What was read.
    pub input: Input,
    /// The job as it was run, every default filled in.
    pub spec: serde_json::Value,
    /// Iterations of the kept restart; 0 for an algorithm that does not iterate.
    pub iterations: u32,
    /// Whether the centroid shift fell below the tolerance.
    pub converged: bool,
    /// Quality of the whole clustering.
    pub metrics: Metrics,
    /// End of the training run.
    pub trained_at: Timestamp,
    /// Version of the code that trained it.
    pub code_version: String,
    /// Container image that trained it, by digest; absent outside containers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Number of workers that took part.
    pub workers: u32,
}

/// The input of the training run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Input {
    /// Where the objects lie, without secrets.
    pub uri: String,
    /// One string for the content that was read. Covered by the model digest.
    pub fingerprint: String,
    /// Rows that were kept.
    pub rows: u64,
    /// Rows that were dropped as invalid.
    pub dropped: u64,
    /// The objects in the order they were read.
    pub objects: Vec<InputObject>,
}

/// One object of the input.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InputObject {
    /// Path within its store.
    pub path: String,
    /// Size in bytes.
    pub size: u64,
    /// Entity tag at the time of reading; absent when the store gives none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub e_tag: Option<String>,
}

/// Quality of a clustering. A score that was not computed is absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metrics {
    /// Sum over all rows of the squared distance to their centroid: the nearest one, unless the algorithm put them elsewhere.
    pub inertia: f64,
    /// Rows that belong to no cluster; absent where the algorithm knows no such rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noise: Option<u64>,
    /// Mean silhouette of the evaluated rows, -1..=1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silhouette: Option<f64>,
    /// Rows the silhouette was computed on; it is exact when this is the number of kept rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silhouette_rows: Option<u64>,
    /// Davies-Bouldin index; smaller is better.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub davies_bouldin: Option<f64>,
    /// Calinski-Harabasz index; larger is better.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calinski_harabasz: Option<f64>,
    /// Adjusted Rand index against the source's labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ari: Option<f64>,
    /// Normalised mutual information with the source's labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nmi: Option<f64>,
}

// === impl ClusterStatistics ===

impl ClusterStatistics {
    /// Root of the mean squared distance of its rows to the centroid; 0 when empty.
    pub fn standard_deviation(&self) -> f64 {
        if self.size == 0 { 0.0 } else { (self.inertia / self.size as f64).max(0.0).sqrt() }
    }
}

// === impl Model ===

impl Model {
    /// Number of clusters, k.
    pub fn n_clusters(&self) -> usize {
        self.centroids.len()
    }

    /// Number of values in an input vector.
    pub fn input_dimension(&self) -> usize {
        self.pipeline.input_dimension
    }

    /// Number of values in a centroid: the pipeline's output dimension.
    pub fn dimension(&self) -> usize {
        self.centroids.dimension()
    }
}
