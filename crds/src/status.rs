//! What the operator reports about a job. Users never write it, and running a manifest without a cluster ignores it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// observedGeneration of a resource that no controller has looked at yet.
pub const NOT_OBSERVED: i64 = -1;

/// status is what was observed last. It is written by the operator only.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusteringJobStatus {
    /// observedGeneration is the metadata.generation that this status describes. -1: no controller has looked at the
    /// resource yet, so that tools which wait for it do not take it for ready.
    #[serde(default = "not_observed")]
    pub observed_generation: i64,

    /// conditions tell the state of the job, one item per type: Ready, Reconciling and Stalled as the kstatus library reads them,
    /// and Trained, Serving, Suspended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,

    /// run is the newest training run, active or finished. Unset: none yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunStatus>,

    /// model is the newest model that was published and accepted by the gates. Unset: none yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelStatus>,

    /// serving tells which model answers queries, and where. Unset: serving is not asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serving: Option<ServingStatus>,

    /// history lists the finished runs, newest first: the last 10, and those whose Jobs are kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub history: Vec<FinishedRun>,

    /// lastScheduleTime is the time of the schedule that the newest scheduled run answers. Unset: none yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_schedule_time: Option<Time>,

    /// nextScheduleTime is the time of the schedule that is waited for, or made up for after a suspension. Unset: no schedule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_schedule_time: Option<Time>,
}

/// A training run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunStatus {
    /// name is the name of the run and of its Job, `<job>-r<N>`.
    pub name: String,

    /// number counts the runs of the job, from 1.
    pub number: i64,

    /// trigger is why the run was made.
    pub trigger: Trigger,

    /// trainingHash covers the part of the spec that the model depends on, as the run took it.
    pub training_hash: String,

    /// retrainToken is the token that the run answers. Unset: none was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retrain_token: Option<String>,

    /// state is where the run is in its life.
    pub state: RunState,

    /// startTime is when the run was first seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,

    /// completionTime is when the run ended. Unset: it has not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Time>,

    /// message says what happens, in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,

    /// progress sums the numbers below up, such as `Iterate 12/300`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub progress: String,

    /// iteration is the number of finished passes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iteration: Option<i64>,

    /// maxIterations bounds the passes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_iterations: Option<i64>,

    /// inertia is the sum of squared distances after the last pass, a decimal number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inertia: Option<String>,

    /// rows is the number of rows kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<i64>,

    /// rowsPerSecond is the speed of all workers together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows_per_second: Option<i64>,

    /// workers is the number of workers that take part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workers: Option<i64>,

    /// estimatedCompletionTime is when the run ends at the latest at this speed; it ends sooner when it converges sooner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimated_completion_time: Option<Time>,

    /// observedTime is when the coordinator was asked last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_time: Option<Time>,

    /// result is the model that the run published, whether the gates accept it or not. Unset: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<ModelStatus>,
}

/// Why a run was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Trigger {
    /// The job is new.
    Created,
    /// The spec changed.
    SpecChanged,
    /// `spec.retrainToken` changed.
    RetrainToken,
    /// The schedule's time came.
    Schedule,
    /// The outcome of the run before it was lost with its pods.
    ResultLost,
}

/// Where a run is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RunState {
    /// Its objects are being created, or its pods wait.
    Starting,
    /// It is held back by `spec.suspend` or in a queue.
    Suspended,
    /// It computes.
    Running,
    /// It published a model.
    Succeeded,
    /// It ended without a model.
    Failed,
    /// Something newer replaced it.
    Cancelled,
}

/// A run that is over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct FinishedRun {
    /// name is the name of the run.
    pub name: String,

    /// trigger is why the run was made.
    pub trigger: Trigger,

    /// state is how it ended.
    pub state: RunState,

    /// startTime is when it was first seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,

    /// completionTime is when it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Time>,

    /// version is the model version it published. Unset: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,

    /// message says why it ended so.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
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

    /// run is the name of the run that made it.
    pub run: String,

    /// trainingHash covers the part of the spec that the model depends on.
    pub training_hash: String,

    /// retrainToken is the token that its run answered. Unset: none was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retrain_token: Option<String>,

    /// trainedTime is when its run ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trained_time: Option<Time>,

    /// metrics tell how good the model is.
    pub metrics: ModelMetrics,

    /// cost is what the run took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<RunCost>,
}

/// Quality of a model. Reals are decimal numbers as text.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ModelMetrics {
    /// rows is the number of rows the model was made from.
    pub rows: i64,

    /// rowsDropped is the number of invalid rows left out.
    pub rows_dropped: i64,

    /// clusters is the number of clusters. Unset: the model was made by an older version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clusters: Option<i64>,

    /// noise is the number of rows that belong to no cluster. Unset: the algorithm knows no such rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noise: Option<i64>,

    /// iterations is the number of passes of the kept restart; 0 for an algorithm that does not iterate.
    pub iterations: i64,

    /// converged tells whether the centroids came to rest.
    pub converged: bool,

    /// inertia is the sum of squared distances of the rows to their centroids.
    pub inertia: String,

    /// silhouette is the mean silhouette of the evaluated rows. Unset: not evaluated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silhouette: Option<String>,

    /// daviesBouldin is the Davies-Bouldin index; smaller is better. Unset: not evaluated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub davies_bouldin: Option<String>,

    /// calinskiHarabasz is the Calinski-Harabasz index; larger is better. Unset: not evaluated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calinski_harabasz: Option<String>,

    /// ari is the adjusted Rand index against known classes. Unset: no classes are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ari: Option<String>,

    /// nmi is the normalised mutual information with known classes. Unset: no classes are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nmi: Option<String>,

    /// smallestClusterShare is the share of all rows in the smallest cluster.
    pub smallest_cluster_share: String,
}

/// What a run took.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunCost {
    /// seconds is the time from the coordinator's start to the published model.
    pub seconds: String,

    /// cpuSeconds is the processor time of all workers together.
    pub cpu_seconds: String,

    /// bytesRead is the number of bytes fetched from the source.
    pub bytes_read: i64,

    /// peakMemoryBytes is the greatest memory use of any worker.
    pub peak_memory_bytes: i64,
}

/// Which model answers queries.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServingStatus {
    /// version is the model version that takes the traffic. Unset: none yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,

    /// candidateVersion is the version whose replicas are starting; it takes the traffic once all of them are ready. Unset: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate_version: Option<String>,

    /// replicas is the number of pods asked for, where similar items are divided of each shard.
    pub replicas: i32,

    /// readyReplicas is the number of pods that answer with the version in service, where similar items are divided of the shard with the
    /// fewest.
    pub ready_replicas: i32,

    /// address is where queries go inside the cluster, `http://<job>.<namespace>.svc:8080`.
    pub address: String,

    /// grpcAddress is where queries over gRPC go inside the cluster.
    pub grpc_address: String,

    /// canary tells how the gradual move of the traffic to a new model version stands. Unset: none is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<CanaryStatus>,
}

/// A gradual move of the traffic to a new model version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct CanaryStatus {
    /// version is the model version that the traffic moves to.
    pub version: String,

    /// attempt covers what the canary is made from, spec.serving.rollout and the pods: another attempt begins with the first step.
    pub attempt: String,

    /// state is where the move stands.
    pub state: CanaryState,

    /// step is the number of the step, from 1.
    pub step: i32,

    /// weight is the share of the answering pods that are of the new version, in percent. 0: it gets no traffic.
    pub weight: i32,

    /// startTime is when the new version first got traffic. Unset: it has not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,

    /// stepTime is when the pause of the step began. Unset: its pods are starting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_time: Option<Time>,

    /// requests is the number of requests in the last interval, rounded to two digits. Unset: none has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<i64>,

    /// errorRate is the share of them that ended with an error of the server's, rounded. Unset: there were no requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_rate: Option<String>,

    /// latencyMillis is the 95th percentile of the time they took, rounded. Unset: there were no requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_millis: Option<String>,

    /// reassigned is the share of compared rows that the model in service puts into another cluster, rounded. Unset: none were compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reassigned: Option<String>,

    /// message says why the version was rejected. Unset: it was not.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// Where a gradual move of the traffic stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum CanaryState {
    /// The pods of a step are starting.
    Starting,
    /// A step has its pods and lasts.
    Paused,
    /// All steps have passed, and the remaining pods are starting.
    Promoting,
    /// The new version did worse than allowed and gets no traffic.
    Rejected,
}

fn not_observed() -> i64 {
    NOT_OBSERVED
}

impl Default for ClusteringJobStatus {
    fn default() -> Self {
        ClusteringJobStatus {
            observed_generation: NOT_OBSERVED,
            conditions: Vec::new(),
            run: None,
            model: None,
            serving: None,
            history: Vec::new(),
            last_schedule_time: None,
            next_schedule_time: None,
        }
    }
}

impl ClusteringJobStatus {
    /// The condition of this type.
    #[must_use]
    pub fn condition(&self, kind: &str) -> Option<&Condition> {
        self.conditions.iter().find(|condition| condition.type_ == kind)
    }
}
