//! How the quality of a result is measured.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::{Decimal, RATIO_PATTERN};

/// Settings of the evaluation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.gates.minSilhouette) || self.sampleSize > 0")
        .message("gates.minSilhouette needs the silhouette, which sampleSize: 0 turns off; raise sampleSize or remove the gate")
        .field_path(".sampleSize"),
)]
pub struct Evaluation {
    /// sampleSize is the number of rows on which the silhouette is computed; with fewer rows in the input it is exact. Its
    /// cost grows with the square of this number. 0 turns the silhouette off. Default: 20000. From 0 to 200000. Unit:
    /// rows. Mutable; used by the next run.
    #[serde(default = "default_sample_size")]
    #[schemars(range(min = 0, max = 200_000))]
    pub sample_size: i32,

    /// gates are the conditions under which a new model goes into service. A model that misses one is kept in the store, but the one
    /// before it goes on serving. Changing gates judges the newest model again, without a new run. Unset: every model is
    /// accepted. Mutable; used at once.
    #[serde(default)]
    pub gates: Gates,
}

/// Least demands on a model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Gates {
    /// minSilhouette is the least mean silhouette. Unset: no demand. A decimal number from 0 to 1 in quotes, such as `"0.5"`.
    /// Mutable; used at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = RATIO_PATTERN))]
    pub min_silhouette: Option<Decimal>,

    /// maxDaviesBouldin is the greatest Davies-Bouldin index. Unset: no demand. A decimal number in quotes, such as `"1.2"`.
    /// Mutable; used at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_davies_bouldin: Option<Decimal>,

    /// minAri is the least adjusted Rand index against source.columns.label. Unset: no demand. A decimal number from 0 to 1 in
    /// quotes, such as `"0.6"`. Mutable; used at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = RATIO_PATTERN))]
    pub min_ari: Option<Decimal>,

    /// minClusterShare is the least share of all rows in the smallest cluster. Unset: no demand. A decimal number from 0 to 1
    /// in quotes, such as `"0.01"`. Mutable; used at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = RATIO_PATTERN))]
    pub min_cluster_share: Option<Decimal>,

    /// minRows is the least number of rows that the model was made from. Unset: no demand. From 1 to 9223372036854775807. Unit:
    /// rows. Mutable; used at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub min_rows: Option<i64>,

    /// converged demands that the iterations came to rest before maxIterations. Default: false. Mutable; used at once.
    #[serde(default)]
    pub converged: bool,
}

fn default_sample_size() -> i32 {
    20_000
}

impl Default for Evaluation {
    fn default() -> Self {
        Evaluation { sample_size: default_sample_size(), gates: Gates::default() }
    }
}
