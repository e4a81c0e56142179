//! Where results go.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::{Store, Uri};

/// Place of the model and the assignments.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Output {
    /// uri is the prefix under which `models/VERSION/` and `assignments/` are written. Nothing that exists there is
    /// overwritten. Schemes: `s3`, `gs`, `az`, `file`; a path without a scheme is relative to the folder of the manifest.
    /// Required; 1 to 2048 characters. Mutable; used by the next run.
    #[x_kube(validation = Rule::new("!self.matches('^https?://')")
        .message("output cannot be written over HTTP; use s3://, gs://, az://, file:// or a path"))]
    #[x_kube(validation = Rule::new(r"!self.matches('[*?\\[]')")
        .message("output is one prefix: remove the glob characters *, ? and ["))]
    pub uri: Uri,

    /// assignments says whether the cluster of each row is written as Parquet (id, cluster, distance). Default: false.
    /// Mutable; used by the next run.
    #[serde(default)]
    pub assignments: bool,

    /// historyLimit is the number of model versions kept; when a run publishes a new one, older ones are removed, but never one
    /// that is in service. Unset: all are kept. From 1 to 10000. Mutable; used by the next run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000))]
    pub history_limit: Option<i32>,

    /// store sets how to reach the object store. Unset: as the source's, when both URIs have the same scheme; otherwise
    /// the provider's own service. Mutable; used by the next run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<Store>,
}
