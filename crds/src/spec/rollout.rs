//! How the traffic moves from one model version to the next: by steps, watched.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::{Decimal, RATIO_PATTERN};

/// A gradual move of the traffic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rollout {
    /// steps are the shares of the traffic that a new model version gets, one after the other; after the last it takes all of it.
    /// Required; 1 to 10 items. Mutable; a change tries the newest version again from the first step.
    #[schemars(length(min = 1, max = 10))]
    #[x_kube(
        merge_strategy = ListMerge::Atomic,
        validation = Rule::new("[0, 1, 2, 3, 4, 5, 6, 7, 8].all(at, at + 1 >= size(self) || self[at].weight < self[at + 1].weight)")
            .message("weight must rise from step to step; put the steps in order and give each another weight"),
    )]
    pub steps: Vec<RolloutStep>,

    /// gates are what the new version must keep to all the way; the first interval that misses one ends the move, and all traffic goes back. Unset:
    /// only replicas that restart or do not become ready end it. Mutable; a change tries the newest version again from the first step.
    #[serde(default)]
    pub gates: RolloutGates,
}

/// One step of a move.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RolloutStep {
    /// weight is the share of the traffic, which is that of the pods: the least number of pods with at least this share, but no more than the version
    /// in service has. Required; from 1 to 99. Unit: percent. Mutable; a change tries the newest version again from the first step.
    #[schemars(range(min = 1, max = 99))]
    pub weight: i32,

    /// pauseSeconds is how long the step lasts once its pods are ready. Default: 60. From 1 to 86400. Unit: seconds. Mutable; a change
    /// tries the newest version again from the first step.
    #[serde(default = "default_pause")]
    #[schemars(range(min = 1, max = 86_400))]
    pub pause_seconds: i32,
}

/// What a new version must keep to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RolloutGates {
    /// maxErrorRate is the greatest share of requests that end with an error of the server's (5xx other than 501; over gRPC UNKNOWN, INTERNAL,
    /// UNAVAILABLE, DEADLINE_EXCEEDED, DATA_LOSS). Unset: not judged. A decimal number from 0 to 1 in quotes, such as `"0.01"`. Mutable; a
    /// change tries the newest version again from the first step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = RATIO_PATTERN))]
    pub max_error_rate: Option<Decimal>,

    /// maxLatencyMillis is the greatest 95th percentile of the time that a request takes. Unset: not judged. From 1 to 60000. Unit:
    /// milliseconds. Mutable; a change tries the newest version again from the first step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 60_000))]
    pub max_latency_millis: Option<i32>,

    /// maxReassigned is the greatest share of rows that the version in service puts into another cluster, after the best matching of
    /// clusters. The new version's pods load the model in service as well and compare a sample of the rows they are asked about. Unset: not compared. A
    /// decimal number from 0 to 1 in quotes, such as `"0.3"`. Mutable; a change tries the newest version again from the first step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = RATIO_PATTERN))]
    pub max_reassigned: Option<Decimal>,

    /// minRequests is the least number of requests in an interval, and of rows compared, from which it is judged; fewer say nothing. Default:
    /// 100. From 1 to 1000000. Mutable; a change tries the newest version again from the first step.
    #[serde(default = "default_min_requests")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub min_requests: i32,

    /// intervalSeconds is the length of the intervals that are judged. Default: 30. From 5 to 3600. Unit: seconds. Mutable; a change tries
    /// the newest version again from the first step.
    #[serde(default = "default_interval")]
    #[schemars(range(min = 5, max = 3_600))]
    pub interval_seconds: i32,
}

fn default_pause() -> i32 {
    60
}

fn default_min_requests() -> i32 {
    100
}

fn default_interval() -> i32 {
    30
}

impl Default for RolloutGates {
    fn default() -> Self {
        RolloutGates {
            max_error_rate: None,
            max_latency_millis: None,
            max_reassigned: None,
            min_requests: default_min_requests(),
            interval_seconds: default_interval(),
        }
    }
}
