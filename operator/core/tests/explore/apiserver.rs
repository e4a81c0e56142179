//! The API server: objects with uids and versions, their history, and the semantics of writes.

use std::collections::BTreeMap;
use std::sync::Arc;

use coterie_crds::ClusteringJob;
use coterie_crds::status::ClusteringJobStatus;
use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::Deployment,
    autoscaling::v2::HorizontalPodAutoscaler,
    batch::v1::Job,
    core::v1::{ConfigMap, Pod, Secret, Service},
    networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};

/// Why a write was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The object has another uid or version than was demanded.
    Conflict,
    /// There is no such object.
    NotFound,
    /// The name is taken.
    AlreadyExists,
    /// The object breaks a rule; it will never be accepted.
    Invalid(String),
}

/// A kind of objects.
pub trait Stored: Clone + PartialEq + Sized + 'static {
    /// Its objects.
    fn table(server: &Server) -> &Table<Self>;
    /// Its objects.
    fn table_mut(server: &mut Server) -> &mut Table<Self>;
    /// Metadata.
    fn meta(&self) -> &ObjectMeta;
    /// Metadata.
    fn meta_mut(&mut self) -> &mut ObjectMeta;
    /// Sets what the server sets when it is left out.
    fn fill(&mut self);
    /// The object after our fields were applied to `self`. `before` is what we applied last.
    fn merge(&self, applied: &Self, before: Option<&Self>) -> Result<Self, Refused>;
    /// Whether a change from `old` counts as a new generation.
    fn new_generation(&self, old: &Self) -> bool;
}

/// The objects of a kind and all that ever happened to them.
#[derive(Clone, Debug)]
pub struct Table<T> {
    /// What exists.
    pub objects: BTreeMap<String, Arc<T>>,
    /// Every version, in order; `None` is a deletion.
    pub log: Vec<(String, Option<Arc<T>>)>,
    /// What was applied last by the operator, by name.
    applied: BTreeMap<String, Arc<T>>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { objects: BTreeMap::new(), log: Vec::new(), applied: BTreeMap::new() }
    }
}

/// The server.
#[derive(Clone, Debug)]
pub struct Server {
    /// The time, the same for everybody.
    pub now: Timestamp,
    /// Writes of the operators that were done, whether they changed anything or not.
    pub operator_writes: u64,
    version: u64,
    uids: u64,
    pub(super) clustering_jobs: Table<ClusteringJob>,
    pub(super) config_maps: Table<ConfigMap>,
    pub(super) secrets: Table<Secret>,
    pub(super) services: Table<Service>,
    pub(super) jobs: Table<Job>,
    pub(super) pods: Table<Pod>,
    pub(super) deployments: Table<Deployment>,
    pub(super) autoscalers: Table<HorizontalPodAutoscaler>,
    pub(super) budgets: Table<PodDisruptionBudget>,
    pub(super) policies: Table<NetworkPolicy>,
}

impl Server {
    /// An empty server.
    pub fn new(now: Timestamp) -> Self {
        Self {
            now,
            operator_writes: 0,
            version: 0,
            uids: 0,
            clustering_jobs: Table::default(),
            config_maps: Table::default(),
            secrets: Table::default(),
            services: Table::default(),
            jobs: Table::default(),
            pods: Table::default(),
            deployments: Table::default(),
            autoscalers: Table::default(),
            budgets: Table::default(),
            policies: Table::default(),
        }
    }

    /// Number of writes that changed something.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The objects of a kind.
    pub fn all<T: Stored>(&self) -> &BTreeMap<String, Arc<T>> {
        &T::table(self).objects
    }

    /// An object.
    pub fn get<T: Stored>(&self, name: &str) -> Option<&Arc<T>> {
        self.all::<T>().get(name)
    }

    /// Creates an object.
    pub fn create<T: Stored>(&mut self, mut object: T) -> Result<(), Refused> {
        let name = object.meta().name.clone().ok_or_else(|| Refused::Invalid("no name".to_owned()))?;
        if self.get::<T>(&name).is_some() {
            return Err(Refused::AlreadyExists);
        }
        self.uids += 1;
        let uid = format!("uid-{}", self.uids);
        let now = self.now;
        let meta = object.meta_mut();
        meta.uid = Some(uid);
        meta.generation = Some(1);
        meta.creation_timestamp = Some(Time(now));
        meta.namespace.get_or_insert_with(|| "default".to_owned());
        object.fill();
        self.store(name, object);
        Ok(())
    }

    /// Changes an object as its controller or a user would: whatever it is now.
    pub fn update<T: Stored>(&mut self, name: &str, change: impl FnOnce(&mut T)) -> Result<(), Refused> {
        let old = self.get::<T>(name).cloned().ok_or(Refused::NotFound)?;
        let mut new = T::clone(&old);
        change(&mut new);
        self.replace(name, old.as_ref(), new);
        Ok(())
    }

    /// Server-side apply by the operator, with force.
    pub fn apply<T: Stored>(&mut self, object: &T) -> Result<(), Refused> {
        let name = object.meta().name.clone().ok_or_else(|| Refused::Invalid("no name".to_owned()))?;
        match self.get::<T>(&name).cloned() {
            None if object.meta().resource_version.is_some() => return Err(Refused::Conflict),
            None => self.create(object.clone())?,
            Some(old) => {
                demand(object.meta().resource_version.as_ref(), old.meta().resource_version.as_ref())?;
                let before = T::table(self).applied.get(&name).cloned();
                let mut new = old.merge(object, before.as_deref())?;
                merge_metadata(new.meta_mut(), object.meta(), before.as_deref().map(T::meta));
                new.fill();
                self.replace(&name, old.as_ref(), new);
            }
        }
        T::table_mut(self).applied.insert(name, Arc::new(object.clone()));
        Ok(())
    }

    /// Applies a whole status.
    pub fn apply_status(
        &mut self,
        name: &str,
        version: Option<&String>,
        status: ClusteringJobStatus,
    ) -> Result<(), Refused> {
        let old = self.get::<ClusteringJob>(name).cloned().ok_or(Refused::NotFound)?;
        demand(version, old.metadata.resource_version.as_ref())?;
        if status.history.len() > HISTORY {
            return Err(Refused::Invalid("status.history: must have at most 256 items".to_owned()));
        }
        let mut new = ClusteringJob::clone(&old);
        new.status = Some(status);
        self.replace(name, old.as_ref(), new);
        Ok(())
    }

    /// Deletes an object; one with finalizers only begins to go.
    pub fn delete<T: Stored>(
        &mut self,
        name: &str,
        uid: Option<&String>,
        version: Option<&String>,
    ) -> Result<(), Refused> {
        let old = self.get::<T>(name).cloned().ok_or(Refused::NotFound)?;
        demand(uid, old.meta().uid.as_ref())?;
        demand(version, old.meta().resource_version.as_ref())?;
        if old.meta().finalizers.as_ref().is_none_or(Vec::is_empty) {
            self.remove::<T>(name);
        } else if old.meta().deletion_timestamp.is_none() {
            let now = self.now;
            self.update::<T>(name, |object| object.meta_mut().deletion_timestamp = Some(Time(now)))?;
        }
        Ok(())
    }

    /// Deletes an object after its dependents.
    pub fn delete_foreground<T: Stored>(
        &mut self,
        name: &str,
        uid: Option<&String>,
        version: Option<&String>,
    ) -> Result<(), Refused> {
        let old = self.get::<T>(name).ok_or(Refused::NotFound)?;
        demand(uid, old.meta().uid.as_ref())?;
        demand(version, old.meta().resource_version.as_ref())?;
        if old.meta().deletion_timestamp.is_some() {
            return Ok(());
        }
        let now = self.now;
        self.update::<T>(name, |object| {
            object.meta_mut().deletion_timestamp = Some(Time(now));
            object.meta_mut().finalizers.get_or_insert_default().push(FOREGROUND.to_owned());
        })
    }

    /// The last step of a deletion.
    pub fn remove<T: Stored>(&mut self, name: &str) {
        self.version += 1;
        let table = T::table_mut(self);
        if table.objects.remove(name).is_some() {
            table.applied.remove(name);
            table.log.push((name.to_owned(), None));
        }
    }

    fn replace<T: Stored>(&mut self, name: &str, old: &T, mut new: T) {
        if new == *old {
            return;
        }
        if new.new_generation(old) {
            new.meta_mut().generation = old.meta().generation.map(|generation| generation + 1);
        }
        self.store(name.to_owned(), new);
    }

    fn store<T: Stored>(&mut self, name: String, mut object: T) {
        self.version += 1;
        object.meta_mut().resource_version = Some(self.version.to_string());
        let object = Arc::new(object);
        let table = T::table_mut(self);
        table.log.push((name.clone(), Some(object.clone())));
        table.objects.insert(name, object);
    }
}

/// What the schema admits in `status.history`.
const HISTORY: usize = 256;

/// The finalizer of a deletion that waits for the dependents.
pub const FOREGROUND: &str = "foregroundDeletion";

fn demand(wanted: Option<&String>, actual: Option<&String>) -> Result<(), Refused> {
    if wanted.is_none() || wanted == actual { Ok(()) } else { Err(Refused::Conflict) }
}

/// Labels and annotations that we applied before and do not apply now go; those of others stay.
fn merge_metadata(meta: &mut ObjectMeta, applied: &ObjectMeta, before: Option<&ObjectMeta>) {
    let merge = |current: &mut Option<BTreeMap<String, String>>,
                 applied: &Option<BTreeMap<String, String>>,
                 before: Option<&BTreeMap<String, String>>| {
        let mut merged = current.take().unwrap_or_default();
        for key in before.into_iter().flatten().map(|(key, _)| key) {
            merged.remove(key);
        }
        merged.extend(applied.clone().unwrap_or_default());
        *current = Some(merged).filter(|merged| !merged.is_empty());
    };
    merge(&mut meta.labels, &applied.labels, before.and_then(|meta| meta.labels.as_ref()));
    merge(&mut meta.annotations, &applied.annotations, before.and_then(|meta| meta.annotations.as_ref()));
    if applied.owner_references.is_some() {
        meta.owner_references.clone_from(&applied.owner_references);
    }
}
