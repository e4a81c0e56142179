//! How much of the past stays to be looked at.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Finished runs whose Jobs and pods are kept. The newest run is always kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct History {
    /// successfulRuns is the number of successful runs whose Jobs are kept. Default: 3. From 0 to 100. Mutable; used at once.
    #[serde(default = "default_successful")]
    #[schemars(range(min = 0, max = 100))]
    pub successful_runs: i32,

    /// failedRuns is the number of failed and cancelled runs whose Jobs are kept. Default: 1. From 0 to 100. Mutable; used at once.
    #[serde(default = "default_failed")]
    #[schemars(range(min = 0, max = 100))]
    pub failed_runs: i32,
}

fn default_successful() -> i32 {
    3
}

fn default_failed() -> i32 {
    1
}

impl Default for History {
    fn default() -> Self {
        History { successful_runs: default_successful(), failed_runs: default_failed() }
    }
}
