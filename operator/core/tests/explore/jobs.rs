//! The Job controller, with what we use of it: Indexed, backoffLimitPerIndex, successPolicy on index 0, podFailurePolicy, deadline, suspend; and
//! Kueue, which resumes Jobs of a queue.

use std::collections::BTreeMap;

use coterie_crds::names::label;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::{Job, JobCondition, JobStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};

use super::apiserver::Server;
use super::controllers::{Controllers, Move};

/// Label of a pod's index.
pub const INDEX: &str = "batch.kubernetes.io/job-completion-index";

/// A step of the Job controller.
#[derive(Clone, Debug, PartialEq)]
pub enum JobMove {
    /// Makes missing pods.
    Pods(String, Vec<i32>),
    /// Stops pods of a Job that needs none any more.
    Stop(String),
    /// Notes that the Job is suspended.
    Suspend(String),
    /// Kueue lets the Job run.
    Admit(String),
    /// Notes how the Job will end: type of the condition, reason.
    Judge(String, &'static str, &'static str),
    /// Notes the end.
    Conclude(String),
    /// Counts pods.
    Count(String),
}

/// Whether a condition of a Job is true.
pub fn holds(job: &Job, kind: &str) -> bool {
    let conditions = job.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|condition| condition.type_ == kind && condition.status == "True")
}

/// Whether a Job's run may go on.
pub fn is_active(job: &Job) -> bool {
    job.metadata.deletion_timestamp.is_none()
        && !["SuccessCriteriaMet", "Complete", "FailureTarget", "Failed"].iter().any(|kind| holds(job, kind))
}

/// Pods of an object, by its uid.
pub fn pods_of<'a>(server: &'a Server, uid: Option<&'a String>) -> impl Iterator<Item = &'a Pod> {
    let owned = move |pod: &&Pod| pod.metadata.owner_references.iter().flatten().any(|owner| Some(&owner.uid) == uid);
    server.all::<Pod>().values().map(AsRef::as_ref).filter(owned)
}

/// Phase of a pod.
pub fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("Pending")
}

/// Whether a pod is over.
pub fn is_over(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// Index of a pod in its Job.
pub fn index(pod: &Pod) -> i32 {
    let label = pod.metadata.labels.as_ref().and_then(|labels| labels.get(INDEX));
    label.and_then(|index| index.parse().ok()).unwrap_or_default()
}

fn exit_code(pod: &Pod) -> Option<i32> {
    let status = pod.status.as_ref()?.container_statuses.as_ref()?.first()?;
    Some(status.state.as_ref()?.terminated.as_ref()?.exit_code)
}

pub(super) fn moves(controllers: &Controllers, server: &Server, moves: &mut Vec<Move>) {
    for (name, job) in server.all::<Job>() {
        moves.extend(next(controllers, server, name, job).map(Move::Job));
    }
}

fn next(controllers: &Controllers, server: &Server, name: &str, job: &Job) -> Option<JobMove> {
    let name = name.to_owned();
    if job.metadata.deletion_timestamp.is_some() {
        return None; // the garbage collector's
    }
    let pods: Vec<&Pod> = pods_of(server, job.metadata.uid.as_ref()).collect();
    let to_stop = pods.iter().any(|pod| !is_over(pod) && pod.metadata.deletion_timestamp.is_none());
    let gone = pods.iter().all(|pod| is_over(pod));
    if holds(job, "Complete") || holds(job, "Failed") {
        return None;
    }
    if holds(job, "SuccessCriteriaMet") || holds(job, "FailureTarget") {
        return if to_stop { Some(JobMove::Stop(name)) } else { gone.then_some(JobMove::Conclude(name)) };
    }
    let spec = job.spec.as_ref()?;
    if let Some((kind, reason)) = verdict(controllers, server, job, &pods) {
        return Some(JobMove::Judge(name, kind, reason));
    }
    if spec.suspend == Some(true) {
        return if to_stop {
            Some(JobMove::Stop(name))
        } else if !holds(job, "Suspended") {
            Some(JobMove::Suspend(name))
        } else {
            job.metadata.labels.as_ref()?.contains_key(label::KUEUE_QUEUE).then_some(JobMove::Admit(name))
        };
    }
    let settled =
        |index: i32| pods.iter().any(|pod| self::index(pod) == index && (!is_over(pod) || phase(pod) == "Succeeded"));
    let missing: Vec<i32> = (0..spec.parallelism.unwrap_or(1)).filter(|index| !settled(*index)).collect();
    if !missing.is_empty() {
        return Some(JobMove::Pods(name, missing));
    }
    (job.status.as_ref() != Some(&counted(job, &pods))).then_some(JobMove::Count(name))
}

fn verdict(
    controllers: &Controllers,
    server: &Server,
    job: &Job,
    pods: &[&Pod],
) -> Option<(&'static str, &'static str)> {
    let spec = job.spec.as_ref()?;
    if pods.iter().any(|pod| index(pod) == 0 && phase(pod) == "Succeeded") {
        return Some(("SuccessCriteriaMet", "SuccessPolicy"));
    }
    if pods.iter().any(|pod| exit_code(pod).is_some_and(|code| (64..=66).contains(&code))) {
        return Some(("FailureTarget", "PodFailurePolicy"));
    }
    let uid = job.metadata.uid.clone().unwrap_or_default();
    let limit = spec.backoff_limit_per_index.unwrap_or(i32::MAX);
    let parallelism = spec.parallelism.unwrap_or(1);
    if (0..parallelism).any(|index| controllers.failures.get(&(uid.clone(), index)).is_some_and(|&count| count > limit))
    {
        return Some(("FailureTarget", "MaxFailedIndexesExceeded"));
    }
    deadline(job).is_some_and(|deadline| server.now >= deadline).then_some(("FailureTarget", "DeadlineExceeded"))
}

fn deadline(job: &Job) -> Option<Timestamp> {
    let start = job.status.as_ref()?.start_time.as_ref()?.0;
    let seconds = job.spec.as_ref()?.active_deadline_seconds?;
    start.checked_add(SignedDuration::from_secs(seconds)).ok()
}

/// When a deadline passes.
pub(super) fn timer(server: &Server) -> Option<Timestamp> {
    let active = server
        .all::<Job>()
        .values()
        .filter(|job| is_active(job) && job.spec.as_ref().is_some_and(|s| s.suspend != Some(true)));
    active.filter_map(|job| deadline(job)).min()
}

fn counted(job: &Job, pods: &[&Pod]) -> JobStatus {
    let count = |of: &dyn Fn(&Pod) -> bool| i32::try_from(pods.iter().filter(|pod| of(pod)).count()).ok();
    let mut status = job.status.clone().unwrap_or_default();
    status.active = count(&|pod| !is_over(pod) && pod.metadata.deletion_timestamp.is_none());
    status.ready = count(&|pod| phase(pod) == "Running" && pod.metadata.deletion_timestamp.is_none());
    status.terminating = count(&|pod| !is_over(pod) && pod.metadata.deletion_timestamp.is_some());
    // Pods that were deleted after they were counted stay counted.
    status.succeeded = status.succeeded.max(count(&|pod| phase(pod) == "Succeeded").filter(|&count| count > 0));
    status.failed = status.failed.max(count(&|pod| phase(pod) == "Failed").filter(|&count| count > 0));
    status
}

pub(super) fn carry_out(controllers: &mut Controllers, server: &mut Server, step: &JobMove) {
    let (JobMove::Pods(name, _)
    | JobMove::Stop(name)
    | JobMove::Suspend(name)
    | JobMove::Admit(name)
    | JobMove::Judge(name, _, _)
    | JobMove::Conclude(name)
    | JobMove::Count(name)) = step;
    let Some(job) = server.get::<Job>(name).cloned() else { return };
    let now = server.now;
    match step {
        JobMove::Pods(_, missing) => {
            for &index in missing {
                controllers.pods += 1;
                let _ = server.create(pod(&job, index, controllers.pods));
            }
        }
        JobMove::Stop(_) => {
            let running = pods_of(server, job.metadata.uid.as_ref())
                .filter(|pod| !is_over(pod) && pod.metadata.deletion_timestamp.is_none());
            for name in running.filter_map(|pod| pod.metadata.name.clone()).collect::<Vec<_>>() {
                let _ = server.update::<Pod>(&name, |pod| pod.metadata.deletion_timestamp = Some(Time(now)));
            }
        }
        JobMove::Admit(_) => {
            let _ = server.update::<Job>(name, |job| {
                job.spec.get_or_insert_default().suspend = Some(false);
                job.status.get_or_insert_default().conditions =
                    Some(vec![condition("Suspended", "False", "JobResumed", now)]);
            });
        }
        JobMove::Judge(_, _, "DeadlineExceeded" | "MaxFailedIndexesExceeded") => controllers.unlucky = true,
        JobMove::Suspend(_) | JobMove::Judge(..) | JobMove::Conclude(_) | JobMove::Count(_) => {}
    }
    let pods: Vec<Pod> = pods_of(server, job.metadata.uid.as_ref()).cloned().collect();
    let _ = server.update::<Job>(name, |job| {
        let mut status = counted(job, &pods.iter().collect::<Vec<_>>());
        let conditions = status.conditions.get_or_insert_default();
        match step {
            JobMove::Pods(..) => {
                status.start_time.get_or_insert(Time(now));
            }
            JobMove::Suspend(_) => {
                *conditions = vec![condition("Suspended", "True", "JobSuspended", now)];
                status.start_time = None;
            }
            JobMove::Judge(_, kind, reason) => conditions.push(condition(kind, "True", reason, now)),
            JobMove::Conclude(_) => {
                let met = conditions.iter().find(|condition| condition.type_ == "SuccessCriteriaMet");
                let (kind, reason) = match met {
                    Some(met) => ("Complete", met.reason.clone()),
                    None => ("Failed", conditions.last().and_then(|target| target.reason.clone())),
                };
                if kind == "Complete" {
                    status.completion_time = Some(Time(now));
                }
                conditions.push(condition(kind, "True", reason.as_deref().unwrap_or_default(), now));
            }
            JobMove::Stop(_) | JobMove::Admit(_) | JobMove::Count(_) => {}
        }
        if conditions.is_empty() {
            status.conditions = None;
        }
        job.status = Some(status);
    });
}

fn condition(kind: &str, status: &str, reason: &str, now: Timestamp) -> JobCondition {
    JobCondition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(format!("the Job's condition is {reason}")),
        last_transition_time: Some(Time(now)),
        ..JobCondition::default()
    }
}

fn pod(job: &Job, index: i32, serial: u64) -> Pod {
    let name = job.metadata.name.clone().unwrap_or_default();
    let template = job.spec.as_ref().map(|spec| spec.template.clone()).unwrap_or_default();
    let mut labels: BTreeMap<String, String> = template.metadata.and_then(|meta| meta.labels).unwrap_or_default();
    labels.insert(INDEX.to_owned(), index.to_string());
    Pod {
        metadata: ObjectMeta {
            name: Some(format!("{name}-{index}-{serial:05}")),
            labels: Some(labels),
            owner_references: Some(vec![OwnerReference {
                api_version: "batch/v1".to_owned(),
                kind: "Job".to_owned(),
                name,
                uid: job.metadata.uid.clone().unwrap_or_default(),
                controller: Some(true),
                block_owner_deletion: Some(true),
            }]),
            ..ObjectMeta::default()
        },
        spec: template.spec,
        status: None,
    }
}
