//! How the quality of a result is measured.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Settings of the evaluation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Evaluation {
    /// sampleSize is the number of rows on which the silhouette is computed; with fewer rows in the input it is exact. Its
    /// cost grows with the square of this number. 0 turns the silhouette off. Default: 20000. From 0 to 200000. Unit:
    /// rows. Mutable; used by the next run.
    #[serde(default = "default_sample_size")]
    #[schemars(range(min = 0, max = 200_000))]
    pub sample_size: i32,
}

fn default_sample_size() -> i32 {
    20_000
}

impl Default for Evaluation {
    fn default() -> Self {
        Evaluation { sample_size: default_sample_size() }
    }
}
