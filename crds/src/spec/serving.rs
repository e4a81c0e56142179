//! Replicas that answer queries about the newest accepted model.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::{Lsh, PodTemplate, Resources, Rollout, SecretReference};

/// Settings of serving.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.lsh) || self.similarItems")
        .message("hash tables are built over the items; set similarItems to true or leave lsh out")
        .field_path(".lsh"),
    validation = Rule::new("self.shards == 1 || self.similarItems")
        .message("similar items are what is divided; set similarItems to true or leave shards out")
        .field_path(".shards"),
    validation = Rule::new("self.shards == 1 || !has(self.autoscaling)")
        .message("shards have a fixed number of replicas each; set replicas and leave autoscaling out, or leave shards out")
        .field_path(".shards"),
    validation = Rule::new("self.shards == 1 || !has(self.rollout)")
        .message("shards take the traffic all at once; leave rollout out, or leave shards out")
        .field_path(".shards"),
)]
pub struct Serving {
    /// replicas is the number of serving pods, with shards of each of them; with autoscaling it is not used. Default: 2. From 1 to 1000. Mutable; used at once, without
    /// a new run.
    #[serde(default = "default_replicas")]
    #[schemars(range(min = 1, max = 1000))]
    pub replicas: i32,

    /// autoscaling lets the number of pods follow the load. Unset: replicas pods. Mutable; used at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<Autoscaling>,

    /// resources is what each serving pod asks for. Unset: the defaults of its fields. Mutable; replaces the pods, one after the
    /// other.
    #[serde(default)]
    pub resources: Resources,

    /// podTemplate sets where and as whom serving pods run. Unset: the cluster's defaults. Mutable; replaces the pods, one
    /// after the other.
    #[serde(default)]
    pub pod_template: PodTemplate,

    /// progressDeadlineSeconds is how long a new model version may take until all its replicas are ready. Later the job is
    /// reported as stalled, while the version before it goes on serving. Default: 600. From 10 to 86400. Unit: seconds. Mutable;
    /// used at once.
    #[serde(default = "default_progress_deadline")]
    #[schemars(range(min = 10, max = 86_400))]
    pub progress_deadline_seconds: i32,

    /// similarItems keeps the rows with the model, so that the items similar to an id or to a vector can be asked for. They take as much room
    /// in the output, and on the disk of each serving pod once more, as the vectors have after the feature steps, and on the disk a quarter
    /// on top unless they are sets. Default: false. Mutable; setting it asks for a new run.
    #[serde(default)]
    pub similar_items: bool,

    /// shards is the number of parts that the similar items are divided into, for more of them than one pod has memory or disk for: each pod
    /// keeps one part and asks a pod of each other part. All else is in every pod. replicas is then the number of pods of each part. Needs
    /// similarItems. Default: 1. From 1 to 64. Mutable; replaces the pods once all new ones are ready.
    #[serde(default = "default_shards")]
    #[schemars(range(min = 1, max = 64))]
    pub shards: i32,

    /// lsh builds hash tables over the items, which find similar ones where clusters are few and large. Unset: similar items
    /// are looked for in the nearest clusters. Needs similarItems. Mutable; replaces the pods, one after the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lsh: Option<Lsh>,

    /// cache sets which answers the pods keep: those that take long, such as similar items. Unset: the defaults of its fields. Mutable;
    /// replaces the pods, one after the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<Cache>,

    /// rollout moves the traffic to a new model version by steps, and back when it does worse than its gates allow. Unset: a new version
    /// takes all the traffic once its replicas are ready. Mutable; used at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Rollout>,
}

/// Answers that serving pods keep. An answer from the cache is the one that would be computed: a question is known by all its bits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Cache {
    /// memoryMebibytes is the memory that each pod uses for answers, within resources.memory. Default: 64. From 0, which keeps none, to
    /// 65536. Unit: MiB. Mutable; replaces the pods, one after the other.
    #[serde(default = "default_cache_memory")]
    #[schemars(range(min = 0, max = 65_536))]
    pub memory_mebibytes: i32,

    /// timeToLiveSeconds is how long an answer is kept. Default: 600. From 1 to 86400. Unit: seconds. Mutable; replaces the pods, one after
    /// the other.
    #[serde(default = "default_time_to_live")]
    #[schemars(range(min = 1, max = 86_400))]
    pub time_to_live_seconds: i32,

    /// redis is a server that speaks Redis' protocol, through which pods share answers. While it does not answer there are fewer hits, and
    /// nothing else. Unset: answers are not shared. Mutable; replaces the pods, one after the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redis: Option<Redis>,
}

/// A server for shared answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Redis {
    /// host is the server's name or address. Required; 1 to 253 characters. Mutable; replaces the pods, one after the other.
    #[schemars(length(min = 1, max = 253))]
    pub host: String,

    /// port is the server's port. Default: 6379. From 1 to 65535. Mutable; replaces the pods, one after the other.
    #[serde(default = "default_redis_port")]
    #[schemars(range(min = 1, max = 65_535))]
    pub port: i32,

    /// tls encrypts the connection, and checks that host is in the server's certificate. Unset: no encryption. Mutable; replaces the pods, one
    /// after the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<RedisTls>,

    /// timeoutMillis is how long an answer is waited for; a server that takes longer is left alone for a while. Default: 5. From 1 to 1000.
    /// Unit: milliseconds. Mutable; replaces the pods, one after the other.
    #[serde(default = "default_redis_timeout")]
    #[schemars(range(min = 1, max = 1000))]
    pub timeout_millis: i32,

    /// credentialsSecretRef names a Secret in the job's namespace with the keys COTERIE_REDIS_PASSWORD and, unless it is the default user's,
    /// COTERIE_REDIS_USERNAME. Unset: no login. Mutable; replaces the pods, one after the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(merge_strategy = MapMerge::Atomic)]
    pub credentials_secret_ref: Option<SecretReference>,
}

/// Encryption of the connection to a server for shared answers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RedisTls {
    /// caBundle holds the PEM text of the certificate authorities to trust beside the built-in ones. Unset: only the built-in
    /// ones. At most 262144 characters. Mutable; replaces the pods, one after the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 262_144))]
    #[x_kube(validation = Rule::new("self.contains('-----BEGIN CERTIFICATE-----')")
        .message("caBundle must be the PEM text of one or more certificates (-----BEGIN CERTIFICATE----- ...), not the name of a file"))]
    pub ca_bundle: Option<String>,
}

fn default_cache_memory() -> i32 {
    64
}

fn default_time_to_live() -> i32 {
    600
}

fn default_redis_port() -> i32 {
    6379
}

fn default_redis_timeout() -> i32 {
    5
}

/// Bounds of autoscaling, which needs a metrics server in the cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.minReplicas <= self.maxReplicas")
        .message("maxReplicas must not be below minReplicas; raise maxReplicas or lower minReplicas")
        .field_path(".maxReplicas"),
)]
pub struct Autoscaling {
    /// minReplicas is the least number of pods. Default: 2. From 1 to maxReplicas. Mutable; used at once.
    #[serde(default = "default_replicas")]
    #[schemars(range(min = 1))]
    pub min_replicas: i32,

    /// maxReplicas is the greatest number of pods. Required; from minReplicas to 1000. Mutable; used at once.
    #[schemars(range(max = 1000))]
    pub max_replicas: i32,

    /// targetCpuPercent is the mean CPU use, as a share of resources.cpu, that the number of pods aims at. Default: 70. From 1 to 100. Unit:
    /// percent. Mutable; used at once.
    #[serde(default = "default_target_cpu")]
    #[schemars(range(min = 1, max = 100))]
    pub target_cpu_percent: i32,
}

fn default_replicas() -> i32 {
    2
}

fn default_shards() -> i32 {
    1
}

fn default_progress_deadline() -> i32 {
    600
}

fn default_target_cpu() -> i32 {
    70
}

impl Default for Serving {
    fn default() -> Self {
        Serving {
            replicas: default_replicas(),
            autoscaling: None,
            resources: Resources::default(),
            pod_template: PodTemplate::default(),
            progress_deadline_seconds: default_progress_deadline(),
            similar_items: false,
            shards: default_shards(),
            lsh: None,
            cache: None,
            rollout: None,
        }
    }
}
