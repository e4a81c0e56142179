//! Runs by the clock.

use coterie_crds::names::{annotation, condition, reason};
use coterie_crds::status::{RunState, Trigger};
use jiff::Timestamp;

use crate::situation::{MANIFEST, Situation, published};

fn scheduled(policy: &str) -> Situation {
    let schedule =
        format!("  schedule: {{cron: \"0 * * * *\", concurrencyPolicy: {policy}, startingDeadlineSeconds: 1800}}\n");
    let mut situation = Situation::serving(&format!("{MANIFEST}{schedule}"));
    assert_eq!(situation.status().next_schedule_time.as_ref().unwrap().0, at("2026-11-25T13:00:00Z"));
    situation.now = at("2026-11-25T13:00:01Z");
    situation.rest();
    situation
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

#[test]
fn a_schedule_makes_runs_and_the_job_stays_ready() {
    let mut situation = scheduled("Forbid");
    let status = situation.status();
    let run = status.run.as_ref().unwrap();
    assert_eq!((run.number, run.trigger), (2, Trigger::Schedule));
    assert_eq!(status.last_schedule_time.as_ref().unwrap().0, at("2026-11-25T13:00:00Z"));
    assert_eq!(status.next_schedule_time.as_ref().unwrap().0, at("2026-11-25T14:00:00Z"));
    assert_eq!(situation.says(condition::READY), "Ready");
    let record =
        situation.observed.children.config_maps.iter().find(|o| o.metadata.name.as_deref() == Some("songs-r2"));
    assert_eq!(
        record.unwrap().metadata.annotations.as_ref().unwrap()[annotation::SCHEDULED_TIME],
        "2026-11-25T13:00:00Z"
    );
    situation.train(2, "v2");
    assert_eq!(situation.selected(), "v2");
}

#[test]
fn forbid_waits_for_the_active_run_within_the_deadline() {
    let mut situation = scheduled("Forbid");
    situation.now = at("2026-11-25T14:10:00Z");
    situation.rest();
    assert_eq!(situation.status().run.as_ref().unwrap().number, 2);
    situation.train(2, "v2");
    assert_eq!(situation.status().run.as_ref().unwrap().number, 3);
    assert_eq!(situation.status().last_schedule_time.as_ref().unwrap().0, at("2026-11-25T14:00:00Z"));
    // Too late for the next one.
    situation.now = at("2026-11-25T15:31:00Z");
    situation.train(3, "v3");
    assert_eq!(situation.status().run.as_ref().unwrap().number, 3);
    assert_eq!(situation.status().next_schedule_time.as_ref().unwrap().0, at("2026-11-25T16:00:00Z"));
}

#[test]
fn replace_ends_the_active_run() {
    let mut situation = scheduled("Replace");
    situation.now = at("2026-11-25T14:00:00Z");
    situation.rest();
    let status = situation.status();
    assert_eq!(status.run.as_ref().unwrap().number, 3);
    assert_eq!((status.history[0].name.as_str(), status.history[0].state), ("songs-r2", RunState::Cancelled));
}

#[test]
fn allow_lets_runs_overlap() {
    let mut situation = scheduled("Allow");
    situation.now = at("2026-11-25T14:00:00Z");
    situation.rest();
    assert!(
        situation.names().contains(&"Job songs-r2".to_owned())
            && situation.names().contains(&"Job songs-r3".to_owned())
    );
    // The older run ends later, after the newer one's model: it does not replace it.
    situation.train(3, "v3");
    situation.start_pod(2);
    situation.end_run(2, &published("v2", 0.9));
    situation.rest();
    assert_eq!(situation.status().model.as_ref().unwrap().version, "v3");
    assert_eq!(situation.status().history.len(), 3);
}

#[test]
fn downtime_makes_up_for_one_run_and_says_so() {
    let mut situation = scheduled("Forbid");
    situation.train(2, "v2");
    situation.now = at("2026-11-26T09:15:00Z");
    let plan = situation.plan();
    let missed = plan.events.iter().find(|event| event.reason == reason::MISSED_SCHEDULE).unwrap();
    assert!(missed.message.starts_with("20 times"), "{}", missed.message);
    situation.rest();
    assert_eq!(situation.status().run.as_ref().unwrap().number, 3);
}
