//! What a user writes: the `spec` of a `ClusteringJob`, one file per part.
//!
//! Doc comments on fields become the descriptions that `kubectl explain` and the API reference show, so each
//! begins with the serialised name and tells meaning, default, bounds, unit and mutability. Bounds are part of
//! the schema, rules across fields are CEL expressions with a message that says what to change.

mod algorithm;
mod decimal;
mod evaluation;
mod features;
mod history;
mod lsh;
mod metric;
mod output;
mod pods;
mod rollout;
mod schedule;
mod serving;
mod source;
mod store;
mod uri;
mod workers;

pub use algorithm::{Algorithm, Init, KMeans, LshClustering, WarmStart};
pub use decimal::Decimal;
pub(crate) use decimal::{PATTERN as DECIMAL_PATTERN, RATIO_PATTERN};
pub use evaluation::{Evaluation, Gates};
pub use features::{FeatureStep, L2Normalize, MinMax, Pca, Standardize};
pub use history::History;
pub use lsh::Lsh;
pub use metric::{Metric, MetricType};
pub use output::Output;
pub(crate) use pods::LABEL_PATTERN;
pub use pods::{PodTemplate, Resources, TaintEffect, Toleration, TolerationOperator};
pub use rollout::{Rollout, RolloutGates, RolloutStep};
pub use schedule::{ConcurrencyPolicy, Schedule};
pub use serving::{Autoscaling, Cache, Redis, RedisTls, Serving};
pub use source::{Columns, Format, InvalidRows, SetColumn, Source};
pub use store::{SecretReference, Store};
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
        json_path = ".status.model.metrics.clusters",
        description = "Number of clusters of the newest accepted model"
    ),
    printcolumn(
        name = "Run",
        type_ = "string",
        json_path = ".status.run.name",
        description = "The newest training run"
    ),
    printcolumn(
        name = "Progress",
        type_ = "string",
        json_path = ".status.run.progress",
        description = "Where the newest run stands"
    ),
    printcolumn(
        name = "Model",
        type_ = "string",
        json_path = ".status.model.version",
        description = "Version of the newest accepted model"
    ),
    printcolumn(
        name = "Silhouette",
        type_ = "string",
        json_path = ".status.model.metrics.silhouette",
        description = "Mean silhouette of the newest accepted model"
    ),
    printcolumn(
        name = "Serving",
        type_ = "string",
        json_path = ".status.serving.version",
        description = "Version of the model that answers queries"
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#,
        description = "Whether everything that was asked for is there"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        priority = 1,
        json_path = r#".status.conditions[?(@.type=="Ready")].message"#,
        description = "What the job waits for"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("size(self.metadata.name) <= 40")
        .message("metadata.name must have at most 40 characters, since the names of pods and Services are made from it"),
    validation = Rule::new("!has(self.spec.output) || !has(self.spec.output.store) || !has(self.spec.output.store.credentialsSecretRef) \
         || !has(self.spec.source.store) || !has(self.spec.source.store.credentialsSecretRef) \
         || self.spec.output.store.credentialsSecretRef.name == self.spec.source.store.credentialsSecretRef.name \
         || self.spec.output.uri.split('://')[0] != self.spec.source.uri.split('://')[0]")
        .message("source and output are in stores of the same kind, which can have only one set of credentials: name the same Secret in both"),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')")
        .message("metadata.name must begin with a lower-case letter and hold only lower-case letters, digits and '-', since Services are named after it"),
)]
#[x_kube(
    validation = Rule::new("has(self.output) || !(has(self.serving) || has(self.schedule))")
        .message("a job with serving or schedule needs output, the place in an object store for its models")
        .field_path(".output"),
    validation = Rule::new("!has(self.algorithm.lsh) || self.metric.type != 'Euclidean' || has(self.algorithm.lsh.width)")
        .message("lsh with the metric Euclidean needs width, a few times the distance of rows that belong together")
        .field_path(".algorithm.lsh.width"),
    validation = Rule::new("!has(self.algorithm.lsh) || self.metric.type == 'Euclidean' || !has(self.algorithm.lsh.width)")
        .message("width is used only with the metric Euclidean; remove it, or set metric.type: Euclidean")
        .field_path(".algorithm.lsh.width"),
    validation = Rule::new("!has(self.serving) || !has(self.serving.lsh) || !has(self.serving.lsh.tables) || self.metric.type != 'Euclidean' || has(self.serving.lsh.width)")
        .message("hash tables set by hand need width with the metric Euclidean, a few times the distance of items that are near each other")
        .field_path(".serving.lsh.width"),
    validation = Rule::new("!has(self.serving) || !has(self.serving.lsh) || !has(self.serving.lsh.width) || self.metric.type == 'Euclidean'")
        .message("the width of hash tables is used only with the metric Euclidean; remove it, or set metric.type: Euclidean")
        .field_path(".serving.lsh.width"),
    validation = Rule::new("!has(self.serving) || !has(self.serving.lsh) || !has(self.serving.lsh.probes) || self.metric.type != 'Jaccard'")
        .message("hashes of sets do not tell which bucket is beside another; remove probes, and set more tables or fewer hashes to find more")
        .field_path(".serving.lsh.probes"),
    validation = Rule::new("self.metric.type != 'Jaccard' || has(self.algorithm.lsh)")
        .message("the metric Jaccard works with the algorithm lsh; choose that, or another metric for k-means")
        .field_path(".metric.type"),
    validation = Rule::new("self.metric.type != 'Jaccard' || !has(self.features) || size(self.features) == 0")
        .message("the metric Jaccard takes rows as they are, zeros and ones; remove features, or choose another metric")
        .field_path(".features"),
    validation = Rule::new("self.metric.type == 'Jaccard' || !has(self.source.columns) || !has(self.source.columns.set)")
        .message("sets are compared by the metric Jaccard; set metric.type: Jaccard, or name vector or features instead")
        .field_path(".source.columns.set"),
    validation = Rule::new("!has(self.evaluation.gates.minAri) || (has(self.source.columns) && has(self.source.columns.label))")
        .message("evaluation.gates.minAri compares with known classes; name their column in source.columns.label, or remove the gate"),
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

    /// output tells where the model and the assignments are written. Needed on a cluster. Unset: the place is chosen when
    /// the job is run (`coterie run --output`). Mutable; used by the next run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Output>,

    /// schedule makes runs by the clock, for data that changes under the same source. Only on a cluster; needs output. Unset: runs
    /// are made when the spec changes. Mutable; used at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,

    /// serving asks for replicas that answer queries about the newest accepted model, behind a Service with the job's name. Only
    /// on a cluster; needs output. Unset: the model is only written. Mutable; used at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serving: Option<Serving>,

    /// suspend holds runs back: an active one ends after a checkpoint and goes on from there when suspend is false again. Serving is
    /// not touched. Only on a cluster. Default: false. Mutable; used at once.
    #[serde(default)]
    pub suspend: bool,

    /// retrainToken asks for a run whenever it changes, whatever its text: the declarative way to say "again". Only on a cluster. Unset: no
    /// such run. 1 to 256 characters. Mutable; used at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub retrain_token: Option<String>,

    /// history sets how many finished runs stay to be looked at. Only on a cluster. Unset: the defaults of its fields. Mutable; used
    /// at once.
    #[serde(default)]
    pub history: History,
}
