//! The algorithm and its parameters.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Decimal, Uri};

/// Choice of the algorithm. Exactly one field is set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.kMeans), has(self.lsh)].exists_one(chosen, chosen)")
        .message("choose exactly one algorithm, such as kMeans: {clusters: 10}"),
)]
pub struct Algorithm {
    /// kMeans is Lloyd's k-means: each row belongs to the nearest of k centroids, each centroid is the mean of its rows.
    /// Mutable; used by the next run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub k_means: Option<KMeans>,

    /// lsh hangs rows together that share a bucket of locality-sensitive hashing in any of some tables: clusters are what hangs
    /// together, however many there are, and rows that hardly any other hangs together with are noise. Mutable; used by the next run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lsh: Option<LshClustering>,
}

/// Parameters of k-means.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.init != 'WarmStart' || has(self.warmStart)")
        .message("init is WarmStart: set warmStart.uri to a model version or an NPY file of centroids")
        .field_path(".warmStart"),
    validation = Rule::new("self.init == 'WarmStart' || !has(self.warmStart)")
        .message("warmStart is used only with init: WarmStart; set that, or remove warmStart")
        .field_path(".warmStart"),
    validation = Rule::new("self.init != 'WarmStart' || self.restarts == 1")
        .message("restarts must be 1 with init: WarmStart, since every restart would begin at the same centroids")
        .field_path(".restarts"),
)]
pub struct KMeans {
    /// clusters is the number of clusters, k. It cannot exceed the number of distinct rows. Required; from 1 to 1000000.
    /// Mutable; used by the next run.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub clusters: i32,

    /// init says how the first centroids are chosen: `KMeansParallel` (k-means||, a few rounds of oversampling over all
    /// rows; the choice for large data), `KMeansPlusPlus` (greedy k-means++ on a uniform sample), `Random` (rows drawn
    /// uniformly) or `WarmStart` (centroids that exist already, see warmStart). Default: `KMeansParallel`. Mutable; used
    /// by the next run.
    #[serde(default)]
    pub init: Init,

    /// warmStart names the first centroids. Set if and only if init is `WarmStart`. Mutable; used by the next run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warm_start: Option<WarmStart>,

    /// maxIterations bounds the iterations of one restart. Default: 300. From 1 to 100000. Mutable; used by the next run.
    #[serde(default = "default_max_iterations")]
    #[schemars(range(min = 1, max = 100_000))]
    pub max_iterations: i32,

    /// tolerance ends the iterations: they stop when the squared movement of all centroids together is at most this
    /// fraction of the mean variance of the columns, as scikit-learn defines it. A decimal number in quotes, such as
    /// `"0.001"` or `"1e-4"`; `"0"` goes on until nothing moves. Default: `"1e-4"`. Mutable; used by the next run.
    #[serde(default = "default_tolerance")]
    pub tolerance: Decimal,

    /// restarts is the number of runs from different first centroids; the one with the least inertia is kept. Default: 1.
    /// From 1 to 100. Mutable; used by the next run.
    #[serde(default = "default_restarts")]
    #[schemars(range(min = 1, max = 100))]
    pub restarts: i32,
}

fn default_max_iterations() -> i32 {
    300
}

fn default_tolerance() -> Decimal {
    Decimal::from("1e-4")
}

fn default_restarts() -> i32 {
    1
}

/// Parameters of clustering by shared buckets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.width) || !self.width.matches('^[0.]+([eE].*)?$')")
        .message("width must be greater than 0; about five times the distance of rows that belong together is a good start")
        .field_path(".width"),
)]
pub struct LshClustering {
    /// tables is the number of tables. Rows hang together that share a bucket in any of them, so more tables find more of the pairs
    /// that are near, and take as much more time. Default: 8. From 1 to 64. Mutable; used by the next run.
    #[serde(default = "default_tables")]
    #[schemars(range(min = 1, max = 64))]
    pub tables: i32,

    /// hashes is the number of hashes that make the key of a bucket. With more of them fewer far rows share a bucket, and fewer near
    /// ones as well. Default: 12. From 1 to 32. Mutable; used by the next run.
    #[serde(default = "default_hashes")]
    #[schemars(range(min = 1, max = 32))]
    pub hashes: i32,

    /// width is the width of the cells that a hash cuts the space into, in the unit of the rows after the feature steps: a few times
    /// the distance of rows that belong together. A decimal number in quotes, such as `"4"` or `"0.25"`, greater than 0. Set if and
    /// only if the metric is Euclidean. Mutable; used by the next run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub width: Option<Decimal>,

    /// minClusterSize is the least number of rows that make a cluster; rows in smaller groups are noise. Default: 2. From 1 to
    /// 1000000. Mutable; used by the next run.
    #[serde(default = "default_min_cluster_size")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub min_cluster_size: i32,

    /// maxClusters bounds the number of clusters, which is known only at the end: a run that finds more of them fails. Default: 10000.
    /// From 1 to 1000000. Mutable; used by the next run.
    #[serde(default = "default_max_clusters")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_clusters: i32,
}

fn default_tables() -> i32 {
    8
}

fn default_hashes() -> i32 {
    12
}

fn default_min_cluster_size() -> i32 {
    2
}

fn default_max_clusters() -> i32 {
    10_000
}

/// How the first centroids are chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Init {
    /// k-means||: rounds of oversampling over all rows.
    #[default]
    KMeansParallel,
    /// Greedy k-means++ on a uniform sample of the rows.
    KMeansPlusPlus,
    /// Rows drawn uniformly.
    Random,
    /// Centroids that exist already.
    WarmStart,
}

/// Where the first centroids are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct WarmStart {
    /// uri names a model version (`.../models/VERSION/`) or an NPY file with one row per cluster and one column per column
    /// of the source. It is read with the source's store settings. Required; 1 to 2048 characters. Mutable; used by the next run.
    pub uri: Uri,
}
