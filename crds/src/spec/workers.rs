//! The processes that share the work.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::{PodTemplate, Resources};

/// Workers of a run. They change how long it takes, never its result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Workers {
    /// replicas is the number of worker processes; on a cluster one pod each. The model does not depend on it. Default: 1.
    /// From 1 to 1000. Mutable; used by the next run.
    #[serde(default = "default_replicas")]
    #[schemars(range(min = 1, max = 1000))]
    pub replicas: i32,

    /// resources is what each worker pod asks for. Only on a cluster. Unset: the defaults of its fields. Mutable; used by the
    /// next run.
    #[serde(default)]
    pub resources: Resources,

    /// scratch bounds the disk space of a worker pod for rows that memory does not hold. Only on a cluster. Unset: `10Gi`.
    /// A whole number with a unit; 1 to 16 characters. Mutable; used by the next run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(validation = Rule::new("self.matches('^[1-9][0-9]*(Mi|Gi|Ti|M|G|T)$')")
        .message("scratch must be a whole number with a unit, such as 20Gi"))]
    pub scratch: Option<String>,

    /// maxRestarts is how often the pod of one worker is replaced after a failure that may pass before the run counts as failed.
    /// Pods lost with their nodes do not count. Only on a cluster. Default: 6. From 0 to 100. Mutable; used by the next run.
    #[serde(default = "default_max_restarts")]
    #[schemars(range(min = 0, max = 100))]
    pub max_restarts: i32,

    /// activeDeadlineSeconds bounds the time of a run; one that takes longer fails. Only on a cluster. Unset: no bound. From 1 to
    /// 31536000. Unit: seconds. Mutable; used by the next run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 31_536_000))]
    pub active_deadline_seconds: Option<i64>,

    /// podTemplate sets where and as whom worker pods run. Only on a cluster. Unset: the cluster's defaults. Mutable; used by the
    /// next run.
    #[serde(default)]
    pub pod_template: PodTemplate,
}

fn default_replicas() -> i32 {
    1
}

fn default_max_restarts() -> i32 {
    6
}

impl Default for Workers {
    fn default() -> Self {
        Workers {
            replicas: default_replicas(),
            resources: Resources::default(),
            scratch: None,
            max_restarts: default_max_restarts(),
            active_deadline_seconds: None,
            pod_template: PodTemplate::default(),
        }
    }
}
