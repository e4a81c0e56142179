//! Feature steps: what happens to a row before it is clustered, and to a query before it is answered.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// One step. Exactly one field is set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("[has(self.standardize), has(self.minMax), has(self.l2Normalize), has(self.pca)].exists_one(step, step)")
        .message("a feature step has exactly one of standardize, minMax, l2Normalize, pca; write one list item per step, such as - standardize: {}"),
)]
pub struct FeatureStep {
    /// standardize shifts and scales each column to mean 0 and variance 1. A constant column becomes 0. Has no fields.
    /// Mutable; used by the next run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standardize: Option<Standardize>,

    /// minMax scales each column to the range from 0 to 1. A constant column becomes 0. Has no fields. Mutable; used by the next
    /// run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_max: Option<MinMax>,

    /// l2Normalize scales each row to unit length. A row of zeros stays as it is. Has no fields. Mutable; used by the
    /// next run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub l2_normalize: Option<L2Normalize>,

    /// pca projects each row to the leading principal components of the data. Mutable; used by the next run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pca: Option<Pca>,
}

/// Settings of standardisation: none yet.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
pub struct Standardize {}

/// Settings of min-max scaling: none yet.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
pub struct MinMax {}

/// Settings of row normalisation: none yet.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
pub struct L2Normalize {}

/// Settings of the principal component analysis.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pca {
    /// components is the number of components kept. It cannot exceed the number of columns that reach this step.
    /// Required; from 1 to 4096. Mutable; used by the next run.
    #[schemars(range(min = 1, max = 4096))]
    pub components: i32,
}
