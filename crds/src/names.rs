//! Names that are part of the API: labels, annotations, condition types and reasons. No other file spells them.

/// Field manager of everything the operator applies, and `app.kubernetes.io/managed-by` of its objects.
pub const MANAGER: &str = "coterie-operator";

/// Labels.
pub mod label {
    /// Name of the `ClusteringJob` that an object belongs to. On every child and its pods.
    pub const JOB: &str = "coterie.dev/job";
    /// Number of the run, from 1. On everything that belongs to a training run.
    pub const RUN: &str = "coterie.dev/run";
    /// What an object is there for: [`TRAINING`] or [`SERVING`]. On every child and its pods.
    pub const COMPONENT: &str = "app.kubernetes.io/component";
    /// Value of [`COMPONENT`] for training runs.
    pub const TRAINING: &str = "training";
    /// Value of [`COMPONENT`] for serving replicas.
    pub const SERVING: &str = "serving";
    /// Model version, `v<N>`, or `v<N>-of-<shards>` where the similar items are divided. On everything that serves one version, and in the
    /// selector of the Service that takes traffic.
    pub const MODEL_VERSION: &str = "coterie.dev/model-version";
    /// Number of a shard of the similar items, from 0. On what serves one shard only.
    pub const SHARD: &str = "coterie.dev/shard";
    /// [`crate::names::MANAGER`] on every child.
    pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
    /// The name of the application, on every child.
    pub const NAME: &str = "app.kubernetes.io/name";
    /// Prefix of Kueue's labels: those on the resource are copied to its Jobs.
    pub const KUEUE_PREFIX: &str = "kueue.x-k8s.io/";
    /// Kueue's queue. With it, Jobs are created suspended and Kueue admits them.
    pub const KUEUE_QUEUE: &str = "kueue.x-k8s.io/queue-name";
}

/// Annotations.
pub mod annotation {
    /// Hash of the part of the spec that a model depends on. On a run's ConfigMap.
    pub const TRAINING_HASH: &str = "coterie.dev/training-hash";
    /// `spec.retrainToken` that a run answers. On a run's ConfigMap.
    pub const RETRAIN_TOKEN: &str = "coterie.dev/retrain-token";
    /// Time of the schedule that a run answers, RFC 3339. On a run's ConfigMap.
    pub const SCHEDULED_TIME: &str = "coterie.dev/scheduled-time";
    /// Why a run was started, one of the `trigger` values of status. On a run's ConfigMap.
    pub const TRIGGER: &str = "coterie.dev/trigger";
    /// Hash of what serving pods are made from. A pod template is replaced only when this changes, never because a newer
    /// operator would write it differently.
    pub const TEMPLATE_HASH: &str = "coterie.dev/template-hash";
    /// When the Service was last pointed at another model version, RFC 3339.
    pub const SWITCHED_TIME: &str = "coterie.dev/switched-time";
    /// The model version in service while another takes a share of the traffic. On the Service, whose selector then names no version.
    pub const STABLE_VERSION: &str = "coterie.dev/stable-version";
    /// How far the traffic has moved to a version, as JSON. On its Deployment.
    pub const CANARY: &str = "coterie.dev/canary";
    /// Version of the operator that wrote an object.
    pub const OPERATOR_VERSION: &str = "coterie.dev/operator-version";
}

/// Types of conditions.
pub mod condition {
    /// The model that the spec asks for is trained, accepted and, where serving is asked for, in service.
    pub const READY: &str = "Ready";
    /// The operator is at work on the current generation, or waits for something that will pass.
    pub const RECONCILING: &str = "Reconciling";
    /// The job cannot go on without a change; the message says which.
    pub const STALLED: &str = "Stalled";
    /// A model for the current spec has been trained and accepted by the gates.
    pub const TRAINED: &str = "Trained";
    /// Replicas with a model answer queries.
    pub const SERVING: &str = "Serving";
    /// Runs are held back by `spec.suspend`.
    pub const SUSPENDED: &str = "Suspended";
}

/// Reasons of conditions and events.
pub mod reason {
    /// Everything asked for is there.
    pub const READY: &str = "Ready";
    /// Objects of the job are being written.
    pub const APPLYING: &str = "Applying";
    /// Nothing is left to do.
    pub const IDLE: &str = "Idle";
    /// Nothing hinders the job.
    pub const NOT_STALLED: &str = "NotStalled";
    /// No run has been made yet.
    pub const NOT_TRAINED: &str = "NotTrained";
    /// A run is about to start: its objects are being created.
    pub const RUN_STARTING: &str = "RunStarting";
    /// A run is held in a queue (Kueue).
    pub const QUEUED: &str = "Queued";
    /// A run is computing.
    pub const TRAINING: &str = "Training";
    /// A run published a model that the gates accept.
    pub const RUN_SUCCEEDED: &str = "RunSucceeded";
    /// A run ended without a model.
    pub const RUN_FAILED: &str = "RunFailed";
    /// A run ended because something newer replaced it.
    pub const RUN_CANCELLED: &str = "RunCancelled";
    /// A run's model misses a gate of `spec.evaluation.gates`.
    pub const GATE_FAILED: &str = "GateFailed";
    /// The spec asks for something impossible.
    pub const INVALID_SPEC: &str = "InvalidSpec";
    /// The cluster refuses an object of the job: a quota, a policy, or its name is taken by somebody else.
    pub const REFUSED: &str = "Refused";
    /// `spec.suspend` is true.
    pub const SUSPENDED: &str = "Suspended";
    /// `spec.suspend` is false.
    pub const NOT_SUSPENDED: &str = "NotSuspended";
    /// `spec.serving` is not set.
    pub const NOT_REQUESTED: &str = "NotRequested";
    /// Replicas of a model version are starting.
    pub const ROLLING_OUT: &str = "RollingOut";
    /// Replicas answer.
    pub const AVAILABLE: &str = "Available";
    /// Fewer replicas answer than were asked for.
    pub const DEGRADED: &str = "Degraded";
    /// Replicas of the new version do not become ready; the old ones go on serving.
    pub const ROLLOUT_FAILED: &str = "RolloutFailed";
    /// A new version takes a share of the traffic and is watched.
    pub const CANARY: &str = "Canary";
    /// A new version passed all steps and takes all the traffic.
    pub const CANARY_PROMOTED: &str = "CanaryPromoted";
    /// A new version did worse than spec.serving.rollout.gates allow; the one before goes on serving.
    pub const CANARY_REJECTED: &str = "CanaryRejected";
    /// There is no model to serve yet.
    pub const NO_MODEL: &str = "NoModel";
    /// A time of the schedule passed without a run.
    pub const MISSED_SCHEDULE: &str = "MissedSchedule";
}
