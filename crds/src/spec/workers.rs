//! The processes that share the work.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Number of workers. It changes how long a run takes, never its result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Workers {
    /// replicas is the number of worker processes. The model does not depend on it. Default: 1. From 1 to 1000. Mutable;
    /// used by the next run.
    #[serde(default = "default_replicas")]
    #[schemars(range(min = 1, max = 1000))]
    pub replicas: i32,
}

fn default_replicas() -> i32 {
    1
}

impl Default for Workers {
    fn default() -> Self {
        Workers { replicas: default_replicas() }
    }
}
