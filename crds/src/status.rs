//! What a controller reports about a job. Users never write it, and running a manifest without a cluster ignores it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// observedGeneration of a resource that no controller has looked at yet.
pub const NOT_OBSERVED: i64 = -1;

/// status is what was observed last. It is written by the controller only.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusteringJobStatus {
    /// observedGeneration is the metadata.generation that this status describes. -1: no controller has looked at the
    /// resource yet, so that tools which wait for it do not take it for ready.
    #[serde(default = "not_observed")]
    pub observed_generation: i64,

    /// conditions tell the state of the job, one item per type.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,

    /// model is the newest model that was published. Unset: none yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelStatus>,
}

/// A published model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ModelStatus {
    /// version names the model; versions of a job sort by age.
    pub version: String,

    /// uri is where the model lies.
    pub uri: String,

    /// digest covers everything the model computes with: equal digests mean equal models. Form: `blake3:HEX`.
    pub digest: String,
}

fn not_observed() -> i64 {
    NOT_OBSERVED
}

impl Default for ClusteringJobStatus {
    fn default() -> Self {
        ClusteringJobStatus { observed_generation: NOT_OBSERVED, conditions: Vec::new(), model: None }
    }
}
