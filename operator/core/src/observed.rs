//! What is known about one job when a plan is made. It may be older than what the API server holds; see [`crate::plan::Plan`] for why
//! that does no harm.

use coterie_crds::{ClusteringJob, run::RunProgress};
use jiff::SignedDuration;
use k8s_openapi::api::{
    apps::v1::Deployment,
    autoscaling::v2::HorizontalPodAutoscaler,
    batch::v1::Job,
    core::v1::{ConfigMap, Pod, Service},
    networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
};

use crate::plan::ObjectRef;
use crate::traffic::Traffic;

/// One job and everything that belongs to it.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The resource.
    pub job: ClusteringJob,
    /// Objects labelled with the job's name ([`coterie_crds::names::label::JOB`]) in its namespace. Those of an earlier job of the same name are
    /// passed over.
    pub children: Children,
    /// The coordinator's last answer to the plan's [`crate::plan::Poll`].
    pub progress: Option<RunProgress>,
    /// What the replicas of the plan's [`crate::plan::TrafficPoll`] answered in the last interval.
    pub traffic: Option<Traffic>,
    /// What the API server refused for good when a plan for this generation of the job was carried out.
    pub refusals: Vec<Refusal>,
}

/// Objects that belong to a job.
#[derive(Clone, Debug, Default)]
pub struct Children {
    /// Run records and serving configurations.
    pub config_maps: Vec<ConfigMap>,
    /// Headless Services of runs, and the Service of the serving replicas.
    pub services: Vec<Service>,
    /// Training runs.
    pub jobs: Vec<Job>,
    /// Pods of training runs and serving replicas. (How many replicas answer is seen through their Deployments.)
    pub pods: Vec<Pod>,
    /// Serving replicas, one Deployment per model version.
    pub deployments: Vec<Deployment>,
    /// Autoscalers of the Deployments.
    pub autoscalers: Vec<HorizontalPodAutoscaler>,
    /// Disruption budget of the serving replicas.
    pub disruption_budgets: Vec<PodDisruptionBudget>,
    /// Network policies.
    pub network_policies: Vec<NetworkPolicy>,
}

/// A write that the API server will not accept until something else changes: the object is invalid, forbidden, or its name belongs to
/// somebody else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What was to be written.
    pub object: ObjectRef,
    /// The server's reason.
    pub message: String,
}

/// What the operator is told when it starts.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The image of training and serving pods: the operator's own, so that all parts of a run are of one version.
    pub image: String,
    /// When nodes pull it.
    pub image_pull_policy: String,
    /// Version of the operator.
    pub version: String,
    /// Least time between two status writes that only tell progress.
    pub progress_interval: SignedDuration,
    /// How long the replicas of the version before stay after the Service was pointed at the next one: the time that every node's
    /// proxy needs to hear of it, and open requests need to end.
    pub switch_grace: SignedDuration,
    /// Silence after which a worker's splits are given to others.
    pub lease: SignedDuration,
    /// How long a coordinator waits for all workers before it starts with those it has.
    pub patience: SignedDuration,
}

impl Settings {
    /// The defaults around an image.
    #[must_use]
    pub fn new(image: impl Into<String>) -> Self {
        Self {
            image: image.into(),
            image_pull_policy: "IfNotPresent".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            progress_interval: SignedDuration::from_secs(5),
            switch_grace: SignedDuration::from_secs(15),
            lease: SignedDuration::from_secs(10),
            patience: SignedDuration::from_secs(60),
        }
    }
}
