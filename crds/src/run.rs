//! What the parts of a deployment tell each other about one training run or one serving replica: written by the operator (or the
//! standalone launcher), read by the processes it starts, and the other way round.
//!
//! | type | from | to | where on a cluster |
//! |---|---|---|---|
//! | [`RunConfig`] | operator, launcher | every process of a run | ConfigMap `<job>-r<N>`, key [`RUN_CONFIG_KEY`] |
//! | [`RunProgress`] | coordinator | operator | `GET /status` on [`STATUS_PORT`] of the pod with index 0 |
//! | [`RunReport`] | coordinator | operator | termination message of the pod with index 0 |
//! | [`ServeConfig`] | operator | serving replicas | ConfigMap `<job>-<version>`, key [`SERVE_CONFIG_KEY`] |
//! | [`TrafficReport`] | serving replicas | operator | `GET /v1/traffic` on [`SERVING_PORT`] of the pods of a canary |

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::resolved::{Items, ResolvedJob, Store, TableParameters};

/// Key of the run configuration in its ConfigMap, and name of the file in the pod.
pub const RUN_CONFIG_KEY: &str = "run.json";

/// Key of the serving configuration in its ConfigMap, and name of the file in the pod.
pub const SERVE_CONFIG_KEY: &str = "serve.json";

/// Port on which the coordinator answers workers: gRPC with mutual TLS.
pub const COORDINATION_PORT: u16 = 7070;

/// Port on which workers answer each other: gRPC with mutual TLS.
pub const RELAY_PORT: u16 = 7071;

/// Bytes of all workers' messages in a step from which on they pass them on among themselves: a third of a second of a link of
/// 100 Mbit/s.
pub const RELAY_FROM_BYTES: u64 = 4 << 20;

/// Port on which every training pod answers `/healthz`, `/status` and `/metrics`: HTTP, read-only.
pub const STATUS_PORT: u16 = 8080;

/// Port on which every serving pod answers over HTTP.
pub const SERVING_PORT: u16 = 8080;

/// Configuration of a run, the same for all its processes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RunConfig {
    /// Unique id of the run within its output: `<job>-r<N>`, on a cluster followed by the start of the resource's uid.
    pub run: String,
    /// The model version it will publish. `None`: the next free one, which the coordinator reserves when it first starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The job.
    pub job: ResolvedJob,
    /// Where the coordinator is.
    pub coordinator: CoordinatorAddress,
    /// Milliseconds of silence after which a worker loses its splits.
    pub lease_millis: u64,
    /// Milliseconds the coordinator waits for all workers before it starts with those it has.
    pub patience_millis: u64,
    /// Directory with `ca.pem`, `cert.pem`, `key.pem` of this run.
    pub tls: PathBuf,
    /// Which older versions are removed once the run's own is published. `None`: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<Retention>,
    /// Bytes of all workers' messages in a step from which on they form a tree; below, each talks to the coordinator alone.
    #[serde(default = "relay_from_bytes")]
    pub relay_from_bytes: u64,
}

fn relay_from_bytes() -> u64 {
    RELAY_FROM_BYTES
}

/// Which model versions an output keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Retention {
    /// Versions kept, the new one included; at least 1.
    pub limit: u32,
    /// Versions never removed: those in service when the run began.
    pub protect: Vec<String>,
}

/// How workers find the coordinator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CoordinatorAddress {
    /// `host:port`; the coordinator listens on that port.
    Address(String),
    /// A file the coordinator writes its address to; it listens on a free port of the loopback interface.
    File(PathBuf),
}

/// Where a run stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunProgress {
    /// The run's id, [`RunConfig::run`].
    pub run: String,
    /// Incarnation of the coordinator, from 1; grows with each restart.
    pub epoch: u64,
    /// Scan, Features, Init, Iterate (k-means) or Hash, Sum (LSH), Evaluate, Publish, Done or Failed.
    pub stage: String,
    /// Finished passes of the current restart.
    pub iteration: u32,
    /// Bound on passes.
    pub max_iterations: u32,
    /// Restart (of `restarts`), from 1.
    pub restart: u32,
    /// Number of restarts.
    pub restarts: u32,
    /// Inertia of the last pass; none before the first of a restart, and where passes have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inertia: Option<f64>,
    /// Seconds that a pass takes, as of the last ones; 0 before the first.
    pub iteration_seconds: f64,
    /// Kept rows, once known.
    pub rows: u64,
    /// Rows processed per second, over all workers.
    pub rows_per_second: f64,
    /// Workers that hold a lease.
    pub workers: u32,
    /// Splits done in the current step.
    pub splits_done: u32,
    /// Splits in total.
    pub splits_total: u32,
}

/// How a run ended. As JSON at most 4096 bytes, the limit of a termination message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(clippy::large_enum_variant)] // a process has one of them
pub enum RunReport {
    /// A model was published.
    Published(PublishedModel),
    /// There is no model.
    Failed(RunFailure),
}

/// A published model and how good it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PublishedModel {
    /// Version within the output, `v<N>`.
    pub version: String,
    /// Where the version lies.
    pub uri: String,
    /// Equal digest means equal model.
    pub digest: String,
    /// Kept rows.
    pub rows: u64,
    /// Rows left out.
    pub rows_dropped: u64,
    /// Number of clusters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clusters: Option<u64>,
    /// Rows that belong to no cluster, where the algorithm knows such rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noise: Option<u64>,
    /// Passes made by the kept restart; 0 for an algorithm that does not iterate.
    pub iterations: u32,
    /// Whether the centroids came to rest.
    pub converged: bool,
    /// Sum of squared distances to the nearest centroid.
    pub inertia: f64,
    /// Mean silhouette of the evaluated rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silhouette: Option<f64>,
    /// Davies-Bouldin index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub davies_bouldin: Option<f64>,
    /// Calinski-Harabasz index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calinski_harabasz: Option<f64>,
    /// Adjusted Rand index against known classes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ari: Option<f64>,
    /// Normalised mutual information with known classes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nmi: Option<f64>,
    /// Share of all rows in the smallest cluster.
    pub smallest_cluster_share: f64,
    /// Wall-clock seconds.
    pub seconds: f64,
    /// CPU seconds of the workers.
    pub cpu_seconds: f64,
    /// Bytes fetched from the source.
    pub bytes_read: u64,
    /// Greatest resident set of any worker, in bytes.
    pub peak_rss_bytes: u64,
}

/// Why a run ended without a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunFailure {
    /// 64: the manifest asks for something impossible; 65: the data cannot be used; 66: access denied; 75: try again.
    pub exit_code: i32,
    /// One paragraph for a person.
    pub message: String,
}

/// Configuration of a serving replica.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServeConfig {
    /// Where the model version lies.
    pub model: String,
    /// The digest it must have; a replica with another refuses to start.
    pub digest: String,
    /// How to reach the store.
    pub store: Store,
    /// How similar items are found; `None` where they are not asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub items: Option<ItemsConfig>,
    /// Which answers are kept; `None` for the server's defaults.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<CacheConfig>,
    /// The model in service, where this one is compared with it; `None` where it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<ShadowConfig>,
}

/// How a serving replica finds similar items.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ItemsConfig {
    /// Share of the nearest items that is found, on average; 0..=1.
    pub recall: f64,
    /// Whether hash tables are built.
    pub tables: bool,
    /// Parameters of the tables, where they are set by hand; `None`: chosen for the recall. Left out rather than null: replicas that have none
    /// keep their configuration, and its name, to the byte.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<TableParameters>,
}

impl From<Items> for ItemsConfig {
    fn from(Items { recall, tables, parameters }: Items) -> Self {
        Self { recall, tables, parameters }
    }
}

impl From<ItemsConfig> for Items {
    fn from(ItemsConfig { recall, tables, parameters }: ItemsConfig) -> Self {
        Self { recall, tables, parameters }
    }
}

/// Which answers a serving replica keeps. Who logs in to the server for shared ones comes from the environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CacheConfig {
    /// Memory for answers.
    pub bytes: u64,
    /// How long an answer is kept.
    pub time_to_live_seconds: u64,
    /// Where replicas share answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redis: Option<RedisConfig>,
}

/// A server for shared answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RedisConfig {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// How the connection is encrypted; not at all when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<RedisTlsConfig>,
    /// How long an answer is waited for.
    pub timeout_millis: u64,
}

/// How the connection to a server for shared answers is encrypted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RedisTlsConfig {
    /// PEM text of certificate authorities to trust beside the built-in ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_bundle: Option<String>,
}

/// A model that a replica loads to compare its own answers with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ShadowConfig {
    /// Where the model version lies.
    pub model: String,
    /// The digest it must have.
    pub digest: String,
    /// How to reach the store.
    pub store: Store,
}

/// What a serving replica has answered since it started. Counts only grow.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrafficReport {
    /// The version that answers.
    pub model_version: String,
    /// Queries answered, whatever came of them.
    pub requests: u64,
    /// Those that ended with an error of the server's.
    pub errors: u64,
    /// How long they took.
    pub latency: LatencyReport,
    /// How the answers compare with those of [`ServeConfig::shadow`]. `None`: they are not compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<ShadowReport>,
}

/// A histogram of times.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LatencyReport {
    /// Upper bounds in seconds, rising.
    pub seconds: Vec<f64>,
    /// Queries that took at most so long, one count per bound.
    pub counts: Vec<u64>,
}

/// How answers compare with those of another model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ShadowReport {
    /// Version of the other model.
    pub version: String,
    /// Rows that both have assigned.
    pub rows: u64,
    /// Rows that the other model puts into another cluster, after the best matching of clusters.
    pub reassigned: u64,
}
