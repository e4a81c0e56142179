//! Gradual moves of the traffic: steps, gates, and the way back.

use coterie_crds::names::{annotation, condition, reason};
use coterie_crds::status::{CanaryState, CanaryStatus};
use coterie_operator_core::plan::TrafficPoll;
use coterie_operator_core::traffic::Traffic;
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::{ContainerState, ContainerStateTerminated, ContainerStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::situation::{MANIFEST, Situation, kinds, published};

const STEPS: &str = "serving:
    replicas: 4
    rollout:
      steps: [{weight: 10, pauseSeconds: 60}, {weight: 50, pauseSeconds: 120}]
      gates: {maxErrorRate: \"0.01\", maxLatencyMillis: 50, maxReassigned: \"0.3\"}";

/// A second model is about to take traffic from the first.
fn second_model() -> Situation {
    let mut situation = Situation::serving(&MANIFEST.replace("serving: {replicas: 2}", STEPS));
    situation.change(|job| job.spec.seed = 1);
    situation.rest();
    situation.start_pod(2);
    situation.end_run(2, &published("v2", 0.6));
    situation.rest();
    situation
}

/// The second model has the traffic of the first step.
fn first_step() -> Situation {
    let mut situation = second_model();
    situation.replicas_ready("v2");
    situation.start_replica("v2", "songs-v2-a");
    situation.rest();
    situation
}

fn canary(situation: &Situation) -> &CanaryStatus {
    situation.status().serving.as_ref().unwrap().canary.as_ref().unwrap()
}

fn poll(situation: &Situation) -> Option<TrafficPoll> {
    situation.plan().traffic
}

/// An interval passes, with so many errors among a thousand requests.
fn interval(situation: &mut Situation, errors: u64) {
    let from = situation.now;
    situation.now += SignedDuration::from_secs(30);
    situation.observed.traffic = Some(Traffic {
        version: "v2".to_owned(),
        from,
        until: situation.now,
        requests: 1000,
        errors,
        latency_millis: Some(12.345),
        rows: 500,
        reassigned: 100,
    });
}

fn message(situation: &Situation, kind: &str) -> String {
    situation.status().condition(kind).unwrap().message.clone()
}

#[test]
fn the_first_model_needs_no_steps() {
    let situation = Situation::serving(&MANIFEST.replace("serving: {replicas: 2}", STEPS));
    assert_eq!(situation.says(condition::READY), "Ready");
    assert_eq!((situation.selected(), situation.replicas("v1")), ("v1", 4));
    assert_eq!(situation.status().serving.as_ref().unwrap().canary, None);
}

#[test]
fn a_good_model_takes_its_steps() {
    let mut situation = second_model();
    assert_eq!((situation.selected(), situation.replicas("v1"), situation.replicas("v2")), ("v1", 4, 1));
    assert_eq!(situation.says(condition::READY), "!Canary");
    assert_eq!(situation.says(condition::SERVING), "Available");
    assert_eq!(canary(&situation).state, CanaryState::Starting);
    assert_eq!(poll(&situation), None);

    situation.replicas_ready("v2");
    situation.start_replica("v2", "songs-v2-a");
    let plan = situation.step();
    assert_eq!(kinds(&plan), ["apply Deployment songs-v2", "apply Service songs"]);
    assert_eq!(plan.events[0].reason, reason::CANARY);
    let opened = situation.now;
    situation.rest();
    assert_eq!((situation.selected(), situation.replicas("v1"), situation.replicas("v2")), ("both", 4, 1));
    let status = canary(&situation);
    assert_eq!((status.state, status.step, status.weight), (CanaryState::Paused, 1, 20));
    let asked = poll(&situation).unwrap();
    assert_eq!((asked.version.as_str(), asked.since, asked.interval.as_secs()), ("v2", opened, 30));
    assert_eq!(asked.replicas[0].name, "songs-v2-a");
    assert_eq!(situation.plan().wake, Some(opened + SignedDuration::from_secs(60)));
    assert_eq!(
        message(&situation, condition::READY),
        "model v2 has 20 % of the traffic in step 1 of 2, until 2026-11-25T12:01:00Z"
    );

    interval(&mut situation, 9);
    situation.rest();
    let status = canary(&situation).clone();
    assert_eq!(status.error_rate.as_deref(), Some("0.0090"));
    assert_eq!((status.requests, status.latency_millis.as_deref()), (Some(1000), Some("12")));
    assert_eq!(status.reassigned.as_deref(), Some("0.20"));

    // The second step wants four pods of eight.
    situation.now = opened + SignedDuration::from_secs(60);
    situation.rest();
    assert_eq!((situation.selected(), situation.replicas("v1"), situation.replicas("v2")), ("both", 4, 4));
    assert_eq!((canary(&situation).state, canary(&situation).step), (CanaryState::Starting, 2));
    situation.replicas_ready("v2");
    situation.rest();
    assert_eq!(canary(&situation).weight, 50);

    situation.now += SignedDuration::from_secs(120);
    let plan = situation.step();
    assert!(plan.events.iter().any(|event| event.reason == reason::CANARY_PROMOTED), "{:?}", plan.events);
    situation.rest();
    assert_eq!((situation.selected(), situation.replicas("v2")), ("v2", 4));
    assert_eq!(situation.says(condition::READY), "Ready");
    assert_eq!(situation.status().serving.as_ref().unwrap().canary, None);
    // The replicas before answer what is still on its way to them.
    assert_eq!(situation.replicas("v1"), 4);
    situation.now += situation.settings.switch_grace;
    situation.rest();
    assert!(!situation.names().iter().any(|name| name.contains("songs-v1")), "{:?}", situation.names());
    situation.now += SignedDuration::from_hours(1);
    situation.rest();
}

#[test]
fn replicas_that_passed_stay_as_they_are() {
    let mut situation = first_step();
    let (before, config) = (situation.pod_spec("v2"), situation.serve_config("v2"));
    assert_eq!(config["shadow"]["model"], "s3://models/songs/models/v1");
    for seconds in [60, 0, 120, 15] {
        situation.now += SignedDuration::from_secs(seconds);
        situation.rest();
        situation.replicas_ready("v2");
        situation.rest();
    }
    assert_eq!(situation.says(condition::READY), "Ready");
    assert_eq!(situation.pod_spec("v2"), before);
    // Other steps are for the next model.
    situation.change(|job| job.spec.serving.as_mut().unwrap().rollout.as_mut().unwrap().steps[0].weight = 5);
    situation.rest();
    assert_eq!((situation.selected(), situation.replicas("v2")), ("v2", 4));
    assert_eq!(situation.pod_spec("v2"), before);
}

#[test]
fn a_bad_interval_takes_the_traffic_back_for_good() {
    let mut situation = first_step();
    interval(&mut situation, 11);
    let plan = situation.step();
    assert_eq!(kinds(&plan), ["apply Deployment songs-v2", "apply Service songs"]);
    assert_eq!((plan.events[0].reason, plan.events[0].warning), (reason::CANARY_REJECTED, true));
    assert_eq!((situation.selected(), situation.replicas("v2")), ("v1", 1));
    situation.rest();
    assert_eq!((situation.replicas("v1"), situation.replicas("v2")), (4, 0));
    assert_eq!(situation.says(condition::STALLED), "CanaryRejected");
    assert_eq!(situation.says(condition::SERVING), "Available");
    let message = message(&situation, condition::STALLED);
    assert!(
        message
            .contains("the error rate of 1000 requests is 0.0110, above maxErrorRate 0.01; model v1 stays in service"),
        "{message}"
    );
    assert!(message.contains("spec.serving.rollout"), "{message}");

    // Neither time nor better numbers, nor an operator that remembers nothing, nor a lost Deployment change that.
    interval(&mut situation, 0);
    situation.now += SignedDuration::from_hours(1);
    situation.rest();
    situation.observed.traffic = None;
    situation.rest();
    situation.observed.children.deployments.retain(|object| object.metadata.name.as_deref() != Some("songs-v2"));
    situation.rest();
    assert_eq!((situation.selected(), situation.replicas("v2")), ("v1", 0));
    // Nor a lost status.
    situation.observed.job.status.as_mut().unwrap().serving = None;
    situation.rest();
    assert_eq!((situation.selected(), situation.replicas("v2")), ("v1", 0));
    assert_eq!(situation.says(condition::STALLED), "CanaryRejected");
}

#[test]
fn other_gates_try_a_rejected_model_again() {
    let mut situation = first_step();
    interval(&mut situation, 11);
    situation.rest();
    situation.replicas_ready("v2"); // none, that is
    situation.change(|job| {
        job.spec.serving.as_mut().unwrap().rollout.as_mut().unwrap().gates.max_error_rate = Some("0.02".into());
    });
    situation.rest();
    assert_eq!((situation.selected(), situation.replicas("v2")), ("v1", 1));
    situation.replicas_ready("v2");
    situation.rest();
    // What was counted before says nothing about this attempt.
    assert_eq!(situation.selected(), "both");
    interval(&mut situation, 11);
    situation.rest();
    assert_eq!(situation.selected(), "both");
}

#[test]
fn every_gate_is_judged_but_too_little_says_nothing() {
    let judged = |change: fn(&mut Traffic)| {
        let mut situation = first_step();
        interval(&mut situation, 0);
        change(situation.observed.traffic.as_mut().unwrap());
        situation.rest();
        canary(&situation).message.clone()
    };
    assert_eq!(judged(|_| ()), "");
    assert!(judged(|traffic| traffic.latency_millis = Some(51.0)).contains("maxLatencyMillis"));
    assert!(judged(|traffic| traffic.reassigned = 151).contains("maxReassigned"));
    assert_eq!(judged(|traffic| (traffic.requests, traffic.errors) = (99, 99)), "");
    assert_eq!(judged(|traffic| traffic.version = "v1".to_owned()), "");
    assert_eq!(judged(|traffic| (traffic.errors, traffic.from) = (999, jiff::Timestamp::UNIX_EPOCH)), "");
}

#[test]
fn a_pod_that_ends_takes_the_traffic_back() {
    let mut situation = first_step();
    let ended = |at: jiff::Timestamp| ContainerStatus {
        restart_count: 1,
        last_state: Some(ContainerState {
            terminated: Some(ContainerStateTerminated {
                exit_code: 137,
                reason: Some("OOMKilled".to_owned()),
                finished_at: Some(Time(at)),
                ..ContainerStateTerminated::default()
            }),
            ..ContainerState::default()
        }),
        ..ContainerStatus::default()
    };
    // Before it got traffic, its end hurt nobody.
    situation.replica("songs-v2-a").container_statuses =
        Some(vec![ended(situation.now - SignedDuration::from_secs(1))]);
    situation.rest();
    assert_eq!(situation.selected(), "both");
    situation.now += SignedDuration::from_secs(7);
    situation.replica("songs-v2-a").container_statuses = Some(vec![ended(situation.now)]);
    situation.rest();
    assert_eq!(situation.selected(), "v1");
    assert_eq!(canary(&situation).message, "its pod songs-v2-a ended with exit code 137 (OOMKilled)");
}

#[test]
fn pods_that_do_not_start_are_waited_for_before_and_given_up_after_they_got_traffic() {
    let late = SignedDuration::from_secs(600);
    let mut situation = second_model();
    situation.now += late;
    situation.rest();
    assert_eq!(situation.says(condition::STALLED), "RolloutFailed");
    situation.replicas_ready("v2");
    situation.rest();
    assert_eq!(situation.selected(), "both");
    situation.now += SignedDuration::from_secs(60);
    situation.rest();
    assert_eq!((situation.replicas("v2"), situation.selected()), (4, "both"));
    situation.now += late;
    situation.rest();
    assert_eq!((situation.replicas("v2"), situation.selected()), (0, "v1"));
    assert_eq!(situation.says(condition::STALLED), "CanaryRejected");
}

#[test]
fn a_newer_model_takes_the_place_of_a_canary() {
    let mut situation = first_step();
    situation.change(|job| job.spec.seed = 2);
    situation.rest();
    assert_eq!(situation.selected(), "both");
    situation.start_pod(3);
    situation.end_run(3, &published("v3", 0.6));
    situation.rest();
    // The one before gets no new requests, and answers those that are on their way.
    assert_eq!((situation.selected(), situation.replicas("v2"), situation.replicas("v3")), ("v1", 1, 1));
    situation.replicas_ready("v3");
    situation.rest();
    assert_eq!(situation.selected(), "v1", "no third version may get traffic");
    situation.now += situation.settings.switch_grace;
    situation.rest();
    assert!(!situation.names().contains(&"Deployment songs-v2".to_owned()));
    assert_eq!(situation.selected(), "v1", "its pods are still there");
    situation.observed.children.pods.clear();
    situation.rest();
    assert_eq!((situation.selected(), canary(&situation).version.as_str()), ("both", "v3"));
}

#[test]
fn without_steps_the_model_is_rolled_out_at_once() {
    let mut situation = first_step();
    situation.change(|job| job.spec.serving.as_mut().unwrap().rollout = None);
    situation.rest();
    assert_eq!((situation.selected(), situation.replicas("v2")), ("v1", 4));
    situation.replicas_ready("v2");
    situation.rest();
    assert_eq!(situation.selected(), "v2");
    assert_eq!(situation.says(condition::READY), "Ready");
}

#[test]
fn the_version_in_service_keeps_its_replicas() {
    let mut situation = first_step();
    let deployment = situation.deployment("v1");
    deployment.spec.as_mut().unwrap().replicas = Some(1);
    deployment.status.as_mut().unwrap().available_replicas = Some(0);
    situation.rest();
    assert_eq!((situation.selected(), situation.replicas("v1")), ("both", 4));
    // A user's number counts at once, for both.
    situation.change(|job| job.spec.serving.as_mut().unwrap().replicas = 20);
    situation.rest();
    assert_eq!((situation.replicas("v1"), situation.replicas("v2")), (20, 3));
    assert!(situation.deployment("v1").metadata.annotations.as_ref().unwrap().contains_key(annotation::TEMPLATE_HASH));
}

#[test]
fn an_autoscaler_stays_with_the_version_in_service() {
    let steps = STEPS.replace("replicas: 4", "autoscaling: {minReplicas: 4, maxReplicas: 20}");
    let mut situation = Situation::serving(&MANIFEST.replace("serving: {replicas: 2}", &steps));
    situation.deployment("v1").spec.as_mut().unwrap().replicas = Some(9);
    situation.replicas_ready("v1");
    situation.change(|job| job.spec.seed = 1);
    situation.rest();
    situation.start_pod(2);
    situation.end_run(2, &published("v2", 0.6));
    situation.rest();
    situation.replicas_ready("v2");
    situation.rest();
    assert_eq!((situation.selected(), situation.replicas("v1"), situation.replicas("v2")), ("both", 9, 1));
    assert_eq!(situation.observed.children.autoscalers.len(), 1);
    situation.now += SignedDuration::from_secs(60);
    situation.rest();
    assert_eq!(situation.replicas("v2"), 9);
    for _ in 0..2 {
        situation.replicas_ready("v2");
        situation.rest();
        situation.now += SignedDuration::from_secs(120);
        situation.rest();
    }
    assert_eq!((situation.selected(), situation.replicas("v2")), ("v2", 9));
    assert_eq!(situation.observed.children.autoscalers.last().unwrap().metadata.name.as_deref(), Some("songs-v2"));
}

#[test]
fn a_lost_version_in_service_leaves_no_choice() {
    let mut situation = first_step();
    interval(&mut situation, 11);
    situation.rest();
    situation.observed.children.deployments.retain(|object| object.metadata.name.as_deref() != Some("songs-v1"));
    situation.rest();
    situation.replicas_ready("v2");
    situation.rest();
    assert_eq!((situation.selected(), situation.replicas("v2")), ("v2", 4));
}

#[test]
fn a_service_that_is_lost_or_bent_comes_back_as_it_was() {
    let mut situation = first_step();
    situation.observed.children.services.clear();
    situation.rest();
    assert_eq!(situation.selected(), "both");
    let service = situation
        .observed
        .children
        .services
        .iter_mut()
        .find(|service| service.metadata.name.as_deref() == Some("songs"));
    let selector = service.unwrap().spec.as_mut().unwrap().selector.as_mut().unwrap();
    selector.insert(coterie_crds::names::label::MODEL_VERSION.to_owned(), "v2".to_owned());
    situation.rest();
    assert_eq!((situation.selected(), situation.replicas("v2")), ("both", 1));
}
