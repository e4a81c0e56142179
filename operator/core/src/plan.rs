//! What is to be done about a job: data, to be compared in tests and carried out by the effects.
//!
//! # How a plan is carried out
//! 1. [`Plan::status`], if any, is applied to the status subresource, with the resource version that was observed: a plan made from
//!    a stale job ends here. So a decision is on record before anything follows from it, and a run's number is claimed before the run exists.
//!    A plan with actions always has a status, though it may be the observed one: writing that again changes nothing and proves that it is current.
//! 2. [`Plan::events`]: what is on record now is told once, whether or not the actions succeed.
//! 3. [`Plan::actions`] in order; the first that fails ends the plan.
//!
//! A crash between any two of these writes leaves a state from which the next plan goes on. Stale children do no harm either: objects
//! are created under names that follow from the claimed number, and replaced or deleted only in the version that was observed.

use coterie_crds::status::ClusteringJobStatus;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::{
    apps::v1::Deployment,
    autoscaling::v2::HorizontalPodAutoscaler,
    batch::v1::Job,
    core::v1::{ConfigMap, Service},
    networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// What is to be done.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// The whole new status, when it differs from the observed one or when there are actions.
    pub status: Option<ClusteringJobStatus>,
    /// What to tell people.
    pub events: Vec<Event>,
    /// Writes, in order.
    pub actions: Vec<Action>,
    /// The coordinator to ask for progress; its answer is part of the next observation.
    pub poll: Option<Poll>,
    /// The replicas to ask for what they answer; the sums of an interval are part of the next observation.
    pub traffic: Option<TrafficPoll>,
    /// When to plan again although nothing has changed by then.
    pub wake: Option<Timestamp>,
}

/// One write.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Creates an object that never changes. If it exists the observation was stale: plan again later.
    Create(Object),
    /// Creates the Secret of this name with fresh certificates of a run ([`coterie_crds::run::RunConfig::tls`]). If it exists, good.
    CreateIdentity(Box<ObjectMeta>),
    /// Server-side apply, with force. `metadata.resourceVersion` is set when the object was observed, and the write must fail when it
    /// has changed since. When it is not set, the object must not exist or must have the same controller: another's object of that name is refused.
    Apply(Object),
    /// Deletes the object; one that is gone already is fine.
    Delete(Deletion),
}

/// An object of a kind that the operator writes.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)] // the variants are the kinds
pub enum Object {
    ConfigMap(Box<ConfigMap>),
    Service(Box<Service>),
    Job(Box<Job>),
    Deployment(Box<Deployment>),
    HorizontalPodAutoscaler(Box<HorizontalPodAutoscaler>),
    PodDisruptionBudget(Box<PodDisruptionBudget>),
    NetworkPolicy(Box<NetworkPolicy>),
}

/// Kinds of objects that the operator writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)] // the variants are the kinds
pub enum Kind {
    ConfigMap,
    Secret,
    Service,
    Job,
    Deployment,
    HorizontalPodAutoscaler,
    PodDisruptionBudget,
    NetworkPolicy,
}

/// Kind and name of an object in the job's namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectRef {
    /// Kind.
    pub kind: Kind,
    /// Name.
    pub name: String,
}

/// A deletion. Dependents go first for Jobs (foreground), so that a Job is there until its pods are gone; otherwise in the background.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deletion {
    /// What is deleted.
    pub object: ObjectRef,
    /// Uid that it must have. `None`: whatever has the name (Secrets, which are never read).
    pub uid: Option<String>,
    /// Version that it must have: nothing is deleted for what it was once. `None`: any.
    pub resource_version: Option<String>,
}

/// An event about the job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Whether somebody should look at it.
    pub warning: bool,
    /// One of [`coterie_crds::names::reason`].
    pub reason: &'static str,
    /// What was done, as a verb in PascalCase: `Train`, `Serve`, `Schedule`.
    pub action: &'static str,
    /// In words.
    pub message: String,
}

/// A coordinator that can be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Poll {
    /// Id of the run, [`coterie_crds::run::RunConfig::run`]; an answer about another run is not used.
    pub run: String,
    /// Address of the pod, without port.
    pub pod_ip: String,
    /// When to ask.
    pub at: Timestamp,
}

/// Replicas of a canary that can be asked for their traffic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrafficPoll {
    /// Their version.
    pub version: String,
    /// When they first got traffic. With another time it is another canary.
    pub since: Timestamp,
    /// The replicas of the moment.
    pub replicas: Vec<Replica>,
    /// Length of an interval.
    pub interval: SignedDuration,
}

/// A replica that can be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replica {
    /// Name of the pod.
    pub name: String,
    /// Its address, without port.
    pub ip: String,
}

impl Object {
    /// The object's metadata.
    #[must_use]
    pub fn metadata(&self) -> &ObjectMeta {
        match self {
            Self::ConfigMap(object) => &object.metadata,
            Self::Service(object) => &object.metadata,
            Self::Job(object) => &object.metadata,
            Self::Deployment(object) => &object.metadata,
            Self::HorizontalPodAutoscaler(object) => &object.metadata,
            Self::PodDisruptionBudget(object) => &object.metadata,
            Self::NetworkPolicy(object) => &object.metadata,
        }
    }

    /// The object's kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::ConfigMap(_) => Kind::ConfigMap,
            Self::Service(_) => Kind::Service,
            Self::Job(_) => Kind::Job,
            Self::Deployment(_) => Kind::Deployment,
            Self::HorizontalPodAutoscaler(_) => Kind::HorizontalPodAutoscaler,
            Self::PodDisruptionBudget(_) => Kind::PodDisruptionBudget,
            Self::NetworkPolicy(_) => Kind::NetworkPolicy,
        }
    }

    /// Kind and name.
    #[must_use]
    pub fn reference(&self) -> ObjectRef {
        ObjectRef { kind: self.kind(), name: self.metadata().name.clone().unwrap_or_default() }
    }
}

impl std::fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} {}", self.kind, self.name)
    }
}
