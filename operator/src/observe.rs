//! What the API server holds, kept in memory by one watch per kind, and the observation of one job made from it. A reconciliation reads nothing else.

use std::{fmt::Debug, sync::Arc};

use coterie_crds::{
    ClusteringJob,
    names::{MANAGER, label},
};
use coterie_operator_core::{Children, Observed};
use futures::{Stream, StreamExt, future, stream, stream::BoxStream};
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::Deployment,
        autoscaling::v2::HorizontalPodAutoscaler,
        batch::v1::Job,
        core::v1::{ConfigMap, Pod, Service},
        networking::v1::NetworkPolicy,
        policy::v1::PodDisruptionBudget,
    },
};
use kube::{
    Api, Client, Resource, ResourceExt,
    core::DeserializeGuard,
    runtime::{
        WatchStreamExt,
        reflector::{self, ObjectRef, Store},
        watcher::{self, Event, watcher},
    },
};
use serde::de::DeserializeOwned;

use crate::{
    failure::chain,
    filling::{Ended, Filled, Filling, filling},
    memory::Memory,
    metrics::Metrics,
};

/// A job, or what could not be read as one: that must not stop the watch of all the others.
pub(crate) type Guarded = DeserializeGuard<ClusteringJob>;

/// Everything watched in one namespace, or in all.
pub(crate) struct Stores {
    pub(crate) jobs: Store<Guarded>,
    config_maps: Store<ConfigMap>,
    services: Store<Service>,
    batch_jobs: Store<Job>,
    pods: Store<Pod>,
    deployments: Store<Deployment>,
    autoscalers: Store<HorizontalPodAutoscaler>,
    disruption_budgets: Store<PodDisruptionBudget>,
    network_policies: Store<NetworkPolicy>,
    filled: Filled,
}

/// The watches behind [`Stores`]. They move only while these are polled.
pub(crate) struct Watches {
    /// Jobs that have changed.
    pub(crate) jobs: BoxStream<'static, Result<Guarded, watcher::Error>>,
    /// Jobs whose objects have changed.
    pub(crate) children: BoxStream<'static, ObjectRef<Guarded>>,
}

/// Watches one namespace, or all.
pub(crate) fn watch(client: &Client, namespace: Option<&str>, metrics: &Arc<Metrics>) -> (Stores, Watches) {
    let (jobs, writer) = reflector::store();
    let (filling, filled) = filling();
    let events =
        watcher(api(client, namespace), watcher::Config::default()).default_backoff().modify(prune).reflect(writer);
    let changed = telling(filling.count(events).applied_objects(), metrics).map(Ok).boxed();

    let ours = format!("{}={MANAGER}", label::MANAGED_BY);
    let mut children = stream::SelectAll::new();
    let mut scope = Scope { client, namespace, jobs: &jobs, metrics, filling: &filling, children: &mut children };
    let stores = Stores {
        config_maps: scope.watch(&ours),
        services: scope.watch(&ours),
        batch_jobs: scope.watch(&ours),
        pods: scope.watch(&ours),
        deployments: scope.watch(&ours),
        autoscalers: scope.watch(&ours),
        disruption_budgets: scope.watch(&ours),
        network_policies: scope.watch(&ours),
        filled,
        jobs,
    };
    (stores, Watches { jobs: changed, children: children.boxed() })
}

/// What the watches of children have in common.
struct Scope<'a> {
    client: &'a Client,
    namespace: Option<&'a str>,
    jobs: &'a Store<Guarded>,
    metrics: &'a Arc<Metrics>,
    filling: &'a Filling,
    children: &'a mut stream::SelectAll<BoxStream<'static, ObjectRef<Guarded>>>,
}

// === impl Scope ===

impl Scope<'_> {
    fn watch<K>(&mut self, labels: &str) -> Store<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned
            + Send
            + Sync
            + 'static,
    {
        let (store, writer) = reflector::store();
        let events = watcher(api::<K>(self.client, self.namespace), watcher::Config::default().labels(labels))
            .default_backoff()
            .modify(prune)
            .reflect(writer);
        let jobs = self.jobs.clone();
        let touched = telling(self.filling.count(events), self.metrics).flat_map(move |event| {
            stream::iter(match event {
                Event::Apply(object) | Event::Delete(object) => job_of(&object).into_iter().collect(),
                Event::Init | Event::InitApply(_) => Vec::new(),
                // What happened while the watch was broken is not told, deletions least of all.
                Event::InitDone => jobs.state().iter().map(|job| ObjectRef::from_obj(job.as_ref())).collect(),
            })
        });
        self.children.push(touched.boxed());
        store
    }
}

// === impl Stores ===

impl Stores {
    /// Completes when every store has been filled once. Before that, missing objects mean nothing.
    pub(crate) async fn ready(&self) -> Result<(), Ended> {
        self.filled.wait().await
    }

    /// All that is known about a job.
    pub(crate) fn observe(&self, job: &ClusteringJob, memory: &Memory) -> Observed {
        let (namespace, name, uid) = (job.namespace(), job.name_any(), job.uid().unwrap_or_default());
        let of = (namespace.as_deref(), name.as_str());
        Observed {
            job: job.clone(),
            children: Children {
                config_maps: children(&self.config_maps, of),
                services: children(&self.services, of),
                jobs: children(&self.batch_jobs, of),
                pods: children(&self.pods, of),
                deployments: children(&self.deployments, of),
                autoscalers: children(&self.autoscalers, of),
                disruption_budgets: children(&self.disruption_budgets, of),
                network_policies: children(&self.network_policies, of),
            },
            progress: memory.progress(&uid),
            traffic: memory.traffic(&uid),
            refusals: memory.refusals(&uid, job.metadata.generation),
        }
    }
}

fn api<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

/// Drops what nobody reads and is often larger than the rest.
fn prune(object: &mut impl ResourceExt) {
    object.managed_fields_mut().clear();
    object.annotations_mut().remove("kubectl.kubernetes.io/last-applied-configuration");
}

/// Passes on what a watch yields and tells of its failures; it starts again by itself.
fn telling<T>(
    watch: impl Stream<Item = Result<T, watcher::Error>> + Send + 'static,
    metrics: &Arc<Metrics>,
) -> impl Stream<Item = T> + Send + 'static
where
    T: Send + 'static,
{
    let metrics = metrics.clone();
    watch.filter_map(move |item| {
        let item = item.map_err(|error| {
            metrics.watch_failed();
            tracing::warn!(error = chain(&error), "a watch broke and starts again");
        });
        future::ready(item.ok())
    })
}

/// The job that an object names in its label.
fn job_of(object: &impl ResourceExt) -> Option<ObjectRef<Guarded>> {
    let name = object.labels().get(label::JOB)?;
    Some(ObjectRef::new(name).within(&object.namespace()?))
}

fn children<K>(store: &Store<K>, (namespace, name): (Option<&str>, &str)) -> Vec<K>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    let mut found: Vec<K> = store
        .state_filter(|object| {
            object.meta().namespace.as_deref() == namespace
                && object.labels().get(label::JOB).is_some_and(|job| job == name)
        })
        .iter()
        .map(|object| K::clone(object))
        .collect();
    // Stores have no order; decisions need one.
    found.sort_by(|one, other| one.meta().name.cmp(&other.meta().name));
    found
}
