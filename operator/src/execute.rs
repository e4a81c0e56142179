//! Carries out a plan, in the order that [`plan`](mod@coterie_operator_core::plan) documents. The only file that writes to jobs and their objects.

use std::{collections::BTreeMap, sync::Arc};

use coterie_crds::{API_VERSION, ClusteringJob, KIND, names::MANAGER, status::ClusteringJobStatus};
use coterie_operator_core::plan::{Action, Deletion, Event, Kind, Object, ObjectRef, Plan};
use coterie_protocol::identity;
use jiff::Timestamp;
use k8s_openapi::{
    ByteString,
    api::{
        apps::v1::Deployment,
        autoscaling::v2::HorizontalPodAutoscaler,
        batch::v1::Job,
        core::v1::{ConfigMap, Secret, Service},
        events,
        networking::v1::NetworkPolicy,
        policy::v1::PodDisruptionBudget,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy},
};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::timeout_at;

use crate::{
    event,
    failure::{Attempt, Class, Failure, chain, told},
    leadership::Leadership,
    metrics::Metrics,
};

/// Carries out plans.
pub(crate) struct Executor {
    client: Client,
    leadership: Leadership,
    instance: String,
    metrics: Arc<Metrics>,
}

/// What became of a plan.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// The job is not in the observed version any more, because its status was written.
    pub(crate) replaced: bool,
    /// The objects that were written or deleted.
    pub(crate) written: Vec<ObjectRef>,
    /// What ended the plan early.
    pub(crate) failure: Option<Failure>,
}

// === impl Executor ===

impl Executor {
    /// The instance, the name of the pod, is told in events.
    pub(crate) fn new(client: Client, leadership: Leadership, instance: String, metrics: Arc<Metrics>) -> Self {
        Self { client, leadership, instance, metrics }
    }

    /// Carries out a plan that was made from this job.
    pub(crate) async fn execute(&self, job: &ClusteringJob, plan: &Plan) -> Report {
        // Asking pods and waking up are not writes: the caller sees to them.
        let Plan { status, actions, events, poll: _, traffic: _, wake: _ } = plan;
        let mut report = Report::default();
        report.failure = self.write(job, status.as_ref(), events, actions, &mut report).await.err();
        report
    }

    async fn write(
        &self,
        job: &ClusteringJob,
        status: Option<&ClusteringJobStatus>,
        events: &[Event],
        actions: &[Action],
        report: &mut Report,
    ) -> Result<(), Failure> {
        if let Some(status) = status {
            report.replaced = self.apply_status(job, status).await?;
        }
        for event in events {
            self.tell(job, event).await;
        }
        for action in actions {
            report.written.push(match action {
                Action::Create(object) => self.create(job, object).await?,
                Action::CreateIdentity(metadata) => self.create_identity(job, metadata).await?,
                Action::Apply(object) => self.apply(job, object).await?,
                Action::Delete(deletion) => self.delete(job, deletion).await?,
            });
        }
        Ok(())
    }

    /// Applies the whole status: a field that the document lacks is removed. Whether the job has a new version now.
    async fn apply_status(&self, job: &ClusteringJob, status: &ClusteringJobStatus) -> Result<bool, Failure> {
        let attempt = Attempt::status();
        let observed = job.metadata.resource_version.as_deref();
        let Some(observed) = observed else {
            return Err(Failure::new(Class::Bug, &attempt, "the observed job has no resource version"));
        };
        let document = json!({
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": { "name": job.name_any(), "namespace": job.namespace(), "resourceVersion": observed },
            "status": status,
        });
        let jobs = self.api(job, &ApiResource::erase::<ClusteringJob>(&()));
        let (name, parameters, patch) = (job.name_any(), applying(), Patch::Apply(document));
        let written = self.send(&attempt, jobs.patch_status(&name, &parameters, &patch)).await?;
        Ok(written.metadata.resource_version.as_deref() != Some(observed))
    }

    async fn create(&self, job: &ClusteringJob, object: &Object) -> Result<ObjectRef, Failure> {
        let reference = object.reference();
        let attempt = Attempt::object("create", reference.clone());
        let objects = self.api(job, &resource(reference.kind));
        let document = document(&attempt, object)?;
        match self.send(&attempt, objects.create(&creating(), &document)).await {
            Err(failure) if failure.already_exists() => {
                // The watches are about to show it, unless it is somebody else's: they never will.
                match self.find(&attempt, &objects, &reference.name).await {
                    Ok(Some(found)) => Err(taken(&attempt, &found, job).unwrap_or(failure)),
                    Ok(None) | Err(_) => Err(failure),
                }
            }
            result => result.map(|_| reference),
        }
    }

    async fn create_identity(&self, job: &ClusteringJob, metadata: &ObjectMeta) -> Result<ObjectRef, Failure> {
        let reference = ObjectRef { kind: Kind::Secret, name: metadata.name.clone().unwrap_or_default() };
        let attempt = Attempt::object("create", reference.clone());
        let certificates = identity::issue().map_err(|error| Failure::new(Class::Bug, &attempt, chain(&error)))?;
        let files = certificates.files().into_iter();
        let secret = Secret {
            metadata: metadata.clone(),
            type_: Some("Opaque".to_owned()),
            immutable: Some(true),
            data: Some(
                files.map(|(name, text)| (name.to_owned(), ByteString(text.into()))).collect::<BTreeMap<_, _>>(),
            ),
            string_data: None,
        };
        let objects = self.api(job, &resource(Kind::Secret));
        let document = typed(&attempt, &secret)?;
        match self.send(&attempt, objects.create(&creating(), &document)).await {
            // An earlier attempt got this far. Secrets are never read, so it stays as it is.
            Err(failure) if failure.already_exists() => Ok(reference),
            result => result.map(|_| reference),
        }
    }

    async fn apply(&self, job: &ClusteringJob, object: &Object) -> Result<ObjectRef, Failure> {
        let reference = object.reference();
        let attempt = Attempt::object("apply", reference.clone());
        let objects = self.api(job, &resource(reference.kind));
        let mut document = document(&attempt, object)?;
        if object.metadata().resource_version.is_none()
            && let Some(found) = self.find(&attempt, &objects, &reference.name).await?
        {
            if let Some(failure) = taken(&attempt, &found, job) {
                return Err(failure);
            }
            document.metadata.resource_version = found.metadata.resource_version;
        }
        let (parameters, patch) = (applying(), Patch::Apply(document));
        self.send(&attempt, objects.patch(&reference.name, &parameters, &patch)).await?;
        Ok(reference)
    }

    /// Reads an object that the watches do not show, for it may be somebody else's.
    async fn find(
        &self,
        attempt: &Attempt,
        objects: &Api<DynamicObject>,
        name: &str,
    ) -> Result<Option<DynamicObject>, Failure> {
        let deadline = self.deadline(attempt)?;
        match timeout_at(deadline, objects.get_opt(name)).await {
            Ok(found) => found.map_err(|error| Failure::request(attempt, &error)),
            Err(_) => Err(too_slow(attempt)),
        }
    }

    async fn delete(&self, job: &ClusteringJob, deletion: &Deletion) -> Result<ObjectRef, Failure> {
        let Deletion { object, uid, resource_version } = deletion;
        let attempt = Attempt::object("delete", object.clone());
        let objects = self.api(job, &resource(object.kind));
        let mut uid = uid.clone();
        // The watches have not shown it, so it may be somebody else's. Secrets are never read; their names are the job's alone.
        if uid.is_none() && object.kind != Kind::Secret {
            match self.find(&attempt, &objects, &object.name).await? {
                Some(found) if taken(&attempt, &found, job).is_none() => uid = found.metadata.uid,
                Some(_) | None => return Ok(object.clone()),
            }
        }
        let preconditions = (uid.is_some() || resource_version.is_some())
            .then(|| Preconditions { uid: uid.clone(), resource_version: resource_version.clone() });
        let propagation = match object.kind {
            // The Job is there until its pods are gone.
            Kind::Job => PropagationPolicy::Foreground,
            Kind::ConfigMap
            | Kind::Secret
            | Kind::Service
            | Kind::Deployment
            | Kind::HorizontalPodAutoscaler
            | Kind::PodDisruptionBudget
            | Kind::NetworkPolicy => PropagationPolicy::Background,
        };
        let parameters =
            DeleteParams { preconditions, propagation_policy: Some(propagation), ..DeleteParams::default() };
        match self.send(&attempt, objects.delete(&object.name, &parameters)).await {
            Err(failure) if failure.not_found() => Ok(object.clone()),
            result => result.map(|_| object.clone()),
        }
    }

    /// Publishes an event. One that cannot be published is passed over: status says the same, and lasts.
    async fn tell(&self, job: &ClusteringJob, event: &Event) {
        let reason = event.reason;
        let Some(deadline) = self.leadership.permit() else { return };
        let records: Api<events::v1::Event> =
            Api::namespaced(self.client.clone(), &job.namespace().unwrap_or_default());
        let record = event::record(job, event, &self.instance, Timestamp::now());
        match timeout_at(deadline, records.create(&PostParams::default(), &record)).await {
            Ok(Ok(_)) => self.metrics.wrote("Event", "create"),
            Ok(Err(error)) => tracing::warn!(reason, error = told(&error), "could not publish an event"),
            Err(_) => tracing::warn!(reason, "publishing an event took too long"),
        }
    }

    /// Sends a write, if this replica still leads at this very moment.
    async fn send<T>(
        &self,
        attempt: &Attempt,
        request: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, Failure> {
        let deadline = self.deadline(attempt)?;
        let written = match timeout_at(deadline, request).await {
            Ok(result) => result.map_err(|error| Failure::request(attempt, &error))?,
            Err(_) => return Err(too_slow(attempt)),
        };
        self.metrics.wrote(&attempt.kind(), attempt.verb);
        tracing::debug!(write = %attempt, "written");
        Ok(written)
    }

    fn deadline(&self, attempt: &Attempt) -> Result<tokio::time::Instant, Failure> {
        let not_leading = || Failure::new(Class::NotLeading, attempt, "this replica does not lead any more");
        self.leadership.permit().ok_or_else(not_leading)
    }

    fn api(&self, job: &ClusteringJob, resource: &ApiResource) -> Api<DynamicObject> {
        // Jobs are namespaced, so the API server has given each a namespace.
        Api::namespaced_with(self.client.clone(), job.metadata.namespace.as_deref().unwrap_or_default(), resource)
    }
}

fn too_slow(attempt: &Attempt) -> Failure {
    Failure::new(Class::Transient, attempt, "the API server did not answer in time")
}

fn applying() -> PatchParams {
    PatchParams::apply(MANAGER).force()
}

fn creating() -> PostParams {
    PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() }
}

/// Why an object of a wanted name is not the job's to write.
fn taken(attempt: &Attempt, found: &DynamicObject, job: &ClusteringJob) -> Option<Failure> {
    let owners = found.metadata.owner_references.as_deref().unwrap_or_default();
    let controller = owners.iter().find(|owner| owner.controller == Some(true));
    let (class, message) = match controller {
        Some(owner) if Some(&owner.uid) == job.metadata.uid.as_ref() => return None,
        Some(owner) if owner.kind == KIND && Some(&owner.name) == job.metadata.name.as_ref() => {
            (Class::Stale, "an object of an earlier job of this name is yet to be collected".to_owned())
        }
        Some(owner) => (Class::Refused, format!("name taken by an object of {} {}", owner.kind, owner.name)),
        None => (Class::Refused, "name taken by an object that is not the operator's".to_owned()),
    };
    Some(Failure::new(class, attempt, message))
}

fn document(attempt: &Attempt, object: &Object) -> Result<DynamicObject, Failure> {
    match object {
        Object::ConfigMap(object) => typed(attempt, object),
        Object::Service(object) => typed(attempt, object),
        Object::Job(object) => typed(attempt, object),
        Object::Deployment(object) => typed(attempt, object),
        Object::HorizontalPodAutoscaler(object) => typed(attempt, object),
        Object::PodDisruptionBudget(object) => typed(attempt, object),
        Object::NetworkPolicy(object) => typed(attempt, object),
    }
}

fn typed(attempt: &Attempt, object: &impl Serialize) -> Result<DynamicObject, Failure> {
    let value: Result<Value, _> = serde_json::to_value(object);
    value.and_then(serde_json::from_value).map_err(|error| Failure::new(Class::Bug, attempt, error.to_string()))
}

fn resource(kind: Kind) -> ApiResource {
    match kind {
        Kind::ConfigMap => ApiResource::erase::<ConfigMap>(&()),
        Kind::Secret => ApiResource::erase::<Secret>(&()),
        Kind::Service => ApiResource::erase::<Service>(&()),
        Kind::Job => ApiResource::erase::<Job>(&()),
        Kind::Deployment => ApiResource::erase::<Deployment>(&()),
        Kind::HorizontalPodAutoscaler => ApiResource::erase::<HorizontalPodAutoscaler>(&()),
        Kind::PodDisruptionBudget => ApiResource::erase::<PodDisruptionBudget>(&()),
        Kind::NetworkPolicy => ApiResource::erase::<NetworkPolicy>(&()),
    }
}

#[cfg(test)]
mod tests;
