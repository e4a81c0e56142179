//! What every step of a plan is told.

use std::borrow::Cow;

use coterie_crds::status::ClusteringJobStatus;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

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
    fn metadata(&self) -> &ObjectMeta;
    fn metadata_mut(&mut self) -> &mut ObjectMeta;
    fn kind(&self) -> Kind;
    fn object(self) -> Object;
}

macro_rules! children {
    ($($kind:ident: $type:ty),* $(,)?) => {$(
        impl Child for $type {
            fn metadata(&self) -> &ObjectMeta {
                &self.metadata
            }

            fn metadata_mut(&mut self) -> &mut ObjectMeta {
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

/// The children with this owner. Nothing is copied where these are all, as they nearly always are.
pub(crate) fn owned<'a>(children: &'a Children, uid: &str) -> Cow<'a, Children> {
    let Children {
        config_maps,
        services,
        jobs,
        // Pods belong to Jobs, which may be gone while their pods end.
        pods,
        deployments,
        autoscalers,
        disruption_budgets,
        network_policies,
    } = children;
    let all = all_owned(config_maps, uid)
        && all_owned(services, uid)
        && all_owned(jobs, uid)
        && all_owned(deployments, uid)
        && all_owned(autoscalers, uid)
        && all_owned(disruption_budgets, uid)
        && all_owned(network_policies, uid);
    if all {
        return Cow::Borrowed(children);
    }
    Cow::Owned(Children {
        config_maps: keep(config_maps, uid),
        services: keep(services, uid),
        jobs: keep(jobs, uid),
        pods: pods.clone(),
        deployments: keep(deployments, uid),
        autoscalers: keep(autoscalers, uid),
        disruption_budgets: keep(disruption_budgets, uid),
        network_policies: keep(network_policies, uid),
    })
}

fn is_owned(object: &impl Child, uid: &str) -> bool {
    object.metadata().owner_references.iter().flatten().any(|owner| owner.uid == uid)
}

fn all_owned<T: Child>(objects: &[T], uid: &str) -> bool {
    objects.iter().all(|object| is_owned(object, uid))
}

fn keep<T: Child + Clone>(objects: &[T], uid: &str) -> Vec<T> {
    objects.iter().filter(|object| is_owned(*object, uid)).cloned().collect()
}
