//! What users may say about the pods that are made for a job. A narrow part of a pod template: what places pods, pays for them and
//! names them, and nothing that could weaken their isolation.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Settings of pods.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodTemplate {
    /// labels are added to the pods. Keys under `coterie.dev/` and `app.kubernetes.io/` belong to the operator. Unset: none.
    /// At most 32, with values of at most 63 characters. Mutable; used by the next pods.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32, "additionalProperties" = label_value()))]
    #[x_kube(validation = Rule::new("self.all(key, !key.startsWith('coterie.dev/') && !key.startsWith('app.kubernetes.io/'))")
        .message("labels under coterie.dev/ and app.kubernetes.io/ are set by the operator; choose another prefix"))]
    pub labels: BTreeMap<String, String>,

    /// annotations are added to the pods. Keys under `coterie.dev/` belong to the operator. Unset: none. At most 32. Mutable;
    /// used by the next pods.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    #[x_kube(validation = Rule::new("self.all(key, !key.startsWith('coterie.dev/'))")
        .message("annotations under coterie.dev/ are set by the operator; choose another prefix"))]
    pub annotations: BTreeMap<String, String>,

    /// nodeSelector holds the labels that a node must have. Unset: any node. At most 32, with values of at most 63 characters.
    /// Mutable; used by the next pods.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32, "additionalProperties" = label_value()))]
    #[x_kube(merge_strategy = MapMerge::Atomic)]
    pub node_selector: BTreeMap<String, String>,

    /// tolerations lets pods run on tainted nodes. Unset: none. At most 16. Mutable; used by the next pods.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub tolerations: Vec<Toleration>,

    /// serviceAccountName is the service account of the pods, in the job's namespace: the way to workload identity. The pods get
    /// no token of it for the Kubernetes API. Unset: `default`. 1 to 253 characters. Mutable; used by the next pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')")
        .message("serviceAccountName must be the name of a service account: lower-case letters, digits, '-' and '.'"))]
    pub service_account_name: Option<String>,

    /// imagePullSecrets names Secrets of the job's namespace with credentials for the image's registry. Unset: none. At most 8
    /// names of 1 to 253 characters. Mutable; used by the next pods.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(min = 1, max = 253)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[x_kube(validation = Rule::new("self.all(name, name.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$'))")
        .message("imagePullSecrets must hold names of Secrets: lower-case letters, digits, '-' and '.'"))]
    pub image_pull_secrets: Vec<String>,

    /// priorityClassName is the priority class of the pods. Unset: the cluster's default. 1 to 253 characters. Mutable; used
    /// by the next pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')")
        .message("priorityClassName must be the name of a priority class: lower-case letters, digits, '-' and '.'"))]
    pub priority_class_name: Option<String>,
}

/// What the value of a label looks like.
pub(crate) const LABEL_PATTERN: &str = "^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$";

fn label_value() -> Value {
    json!({"type": "string", "maxLength": 63, "pattern": LABEL_PATTERN})
}

/// A taint that pods put up with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.operator != 'Exists' || !has(self.value)")
        .message("operator Exists takes no value; remove value, or use operator Equal")
        .field_path(".value"),
    validation = Rule::new("self.operator != 'Equal' || has(self.key)")
        .message("operator Equal needs a key")
        .field_path(".key"),
)]
pub struct Toleration {
    /// key is the taint's key. Unset: every taint, which operator `Exists` allows. 1 to 316 characters. Mutable; used by the next pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 316))]
    pub key: Option<String>,

    /// operator says how the taint is compared: `Equal` with value, `Exists` with nothing. Default: `Equal`. Mutable; used by the next pods.
    #[serde(default)]
    pub operator: TolerationOperator,

    /// value is the taint's value. Unset: the empty one. At most 63 characters. Mutable; used by the next pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub value: Option<String>,

    /// effect is the taint's effect: `NoSchedule`, `PreferNoSchedule` or `NoExecute`. Unset: every effect. Mutable; used by the next pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "TaintEffect")]
    pub effect: Option<TaintEffect>,
}

/// How a toleration compares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TolerationOperator {
    /// The taint has this value.
    #[default]
    Equal,
    /// The taint exists.
    Exists,
}

/// What a taint does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TaintEffect {
    /// Pods are not placed on the node.
    NoSchedule,
    /// Pods are placed elsewhere where possible.
    PreferNoSchedule,
    /// Pods are moved away.
    NoExecute,
}

/// What a container asks for and may use at most.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.cpuLimit) || !isQuantity(self.cpuLimit) || (has(self.cpu) && !isQuantity(self.cpu)) \
         || quantity(has(self.cpu) ? self.cpu : '500m').compareTo(quantity(self.cpuLimit)) <= 0")
        .message("cpuLimit must not be below cpu, which is 500m when unset; raise cpuLimit or lower cpu")
        .field_path(".cpuLimit"),
)]
pub struct Resources {
    /// cpu is the number of processors asked for, such as `"2"` or `500m`; idle ones are used beyond it, up to cpuLimit. Unset:
    /// `500m`. 1 to 16 characters. Mutable; used by the next pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(validation = Rule::new("self.matches('^([1-9][0-9]*m|[0-9]+(\\\\.[0-9]{1,3})?)$')")
        .message("cpu must be a number of processors such as \"2\", \"0.5\" or 500m"))]
    pub cpu: Option<String>,

    /// cpuLimit is the number of processors that may be used at most; also the number of threads that compute. Not below cpu. Unset: no
    /// limit. 1 to 16 characters. Mutable; used by the next pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(validation = Rule::new("self.matches('^([1-9][0-9]*m|[0-9]+(\\\\.[0-9]{1,3})?)$')")
        .message("cpuLimit must be a number of processors such as \"2\", \"0.5\" or 500m"))]
    pub cpu_limit: Option<String>,

    /// memory is asked for and is the limit as well. A worker keeps its rows within it and puts the rest into scratch files, so
    /// more memory means less reading. Unset: `1Gi`. A whole number and a unit (`Mi`, `Gi`, `Ti`, `M`, `G`, `T`); at least 128Mi is
    /// sensible. 1 to 16 characters. Mutable; used by the next pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(validation = Rule::new("self.matches('^[1-9][0-9]*(Mi|Gi|Ti|M|G|T)$')")
        .message("memory must be a whole number with a unit, such as 512Mi or 4Gi"))]
    pub memory: Option<String>,
}
