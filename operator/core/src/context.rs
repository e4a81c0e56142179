//! What every step of a plan is told.

use coterie_crds::status::ClusteringJobStatus;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::build::Owner;
use crate::observed::{Children, Observed, Settings};
use crate::plan::{Action, Deletion, Event, Kind, Object, ObjectRef};
use crate::same::covers;
use crate::validate::Validated;

/// The observation, the checked spec, the time.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) observed: &'a Observed,
    /// Children of this very job, not of an earlier one of the same name.
    pub(crate) children: &'a Children,
    pub(crate) status: &'a ClusteringJobStatus,
    pub(crate) spec: &'a Result<Validated, String>,
    pub(crate) settings: &'a Settings,
    pub(crate) owner: Owner<'a>,
    pub(crate) now: Timestamp,
}

/// What the steps of a plan have decided to do.
#[derive(Debug, Default)]
pub(crate) struct Todo {
    pub(crate) actions: Vec<Action>,
    pub(crate) events: Vec<Event>,
    pub(crate) wake: Option<Timestamp>,
}

impl Context<'_> {
    pub(crate) fn time(&self) -> Time {
        Time(self.now)
    }
}

impl Todo {
    /// Whether anything is made or changed, not only removed.
    pub(crate) fn writes(&self) -> bool {
        self.actions.iter().any(|action| !matches!(action, Action::Delete(_)))
    }

    /// Does what `later` says after what this says.
    pub(crate) fn append(&mut self, later: Self) {
        let Self { actions, events, wake } = later;
        self.actions.extend(actions);
        self.events.extend(events);
        if let Some(moment) = wake {
            self.wake_at(moment);
        }
    }

    pub(crate) fn wake_at(&mut self, moment: Timestamp) {
        self.wake = Some(self.wake.map_or(moment, |earlier| earlier.min(moment)));
    }

    pub(crate) fn normal(&mut self, reason: &'static str, action: &'static str, message: impl Into<String>) {
        self.events.push(Event { warning: false, reason, action, message: message.into() });
    }

    pub(crate) fn warning(&mut self, reason: &'static str, action: &'static str, message: impl Into<String>) {
        self.events.push(Event { warning: true, reason, action, message: message.into() });
    }

    pub(crate) fn delete(&mut self, object: &impl Child) {
        let metadata = object.metadata();
        if metadata.deletion_timestamp.is_some() {
            return;
        }
        self.actions.push(Action::Delete(Deletion {
            object: ObjectRef { kind: object.kind(), name: metadata.name.clone().unwrap_or_default() },
            uid: metadata.uid.clone(),
            resource_version: metadata.resource_version.clone(),
        }));
    }

    /// Applies what is wanted where the observed object is missing or differs.
    pub(crate) fn apply<T: Child + serde::Serialize>(&mut self, observed: Option<&T>, wanted: T) {
        if let Some(observed) = observed {
            let gone = observed.metadata().deletion_timestamp.is_some();
            if gone || covers(observed, &wanted) {
                return;
            }
        }
        self.replace(observed, wanted);
    }

    /// Applies what is wanted, whether or not it seems to be there.
    pub(crate) fn replace<T: Child>(&mut self, observed: Option<&T>, mut wanted: T) {
        if let Some(observed) = observed {
            wanted.metadata_mut().resource_version = observed.metadata().resource_version.clone();
        }
        self.actions.push(Action::Apply(wanted.object()));
    }

    pub(crate) fn create(&mut self, object: impl Child) {
        self.actions.push(Action::Create(object.object()));
    }
}

/// A kind of object that the operator writes.
pub(crate) trait Child: Sized {
    fn metadata(&self) -> &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
    fn metadata_mut(&mut self) -> &mut k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
    fn kind(&self) -> Kind;
    fn object(self) -> Object;
}

macro_rules! children {
    ($($kind:ident: $type:ty),* $(,)?) => {$(
        impl Child for $type {
            fn metadata(&self) -> &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
                &self.metadata
            }

            fn metadata_mut(&mut self) -> &mut k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
                &mut self.metadata
            }

            fn kind(&self) -> Kind {
                Kind::$kind
            }

            fn object(self) -> Object {
                Object::$kind(Box::new(self))
            }
        }
    )*};
}

children! {
    ConfigMap: k8s_openapi::api::core::v1::ConfigMap,
    Service: k8s_openapi::api::core::v1::Service,
    Job: k8s_openapi::api::batch::v1::Job,
    Deployment: k8s_openapi::api::apps::v1::Deployment,
    HorizontalPodAutoscaler: k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler,
    PodDisruptionBudget: k8s_openapi::api::policy::v1::PodDisruptionBudget,
    NetworkPolicy: k8s_openapi::api::networking::v1::NetworkPolicy,
}

/// The children with this owner.
pub(crate) fn owned(children: &Children, uid: &str) -> Children {
    fn keep<T: Clone>(
        objects: &[T],
        uid: &str,
        metadata: impl Fn(&T) -> &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta,
    ) -> Vec<T> {
        let ours = |object: &&T| metadata(object).owner_references.iter().flatten().any(|owner| owner.uid == uid);
        objects.iter().filter(ours).cloned().collect()
    }
    let jobs = keep(&children.jobs, uid, |object| &object.metadata);
    // Pods belong to Jobs, which may be gone while their pods end.
    let pods = children.pods.clone();
    Children {
        config_maps: keep(&children.config_maps, uid, |object| &object.metadata),
        services: keep(&children.services, uid, |object| &object.metadata),
        jobs,
        pods,
        deployments: keep(&children.deployments, uid, |object| &object.metadata),
        autoscalers: keep(&children.autoscalers, uid, |object| &object.metadata),
        disruption_budgets: keep(&children.disruption_budgets, uid, |object| &object.metadata),
        network_policies: keep(&children.network_policies, uid, |object| &object.metadata),
    }
}
