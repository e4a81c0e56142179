//! The runs of a job, as their objects and the status tell them.

use std::collections::{BTreeMap, BTreeSet};

use coterie_crds::names::label;
use coterie_crds::run::{PublishedModel, RunReport};
use coterie_crds::status::{ClusteringJobStatus, RunState, Trigger};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::{
    batch::v1::Job,
    core::v1::{ConfigMap, Pod, Service},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::build::Record;
use crate::observed::Children;
use crate::validate::Key;

/// How long news of a pod's end may take after that of its Job's.
const NEWS: SignedDuration = SignedDuration::from_secs(30);

/// One run.
#[derive(Clone, Debug)]
pub(crate) struct Run<'a> {
    pub(crate) number: i64,
    pub(crate) name: String,
    /// What it answers; `None` when nobody remembers.
    pub(crate) key: Option<Key>,
    pub(crate) trigger: Trigger,
    pub(crate) scheduled: Option<Timestamp>,
    pub(crate) created: Option<Timestamp>,
    pub(crate) record: Option<(&'a ConfigMap, Record)>,
    pub(crate) service: Option<&'a Service>,
    pub(crate) job: Option<&'a Job>,
    pub(crate) pods: Vec<&'a Pod>,
    /// How it ended, once the status says so; what its objects say then does not matter any more.
    pub(crate) over: Option<RunState>,
}

/// What the objects of a run say.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Finding {
    /// There is no Job.
    Absent,
    /// The Job is being deleted.
    Leaving,
    /// The Job is held back from outside.
    Queued,
    /// Pods wait, for what the text says.
    Waiting(String),
    /// It computes.
    Running,
    /// It published a model.
    Published(Box<PublishedModel>),
    /// It ended without a model.
    Failed(String),
    /// It succeeded, but nobody can tell any more what it published.
    Lost,
}

/// Name of a run and of its objects.
pub(crate) fn name(job: &str, number: i64) -> String {
    format!("{job}-r{number}")
}

/// Number of the run of this name.
pub(crate) fn number(name: &str) -> Option<i64> {
    name.rsplit_once("-r")?.1.parse().ok()
}

/// Every run that has left a trace, oldest first.
pub(crate) fn of<'a>(job: &str, children: &'a Children, status: &ClusteringJobStatus) -> Vec<Run<'a>> {
    let mut records: BTreeMap<i64, (&ConfigMap, Record)> = children
        .config_maps
        .iter()
        .filter_map(|object| Record::read(object).map(|record| (record.number, (object, record))))
        .collect();
    let mut services: BTreeMap<i64, &Service> = numbered(&children.services, |object| &object.metadata);
    let mut jobs: BTreeMap<i64, &Job> = numbered(&children.jobs, |object| &object.metadata);
    let current = status.run.as_ref();
    let numbers: BTreeSet<i64> = records
        .keys()
        .chain(services.keys())
        .chain(jobs.keys())
        .copied()
        .chain(current.map(|run| run.number))
        .collect();
    numbers
        .into_iter()
        .map(|number| {
            let name = name(job, number);
            let record = records.remove(&number);
            let known = current.filter(|run| run.number == number);
            let over = status
                .history
                .iter()
                .find(|run| run.name == name)
                .map(|run| run.state)
                .or_else(|| known.map(|run| run.state).filter(|state| is_final(*state)));
            let key = record.as_ref().map(|(_, record)| (&record.training_hash, &record.retrain_token));
            let key = key.or_else(|| known.map(|run| (&run.training_hash, &run.retrain_token)));
            let trigger = record.as_ref().map(|(_, record)| record.trigger).or_else(|| known.map(|run| run.trigger));
            let created = record.as_ref().and_then(|(object, _)| object.metadata.creation_timestamp.as_ref());
            let job = jobs.remove(&number);
            Run {
                number,
                key: key.map(|(hash, token)| Key { training_hash: hash.clone(), retrain_token: token.clone() }),
                trigger: trigger.unwrap_or(Trigger::SpecChanged),
                scheduled: record.as_ref().and_then(|(_, record)| record.scheduled_time),
                created: created.map(|time| time.0),
                record,
                service: services.remove(&number),
                job,
                pods: pods(children, job),
                over,
                name,
            }
        })
        .collect()
}

pub(crate) fn is_final(state: RunState) -> bool {
    match state {
        RunState::Succeeded | RunState::Failed | RunState::Cancelled => true,
        RunState::Starting | RunState::Suspended | RunState::Running => false,
    }
}

fn numbered<T>(objects: &[T], metadata: impl Fn(&T) -> &ObjectMeta) -> BTreeMap<i64, &T> {
    objects.iter().filter_map(|object| Some((run_label(metadata(object))?, object))).collect()
}

fn run_label(metadata: &ObjectMeta) -> Option<i64> {
    metadata.labels.as_ref()?.get(label::RUN)?.parse().ok()
}

/// Pods of this very Job, not of one that had its name before.
fn pods<'a>(children: &'a Children, job: Option<&Job>) -> Vec<&'a Pod> {
    let Some(uid) = job.and_then(|job| job.metadata.uid.as_ref()) else { return Vec::new() };
    let ours = |pod: &&Pod| pod.metadata.owner_references.iter().flatten().any(|owner| owner.uid == *uid);
    children.pods.iter().filter(ours).collect()
}

impl Run<'_> {
    /// Whether nothing of the run is left but what the status says.
    pub(crate) fn is_gone(&self) -> bool {
        self.record.is_none() && self.service.is_none() && self.job.is_none()
    }

    /// Whether the Job has ended well.
    pub(crate) fn is_complete(&self) -> bool {
        self.job.is_some_and(|job| has_condition(job, "Complete"))
    }

    /// Until when the outcome of a Job that has ended well is waited for.
    pub(crate) fn news_until(&self) -> Option<Timestamp> {
        self.job.filter(|_| self.is_complete()).and_then(news_until)
    }

    /// What the objects say.
    pub(crate) fn finding(&self, now: Timestamp) -> Finding {
        let Some(job) = self.job else { return Finding::Absent };
        if job.metadata.deletion_timestamp.is_some() {
            return Finding::Leaving;
        }
        if self.is_complete() {
            return match self.report() {
                Some(RunReport::Published(model)) => Finding::Published(Box::new(model)),
                // Pods are watched apart from Jobs: the pod's end may not have been heard of yet.
                None if self.pods.iter().any(|pod| is_first(pod) && termination(pod).is_none()) => Finding::Running,
                None if news_until(job).is_some_and(|until| now < until) => Finding::Running,
                Some(RunReport::Failed(_)) | None => Finding::Lost,
            };
        }
        if let Some(failed) = condition_of(job, "Failed") {
            let told = failed.message.clone().filter(|message| !message.is_empty());
            let message = self.failure().or(told).or(failed.reason.clone()).unwrap_or_default();
            return Finding::Failed(message);
        }
        if job.spec.as_ref().and_then(|spec| spec.suspend) == Some(true) {
            return Finding::Queued;
        }
        let running = |pod: &&&Pod| pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running");
        match self.pods.iter().find(running) {
            Some(_) => Finding::Running,
            None => Finding::Waiting(self.waits_for()),
        }
    }

    /// The pod with index 0 that computes now: the coordinator's.
    pub(crate) fn coordinator(&self) -> Option<&Pod> {
        self.pods.iter().copied().find(|pod| {
            is_first(pod)
                && pod.metadata.deletion_timestamp.is_none()
                && pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running")
        })
    }

    /// The report of the pod with index 0 that succeeded.
    fn report(&self) -> Option<RunReport> {
        self.pods
            .iter()
            .filter(|pod| is_first(pod))
            .filter_map(|pod| termination(pod))
            .find_map(|(code, report)| report.filter(|_| code == 0))
    }

    /// Why the run failed, in the words of the pod that knows best: one whose failure would come again, first of all the coordinator's.
    fn failure(&self) -> Option<String> {
        let mut reports: Vec<(bool, bool, String)> = self
            .pods
            .iter()
            .filter_map(|pod| match termination(pod)? {
                (_, Some(RunReport::Failed(failure))) => {
                    Some((failure.exit_code != 75, is_first(pod), failure.message))
                }
                (code, _) if code != 0 => {
                    Some((false, is_first(pod), format!("a worker ended with code {code} and no report; see its log")))
                }
                _ => None,
            })
            .collect();
        reports.sort();
        reports.pop().map(|(_, _, message)| message)
    }

    /// What keeps pods from running.
    fn waits_for(&self) -> String {
        let waiting = self.pods.iter().find_map(|pod| {
            let name = pod.metadata.name.as_deref().unwrap_or_default();
            let status = pod.status.as_ref()?;
            let unscheduled =
                status.conditions.iter().flatten().find(|c| c.type_ == "PodScheduled" && c.status == "False");
            if let Some(condition) = unscheduled {
                return Some(format!(
                    "pod {name} is not scheduled: {}",
                    condition.message.as_deref().unwrap_or("no reason given")
                ));
            }
            let state = status
                .container_statuses
                .iter()
                .flatten()
                .find_map(|container| container.state.as_ref()?.waiting.as_ref())?;
            let reason = state.reason.as_deref().unwrap_or("waiting");
            match reason {
                "ContainerCreating" | "PodInitializing" => None,
                _ => Some(
                    format!("pod {name}: {reason} {}", state.message.as_deref().unwrap_or_default())
                        .trim_end()
                        .to_owned(),
                ),
            }
        });
        waiting.unwrap_or_else(|| "pods are starting".to_owned())
    }
}

/// Until when news of the pods of a Job that has ended may still come.
fn news_until(job: &Job) -> Option<Timestamp> {
    let ended = job.status.as_ref()?.completion_time.as_ref()?;
    Some(ended.0 + NEWS)
}

fn is_first(pod: &Pod) -> bool {
    let labels = pod.metadata.labels.iter().flatten();
    let annotations = pod.metadata.annotations.iter().flatten();
    labels.chain(annotations).any(|(key, value)| key == "batch.kubernetes.io/job-completion-index" && value == "0")
}

/// Exit code and report of a pod that ended.
fn termination(pod: &Pod) -> Option<(i32, Option<RunReport>)> {
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    let ended = statuses.iter().find_map(|container| container.state.as_ref()?.terminated.as_ref())?;
    let report = ended.message.as_deref().and_then(|message| serde_json::from_str(message).ok());
    Some((ended.exit_code, report))
}

fn condition_of<'a>(job: &'a Job, kind: &str) -> Option<&'a k8s_openapi::api::batch::v1::JobCondition> {
    job.status
        .as_ref()?
        .conditions
        .as_ref()?
        .iter()
        .find(|condition| condition.type_ == kind && condition.status == "True")
}

fn has_condition(job: &Job, kind: &str) -> bool {
    condition_of(job, kind).is_some()
}
