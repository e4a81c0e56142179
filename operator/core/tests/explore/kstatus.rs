//! What the kstatus library (sigs.k8s.io/cli-utils) makes of a resource: its rules for kinds it does not know, in its order.

use coterie_crds::ClusteringJob;

/// A verdict of kstatus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// The resource is being deleted.
    Terminating,
    /// Not there yet.
    InProgress,
    /// Somebody must do something.
    Failed,
    /// As it should be.
    Current,
}

/// The verdict about a resource.
pub fn verdict(job: &ClusteringJob) -> Verdict {
    if job.metadata.deletion_timestamp.is_some() {
        return Verdict::Terminating;
    }
    let Some(status) = &job.status else { return Verdict::Current };
    if Some(status.observed_generation) != job.metadata.generation {
        return Verdict::InProgress;
    }
    for condition in status.conditions.iter().filter(|condition| condition.status == "True") {
        match condition.type_.as_str() {
            "Reconciling" => return Verdict::InProgress,
            "Stalled" => return Verdict::Failed,
            _ => {}
        }
    }
    match status.conditions.iter().find(|condition| condition.type_ == "Ready") {
        Some(ready) if ready.status != "True" => Verdict::InProgress,
        _ => Verdict::Current,
    }
}
