//! Events for people who watch a job: `kubectl describe` and `kubectl events` show them.

use coterie_crds::ClusteringJob;
use coterie_operator_core::plan::Event;
use jiff::Timestamp;
use k8s_openapi::{
    api::events::v1,
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{Resource as _, ResourceExt as _};

/// Name under which events are reported.
const CONTROLLER: &str = "coterie.dev/operator";

/// Most bytes of a note; the API server takes 1,024.
const LIMIT: usize = 1000;

/// The record of an event, told by this replica. Each is an object of its own: a plan tells an event once, after the status that says the
/// same was written, so there are no floods to be summed up, and none loses its words to another of the same reason.
pub(crate) fn record(job: &ClusteringJob, event: &Event, instance: &str, now: Timestamp) -> v1::Event {
    let Event { warning, reason, action, message } = event;
    let mut regarding = job.object_ref(&());
    regarding.resource_version = job.resource_version();
    // Several events of one plan may fall into one tick of the clock.
    let name = format!("{}.{:x}.{}", job.name_any(), now.as_nanosecond(), action.to_lowercase());
    v1::Event {
        metadata: ObjectMeta { name: Some(name), namespace: job.namespace(), ..ObjectMeta::default() },
        type_: Some(if *warning { "Warning" } else { "Normal" }.to_owned()),
        reason: Some((*reason).to_owned()),
        action: Some((*action).to_owned()),
        note: Some(shortened(message)),
        regarding: Some(regarding),
        event_time: Some(MicroTime(now)),
        reporting_controller: Some(CONTROLLER.to_owned()),
        reporting_instance: Some(instance.to_owned()),
        ..v1::Event::default()
    }
}

fn shortened(note: &str) -> String {
    if note.len() <= LIMIT {
        return note.to_owned();
    }
    format!("{}...", &note[..note.floor_char_boundary(LIMIT)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_note_is_cut_between_characters() {
        assert_eq!(shortened("short"), "short");
        let long = shortened(&"é".repeat(600).replacen('é', "x", 1));
        assert!(long.len() <= 1003 && long.ends_with("é..."), "{long}");
    }
}
