//! The distance between two vectors.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Choice of the distance; an object, since some metrics take parameters.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Metric {
    /// type is the kind of distance: `Euclidean` is the straight line; `Cosine` is one minus the cosine of the angle, so
    /// that lengths do not matter and k-means becomes spherical k-means; `Jaccard` is the share of the members of two sets that
    /// only one of them has, for rows of zeros and ones or lists of members (source.columns.set), with the algorithm lsh. Default:
    /// `Euclidean`. Mutable; used by the next run.
    #[serde(default, rename = "type")]
    pub kind: MetricType,
}

/// Kinds of distance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum MetricType {
    /// Straight-line distance.
    #[default]
    Euclidean,
    /// One minus the cosine of the angle.
    Cosine,
    /// Share of the members of two sets that only one of them has.
    Jaccard,
}
