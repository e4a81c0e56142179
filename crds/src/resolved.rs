//! The checked form of a job: every default filled in, every decimal string parsed, every bound verified.
//!
//! Made only by [`crate::resolve`], so no other crate checks the manifest again.

use std::path::Path;

use serde::{Deserialize, Serialize};

/// A job that passed every schema and cross-field rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResolvedJob {
    /// Name of the resource: an RFC 1123 label.
    pub name: String,
    /// Where the vectors are.
    pub source: Source,
    /// Feature steps in the order they are applied.
    pub features: Vec<FeatureStep>,
    /// Distance between vectors.
    pub metric: Metric,
    /// The algorithm and its parameters.
    pub algorithm: Algorithm,
    /// Seed of every random choice.
    pub seed: u64,
    /// How many workers share the splits.
    pub workers: u32,
    /// How the result is judged.
    pub evaluation: Evaluation,
    /// Where the model goes; `None` leaves the choice to the command line.
    pub output: Option<Output>,
    /// How similar items are found; `None` where the rows are not kept for that. Checkpoints, which hold the job, have no names of
    /// fields, so none may be left out.
    #[serde(default)]
    pub items: Option<Items>,
}

/// How similar items are found.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Items {
    /// Share of the nearest items that is found, on average; 0..=1.
    pub recall: f64,
    /// Whether hash tables are built.
    pub tables: bool,
    /// Parameters of the tables, where they are set by hand; `None`: chosen for the recall.
    #[serde(default)]
    pub parameters: Option<TableParameters>,
}

/// Parameters of hash tables, set by hand.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TableParameters {
    /// Number of tables.
    pub tables: u32,
    /// Hashes that make the key of a bucket.
    pub hashes: u32,
    /// Width of a cell; set if and only if the metric is Euclidean.
    #[serde(default)]
    pub width: Option<f64>,
    /// Buckets that a query tries in all tables together; `None`: its own of each table.
    #[serde(default)]
    pub probes: Option<u32>,
}

impl ResolvedJob {
    /// The job with its relative paths below `folder`: a manifest's paths are relative to the folder it lies in.
    ///
    /// Absolute paths and URIs with a scheme stay as they are.
    #[must_use]
    pub fn rebased(mut self, folder: &Path) -> Self {
        let rebase = |uri: &mut String| {
            if !uri.contains("://") {
                *uri = folder.join(&*uri).to_string_lossy().into_owned();
            }
        };
        rebase(&mut self.source.uri);
        if let Some(output) = &mut self.output {
            rebase(&mut output.uri);
        }
        match &mut self.algorithm {
            Algorithm::KMeans(parameters) => match &mut parameters.init {
                Init::WarmStart { uri } => rebase(uri),
                Init::KMeansParallel | Init::KMeansPlusPlus | Init::Random => {}
            },
            Algorithm::Lsh(_) => {}
        }
        self
    }
}

impl Items {
    /// The recall where none is asked for.
    pub const RECALL: f64 = 0.95;
}

/// The input of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Source {
    /// `s3://bucket/prefix`, `file:///dir`, a path, ...; an object, a prefix or a glob. See [`ResolvedJob::rebased`].
    pub uri: String,
    /// Format; `None` infers it from the objects' names.
    pub format: Option<Format>,
    /// Which columns hold what.
    pub columns: Columns,
    /// How to reach the store.
    pub store: Store,
    /// What to do with rows that hold NaN, infinities or nulls.
    pub invalid_rows: InvalidRows,
}

/// File formats of the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Format {
    /// Apache Parquet.
    Parquet,
    /// NumPy's NPY, two-dimensional.
    Npy,
    /// Comma-separated values with a header line.
    Csv,
    /// Arrow IPC file (Feather V2).
    Arrow,
}

/// Names of the source's columns.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Columns {
    /// Column that identifies a row; rows are numbered when unset.
    pub id: Option<String>,
    /// Column with known classes, used for ARI and NMI only.
    pub label: Option<String>,
    /// One column whose values are lists of numbers. Excludes `features`.
    pub vector: Option<String>,
    /// Numeric columns that form the vector, in this order. When both are empty: every numeric column other than id and label.
    pub features: Vec<String>,
    /// How rows are sets; `None` where they are vectors of any numbers. Excludes `vector` and `features` unless it is
    /// [`Sets::Dense`]. Checkpoints, which hold the job, have no names of fields, so none may be left out.
    #[serde(default)]
    pub sets: Option<Sets>,
}

/// How rows are sets, for the metric Jaccard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sets {
    /// A column per possible member, with 1 where it is in the set and 0 where it is not.
    Dense,
    /// One column whose values are lists of members.
    Lists {
        /// Its name.
        column: String,
        /// Number of possible members.
        size: usize,
    },
}

/// Connection settings of an object store.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Store {
    /// Endpoint of an S3-compatible service.
    pub endpoint: Option<String>,
    /// Region; `us-east-1` when unset.
    pub region: Option<String>,
    /// Whether plain HTTP is allowed.
    pub allow_http: bool,
    /// Certificate authorities to trust beside the built-in ones: PEM text (all that a manifest can hold), or the name of a
    /// PEM file (from a command line).
    pub ca_bundle: Option<String>,
}

/// What happens to rows with NaN, infinities or nulls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum InvalidRows {
    /// The run fails and names the first such row.
    #[default]
    Fail,
    /// The row is left out and counted.
    Drop,
}

/// A feature step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum FeatureStep {
    /// Zero mean and unit variance per column.
    Standardize,
    /// Each column to the range 0..1.
    MinMax,
    /// Each row to unit length.
    L2Normalize,
    /// Projection to the leading principal components.
    Pca {
        /// Number of components kept.
        components: usize,
    },
}

/// Distance between vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Metric {
    /// Straight-line distance.
    Euclidean,
    /// One minus the cosine of the angle; k-means becomes spherical k-means.
    Cosine,
    /// Share of the members of two sets that only one of them has.
    Jaccard,
}

/// The algorithm; exactly one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Algorithm {
    /// Lloyd's k-means.
    KMeans(KMeans),
    /// Components of rows that share buckets.
    Lsh(Lsh),
}

/// Parameters of clustering by shared buckets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lsh {
    /// Number of tables: rows hang together that share a bucket in any of them.
    pub tables: u32,
    /// Hashes that make the key of a bucket.
    pub hashes: u32,
    /// Width of a cell; set if and only if the metric is Euclidean.
    pub width: Option<f64>,
    /// Least rows of a cluster; those of smaller components are noise.
    pub min_cluster_size: u64,
    /// Most clusters.
    pub max_clusters: usize,
}

/// Parameters of k-means.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KMeans {
    /// Number of clusters, k.
    pub clusters: usize,
    /// How the first centroids are chosen.
    pub init: Init,
    /// Most iterations of one restart.
    pub max_iterations: u32,
    /// Stop when the squared movement of all centroids falls below tolerance * mean column variance (scikit-learn's definition).
    pub tolerance: f64,
    /// Runs from different starts; the one with the least inertia is kept.
    pub restarts: u32,
}

/// Choice of the first centroids.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Init {
    /// k-means||: rounds of oversampling over all rows, then k-means++ on the candidates.
    KMeansParallel,
    /// Greedy k-means++ on a uniform sample of the rows.
    KMeansPlusPlus,
    /// Rows drawn uniformly.
    Random,
    /// Given centroids: the URI of a model version or of an NPY file with k rows in the source's columns.
    WarmStart {
        /// Where the centroids are.
        uri: String,
    },
}

/// How the result is judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Rows used for the silhouette; with fewer rows in the input it is exact. 0 turns it off.
    pub sample_size: usize,
}

/// Where results go.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Output {
    /// Prefix under which `models/<version>/` and `assignments/` are written.
    pub uri: String,
    /// Whether each row's cluster is written as Parquet.
    pub assignments: bool,
    /// How to reach the store.
    pub store: Store,
}
