//! Faults that have broken real operators, one by one (see the bugs that Sieve, Acto and Anvil found).

use coterie_crds::ClusteringJob;
use coterie_crds::names::{condition, label};
use coterie_crds::spec::{ClusteringJobSpec, Serving};
use coterie_operator_core::Settings;
use k8s_openapi::api::{
    apps::v1::Deployment,
    batch::v1::Job,
    core::v1::{ConfigMap, Service},
    networking::v1::NetworkPolicy,
};

use crate::explore::apiserver::Server;
use crate::explore::deployments::TOO_MUCH_MEMORY;
use crate::explore::operator::NAME;
use crate::explore::oracles::{digest, holds};
use crate::explore::user::{Wish, first_spec, rollout};
use crate::explore::world::{World, settings};

fn serving(clusters: i32) -> ClusteringJobSpec {
    let mut spec = first_spec();
    spec.algorithm.k_means.as_mut().unwrap().clusters = clusters;
    spec.serving = Some(Serving { progress_deadline_seconds: 60, ..Serving::default() });
    spec
}

fn wish(world: &mut World<'_>, spec: &ClusteringJobSpec) {
    world.wish(&Wish::Spec(Box::new(spec.clone())));
    world.quiet().unwrap();
}

fn is(server: &Server, kind: &str) -> bool {
    server.get::<ClusteringJob>(NAME).and_then(|job| job.status.as_ref()).is_some_and(|status| holds(status, kind))
}

fn model(server: &Server) -> String {
    server.get::<ClusteringJob>(NAME).unwrap().status.as_ref().unwrap().model.as_ref().unwrap().digest.clone()
}

fn selected(server: &Server) -> String {
    server.get::<Service>(NAME).unwrap().spec.as_ref().unwrap().selector.as_ref().unwrap()[label::MODEL_VERSION].clone()
}

/// nifikop, casskop-370: a crash between two writes leaves a state that no path leaves.
#[test]
fn a_crash_after_any_write_changes_nothing() {
    let mut calm = World::new(0, false, false);
    wish(&mut calm, &serving(2));
    wish(&mut calm, &serving(3));
    assert!(calm.server.operator_writes > 20, "{} writes", calm.server.operator_writes);
    for writes in 1..=calm.server.operator_writes {
        let mut world = World::new(0, false, false).crash_after(writes);
        wish(&mut world, &serving(2));
        wish(&mut world, &serving(3));
        world.rest().unwrap();
        assert!(is(&world.server, condition::READY), "after {writes} writes");
        assert_eq!(world.server.all::<Job>().len(), calm.server.all::<Job>().len(), "after {writes} writes");
        assert_eq!(model(&world.server), digest(&serving(3)), "after {writes} writes");
    }
}

/// K8SPXC-896: security is off after a crash.
#[test]
fn no_pod_runs_without_its_network_policy() {
    for writes in 1..12 {
        let mut world = World::new(0, false, false).crash_after(writes);
        world.wish(&Wish::Spec(Box::new(serving(2))));
        world.quiet().unwrap();
        let policies: Vec<&String> = world.server.all::<NetworkPolicy>().keys().collect();
        assert_eq!(policies, ["songs-serving", "songs-training"]);
    }
}

/// redis-operator #480, cloudnative-pg #3541: the revert of a bad spec waits for the pods that the bad spec broke.
#[test]
fn a_revert_mends_a_broken_rollout() {
    let mut world = World::new(0, false, false);
    wish(&mut world, &serving(2));
    let mut greedy = serving(2);
    greedy.serving.as_mut().unwrap().resources.memory = Some(TOO_MUCH_MEMORY.to_owned());
    wish(&mut world, &greedy);
    assert!(is(&world.server, condition::STALLED) && is(&world.server, condition::SERVING));
    wish(&mut world, &serving(2));
    assert!(is(&world.server, condition::READY));
    world.rest().unwrap();
}

/// A model that cannot be served, or fails, never disturbs the one in service; going back needs no new run of it.
#[test]
fn the_old_model_serves_until_the_new_one_does() {
    for bad in [7, 8, 10, 11] {
        let mut world = World::new(0, false, false);
        wish(&mut world, &serving(2));
        wish(&mut world, &serving(bad));
        assert!(is(&world.server, condition::STALLED) && is(&world.server, condition::SERVING), "k={bad}");
        assert_eq!(selected(&world.server), "v1", "k={bad}");
        wish(&mut world, &serving(2));
        assert!(is(&world.server, condition::READY), "k={bad}");
        world.rest().unwrap();
    }
}

/// kuberay #2315: a newer operator restarts what the older one made.
#[test]
fn an_upgrade_of_the_operator_writes_nothing() {
    let mut world = World::new(0, false, false);
    wish(&mut world, &serving(2));
    let before = world.server.clone();
    let version = "99.0.0".to_owned();
    world.upgrade(Settings { version, image: "coterie:next".to_owned(), ..settings() });
    world.quiet().unwrap();
    assert_eq!(world.server.all::<Deployment>(), before.all::<Deployment>());
    assert_eq!(world.server.version(), before.version());
}

/// A run that is suspended goes on with the record it had.
#[test]
fn a_suspended_run_goes_on_as_it_was() {
    let mut world = World::new(0, false, false);
    let mut held = first_spec();
    held.suspend = true;
    wish(&mut world, &held);
    assert!(is(&world.server, condition::SUSPENDED) && !is(&world.server, condition::RECONCILING));
    assert!(world.server.all::<Job>().is_empty());
    wish(&mut world, &first_spec());
    assert!(is(&world.server, condition::READY));
    assert_eq!(world.server.all::<ConfigMap>().keys().collect::<Vec<_>>(), ["songs-r1"]);
}

/// Deletion leaves nothing, at whatever moment it comes.
#[test]
fn nothing_outlives_the_resource() {
    for foreground in [false, true] {
        let mut world = World::new(0, false, false);
        wish(&mut world, &serving(2));
        world.wish(&Wish::Delete(foreground));
        world.quiet().unwrap();
        world.rest().unwrap();
    }
}

/// More runs are kept than the status may list.
#[test]
fn many_kept_runs_fit_into_the_status() {
    let mut world = World::new(0, false, false);
    let mut spec = first_spec();
    spec.history.successful_runs = 100;
    for token in 0..15 {
        spec.retrain_token = Some(token.to_string());
        wish(&mut world, &spec);
        assert!(is(&world.server, condition::READY), "token {token}");
    }
    world.rest().unwrap();
    assert_eq!(world.server.all::<Job>().len(), 15);
}

/// The Service's name is somebody else's: the job says so and does not try for ever.
#[test]
fn a_refused_write_stalls_the_job() {
    let mut world = World::new(0, false, false);
    let mut foreign = Service::default();
    foreign.metadata.name = Some(NAME.to_owned());
    world.server.create(foreign).unwrap();
    world.wish(&Wish::Spec(Box::new(serving(2))));
    world.quiet().unwrap();
    assert!(is(&world.server, condition::STALLED));
}

fn stepwise(clusters: i32) -> ClusteringJobSpec {
    let mut spec = serving(clusters);
    spec.serving.as_mut().unwrap().rollout = Some(rollout(&[(30, 5), (50, 15)]));
    spec
}

/// A canary ends as its traffic says, whenever the operator crashes.
#[test]
fn a_crash_after_any_write_changes_no_canary() {
    for (clusters, ends) in [(3, condition::READY), (13, condition::STALLED)] {
        let mut calm = World::new(0, false, false);
        wish(&mut calm, &stepwise(2));
        wish(&mut calm, &stepwise(clusters));
        assert!(is(&calm.server, ends), "k={clusters}");
        for writes in 1..=calm.server.operator_writes {
            let mut world = World::new(0, false, false).crash_after(writes);
            wish(&mut world, &stepwise(2));
            wish(&mut world, &stepwise(clusters));
            world.rest().unwrap();
            assert!(is(&world.server, ends), "k={clusters} after {writes} writes");
            assert_eq!(selected(&world.server), if clusters == 3 { "v2" } else { "v1" }, "after {writes} writes");
        }
    }
}

/// What was rolled back must not come back with the next reconciliation, nor be kept out for ever.
#[test]
fn a_rejected_model_comes_back_only_when_it_is_asked_for() {
    let mut world = World::new(0, false, false);
    wish(&mut world, &stepwise(2));
    wish(&mut world, &stepwise(13));
    assert!(is(&world.server, condition::STALLED) && is(&world.server, condition::SERVING));
    assert_eq!(selected(&world.server), "v1");
    // Other steps try it again, and it is no better.
    let mut other = stepwise(13);
    other.serving.as_mut().unwrap().rollout = Some(rollout(&[(40, 5)]));
    wish(&mut world, &other);
    assert!(is(&world.server, condition::STALLED));
    assert_eq!(selected(&world.server), "v1");
    // A better one replaces it.
    wish(&mut world, &stepwise(4));
    assert!(is(&world.server, condition::READY));
    assert_eq!(selected(&world.server), "v3");
    world.rest().unwrap();
    // Without steps there are no gates.
    wish(&mut world, &stepwise(13));
    wish(&mut world, &serving(13));
    assert!(is(&world.server, condition::READY));
    world.rest().unwrap();
}
