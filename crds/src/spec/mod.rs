//! What a user writes: the `spec` of a `ClusteringJob`, one file per part.
//!
//! Doc comments on fields become the descriptions that `kubectl explain` and the API reference show, so each
//! begins with the serialised name and tells meaning, default, bounds, unit and mutability. Bounds are part of
//! the schema, rules across fields are CEL expressions with a message that says what to change.

mod algorithm;
mod decimal;
mod evaluation;
mod features;
mod metric;
mod output;
mod source;
mod store;
mod uri;
mod workers;

pub use algorithm::{Algorithm, Init, KMeans, WarmStart};
pub use decimal::Decimal;
pub(crate) use decimal::PATTERN as DECIMAL_PATTERN;
pub use evaluation::Evaluation;
pub use features::{FeatureStep, L2Normalize, MinMax, Pca, Standardize};
pub use metric::{Metric, MetricType};
pub use output::Output;
pub use source::{Columns, Format, InvalidRows, Source};
pub use store::Store;
pub use uri::Uri;
pub use workers::Workers;

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::status::ClusteringJobStatus;

/// spec describes the input, the algorithm and where the results go. Every field may be changed; a change is
/// used by the next run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "coterie.dev",
    version = "v1alpha1",
    kind = "ClusteringJob",
    plural = "clusteringjobs",
    singular = "clusteringjob",
    shortname = "clj",
    category = "coterie",
    namespaced,
    status = "ClusteringJobStatus",
    derive = "PartialEq",
    doc = "ClusteringJob finds the groups in vectors that lie in an object store and writes a versioned model of them.",
    printcolumn(
        name = "Clusters",
        type_ = "integer",
        json_path = ".spec.algorithm.kMeans.clusters",
        description = "Number of clusters asked for"
    ),
    printcolumn(
        name = "Model",
        type_ = "string",
        json_path = ".status.model.version",
        description = "Version of the newest model"
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#,
        description = "Whether the job's model is up to date"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("size(self.metadata.name) <= 40")
        .message("metadata.name must have at most 40 characters, since the names of pods and Services are made from it"),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')")
        .message("metadata.name must begin with a lower-case letter and hold only lower-case letters, digits and '-', since Services are named after it"),
)]
#[serde(rename_all = "camelCase")]
pub struct ClusteringJobSpec {
    /// source tells where the vectors are and how to read them. Required. Mutable; used by the next run.
    pub source: Source,

    /// features lists the steps that turn a row of the source into the vector that is clustered, in the order of
    /// their application. What a step learns from the data (a mean, a projection) is stored in the model, and
    /// queries go through the same steps. Each item has exactly one key. Unset: the rows are clustered as they
    /// are. At most 16 steps. Mutable; used by the next run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub features: Vec<FeatureStep>,

    /// metric is the distance between two vectors. Unset: Euclidean. Mutable; used by the next run.
    #[serde(default)]
    pub metric: Metric,

    /// algorithm chooses how the groups are found. Exactly one of its fields is set. Required. Mutable; used by the
    /// next run.
    pub algorithm: Algorithm,

    /// seed makes every random choice of a run. The same seed, data and parameters give the same model, bit by
    /// bit, whatever the number of workers. Default: 0. From 0 to 9223372036854775807. Mutable; used by the next run.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub seed: i64,

    /// workers sets how many processes share the work. Unset: one. Mutable; used by the next run.
    #[serde(default)]
    pub workers: Workers,

    /// evaluation sets how the quality of the result is measured. Unset: the defaults of its fields. Mutable;
    /// used by the next run.
    #[serde(default)]
    pub evaluation: Evaluation,

    /// output tells where the model and the assignments are written. Unset: the place is chosen when the job is
    /// run (`coterie run --output`). Mutable; used by the next run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Output>,
}
