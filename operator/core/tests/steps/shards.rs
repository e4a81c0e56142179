//! Items divided over shards: Deployments that come into service, and leave it, together.

use coterie_crds::names::{condition, label};
use jiff::SignedDuration;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition, DeploymentStatus};
use k8s_openapi::api::core::v1::Service;

use crate::situation::{MANIFEST, Situation, published};

const DIVIDED: &str = "serving: {replicas: 2, similarItems: true, shards: 3}";

/// A trained model whose items are divided over three shards, none of which answers yet.
fn divided() -> Situation {
    let mut situation = Situation::new(&MANIFEST.replace("serving: {replicas: 2}", DIVIDED));
    situation.rest();
    situation.start_pod(1);
    situation.rest();
    situation.end_run(1, &published("v1", 0.6));
    situation.rest();
    situation
}

/// Another seed is asked for, and its model trained; none of its shards answers yet.
fn train_second(situation: &mut Situation) {
    situation.change(|job| job.spec.seed = 1);
    end_second(situation);
}

/// The second run ends with a model.
fn end_second(situation: &mut Situation) {
    situation.rest();
    situation.start_pod(2);
    situation.end_run(2, &published("v2", 0.6));
    situation.rest();
}

fn all_ready(situation: &mut Situation, fleet: &str, shards: u32) {
    for shard in 0..shards {
        situation.replicas_ready(&format!("{fleet}-{shard}"));
    }
    situation.rest();
}

fn serving(situation: &Situation) -> Vec<String> {
    let names = situation.names().into_iter();
    names.filter(|name| name.contains("songs-v") || name == "Service songs").collect()
}

fn deployment<'a>(situation: &'a Situation, name: &str) -> &'a Deployment {
    let mut all = situation.observed.children.deployments.iter();
    all.find(|object| object.metadata.name.as_deref() == Some(name)).unwrap()
}

fn service<'a>(situation: &'a Situation, name: &str) -> &'a Service {
    let mut all = situation.observed.children.services.iter();
    all.find(|object| object.metadata.name.as_deref() == Some(name)).unwrap()
}

#[test]
fn each_shard_has_replicas_and_an_address_of_its_own() {
    let situation = divided();
    let config = situation.names().into_iter().find(|name| name.starts_with("ConfigMap songs-v1-of-3-")).unwrap();
    let expected = [
        config.as_str(),
        "Deployment songs-v1-of-3-0",
        "Deployment songs-v1-of-3-1",
        "Deployment songs-v1-of-3-2",
        "Service songs",
        "Service songs-v1-of-3-0",
        "Service songs-v1-of-3-1",
        "Service songs-v1-of-3-2",
    ];
    assert_eq!(serving(&situation), expected);
    let deployment = deployment(&situation, "songs-v1-of-3-1");
    let spec = deployment.spec.as_ref().unwrap();
    assert_eq!(spec.replicas, Some(2));
    let args = spec.template.spec.as_ref().unwrap().containers[0].args.clone().unwrap();
    let after = |name: &str| args.iter().skip_while(|arg| *arg != name).nth(1).cloned();
    assert_eq!(after("--shard").as_deref(), Some("1/3"));
    assert_eq!(after("--peers").as_deref(), Some("songs-v1-of-3-{shard}:8081"));
    assert!(after("--items-directory").is_some());
    // The Deployment and the peers' Service select the pods of this shard; clients' Service, those of all.
    let pods = spec.template.metadata.as_ref().unwrap().labels.clone().unwrap();
    let selector = spec.selector.match_labels.clone().unwrap();
    assert_eq!(selector[label::SHARD], "1");
    let peers = service(&situation, "songs-v1-of-3-1").spec.clone().unwrap();
    assert_eq!((peers.cluster_ip.as_deref(), peers.selector.as_ref()), (Some("None"), Some(&selector)));
    let clients = service(&situation, "songs").spec.clone().unwrap().selector.unwrap();
    assert!(!clients.contains_key(label::SHARD));
    for selector in [&selector, &clients] {
        assert!(selector.iter().all(|(key, value)| pods.get(key) == Some(value)), "{selector:?} {pods:?}");
    }
    // An undivided fleet of the same version would select none of them.
    assert_ne!(pods[label::MODEL_VERSION], "v1");
}

#[test]
fn a_version_is_ready_when_all_its_shards_are() {
    let mut situation = divided();
    situation.replicas_ready("v1-of-3-0");
    situation.replicas_ready("v1-of-3-2");
    situation.rest();
    assert_eq!(situation.says(condition::SERVING), "!RollingOut");
    assert_eq!(situation.status().serving.as_ref().unwrap().ready_replicas, 0);
    all_ready(&mut situation, "v1-of-3", 3);
    assert_eq!(situation.says(condition::READY), "Ready");
    assert_eq!(situation.says(condition::SERVING), "Available");
    let serving = situation.status().serving.clone().unwrap();
    assert_eq!((serving.version.as_deref(), serving.candidate_version), (Some("v1"), None));
    assert_eq!((serving.replicas, serving.ready_replicas), (2, 2));
    // Without one shard there are no similar items.
    situation.deployment("v1-of-3-1").status.as_mut().unwrap().available_replicas = Some(1);
    situation.rest();
    assert_eq!(situation.says(condition::SERVING), "Degraded");
    situation.deployment("v1-of-3-1").status.as_mut().unwrap().available_replicas = Some(0);
    situation.rest();
    assert_eq!(situation.says(condition::SERVING), "!RollingOut");
    // What somebody deletes comes back.
    situation.observed.children.deployments.retain(|object| object.metadata.name.as_deref() != Some("songs-v1-of-3-1"));
    situation.observed.children.services.retain(|object| object.metadata.name.as_deref() != Some("songs-v1-of-3-2"));
    situation.rest();
    assert_eq!(serving_names(&situation), 8);
}

fn serving_names(situation: &Situation) -> usize {
    serving(situation).len()
}

#[test]
fn the_next_version_takes_over_once_all_its_shards_are_ready_and_the_one_before_goes_whole() {
    let mut situation = divided();
    all_ready(&mut situation, "v1-of-3", 3);
    train_second(&mut situation);
    situation.replicas_ready("v2-of-3-0");
    situation.replicas_ready("v2-of-3-1");
    situation.rest();
    assert_eq!(situation.selected(), "v1-of-3");
    assert_eq!(situation.status().serving.as_ref().unwrap().candidate_version.as_deref(), Some("v2"));
    all_ready(&mut situation, "v2-of-3", 3);
    assert_eq!(situation.selected(), "v2-of-3");
    assert_eq!(serving_names(&situation), 15);
    situation.now += situation.settings.switch_grace;
    situation.rest();
    assert_eq!(serving_names(&situation), 8);
    assert!(!situation.names().iter().any(|name| name.contains("songs-v1")), "{:?}", situation.names());
}

#[test]
fn without_a_service_the_version_that_answers_whole_counts() {
    let mut situation = divided();
    all_ready(&mut situation, "v1-of-3", 3);
    train_second(&mut situation);
    situation.replicas_ready("v2-of-3-0");
    situation.observed.children.services.retain(|object| object.metadata.name.as_deref() != Some("songs"));
    situation.rest();
    assert_eq!(situation.selected(), "v1-of-3");
}

#[test]
fn a_change_of_shards_is_a_move_of_the_traffic() {
    let mut situation = Situation::serving(&MANIFEST.replace("replicas: 2}", "replicas: 2, similarItems: true}"));
    assert_eq!(situation.selected(), "v1");
    for (before, shards, after) in [("v1", 2, "v1-of-2"), ("v1-of-2", 3, "v1-of-3"), ("v1-of-3", 1, "v1")] {
        situation.change(|job| job.spec.serving.as_mut().unwrap().shards = shards);
        situation.rest();
        // No other model is trained, and what answers goes on.
        assert_eq!(situation.status().run.as_ref().unwrap().number, 1);
        assert_eq!(situation.selected(), before);
        assert_eq!(situation.says(condition::SERVING), "Available");
        assert_eq!(situation.says(condition::RECONCILING), "RollingOut");
        if shards == 1 {
            situation.replicas_ready("v1");
            situation.rest();
        } else {
            all_ready(&mut situation, after, shards as u32);
        }
        assert_eq!(situation.selected(), after);
        assert_eq!(situation.status().serving.as_ref().unwrap().version.as_deref(), Some("v1"));
        situation.now += situation.settings.switch_grace;
        situation.rest();
        let others = |name: &String| name.starts_with("Deployment") && !name.contains(&format!("songs-{after}"));
        assert!(!situation.names().iter().any(others), "{:?}", situation.names());
        assert_eq!(situation.says(condition::READY), "Ready");
        situation.now += SignedDuration::from_hours(1);
        situation.rest();
    }
    assert_eq!(serving_names(&situation), 3);
}

#[test]
fn a_model_that_the_spec_does_not_ask_for_stays_as_it_is() {
    let mut situation = Situation::serving(MANIFEST);
    // Shards need items, and items another model.
    situation.change(|job| {
        let serving = job.spec.serving.as_mut().unwrap();
        (serving.similar_items, serving.shards) = (true, 3);
    });
    situation.rest();
    assert_eq!(situation.status().run.as_ref().unwrap().number, 2);
    assert_eq!(serving(&situation).iter().filter(|name| name.starts_with("Deployment")).count(), 1);
    end_second(&mut situation);
    all_ready(&mut situation, "v2-of-3", 3);
    assert_eq!(situation.selected(), "v2-of-3");
    // And back.
    situation.change(|job| {
        let serving = job.spec.serving.as_mut().unwrap();
        (serving.similar_items, serving.shards) = (false, 1);
    });
    situation.now += situation.settings.switch_grace;
    situation.rest();
    assert_eq!(situation.selected(), "v2-of-3");
    assert_eq!(situation.says(condition::SERVING), "Available");
}

#[test]
fn a_shard_that_cannot_start_is_named() {
    let mut situation = divided();
    situation.replicas_ready("v1-of-3-0");
    situation.deployment("v1-of-3-1").status = Some(DeploymentStatus {
        conditions: Some(vec![DeploymentCondition {
            type_: "Progressing".to_owned(),
            status: "False".to_owned(),
            message: Some("ReplicaSet has timed out progressing".to_owned()),
            ..DeploymentCondition::default()
        }]),
        ..DeploymentStatus::default()
    });
    situation.rest();
    assert_eq!(situation.says(condition::STALLED), "RolloutFailed");
    let message = &situation.status().condition(condition::STALLED).unwrap().message;
    assert!(message.contains("shard 1: ReplicaSet has timed out progressing"), "{message}");
}

#[test]
fn shards_without_their_replicas_are_named() {
    let mut situation = divided();
    let message = |situation: &Situation, kind: &str| situation.status().condition(kind).unwrap().message.clone();
    for kind in [condition::READY, condition::RECONCILING] {
        assert_eq!(message(&situation, kind), "replicas of model v1 start; shards 0, 1, 2 lack replicas");
    }
    situation.replicas_ready("v1-of-3-0");
    situation.replicas_ready("v1-of-3-2");
    situation.rest();
    assert_eq!(message(&situation, condition::SERVING), "replicas start: 0 of 2 replicas; shard 1 lacks replicas");
    all_ready(&mut situation, "v1-of-3", 3);
    assert_eq!(message(&situation, condition::SERVING), "model v1 on 2 of 2 replicas");

    // One replica less is not ready either; a shard whose Deployment is gone has none.
    situation.deployment("v1-of-3-2").status.as_mut().unwrap().available_replicas = Some(1);
    situation.rest();
    assert_eq!(message(&situation, condition::SERVING), "model v1 on 1 of 2 replicas; shard 2 lacks replicas");
    assert_eq!(message(&situation, condition::READY), "1 of 2 replicas of model v1 are ready; shard 2 lacks replicas");
    situation.observed.children.deployments.retain(|object| object.metadata.name.as_deref() != Some("songs-v1-of-3-0"));
    situation.rest();
    assert_eq!(message(&situation, condition::SERVING), "replicas start: 0 of 2 replicas; shards 0, 2 lack replicas");

    // Each condition speaks of its own version: the next one is awaited, the one before is in service.
    all_ready(&mut situation, "v1-of-3", 3);
    train_second(&mut situation);
    situation.replicas_ready("v2-of-3-0");
    situation.rest();
    assert_eq!(message(&situation, condition::SERVING), "model v1 on 2 of 2 replicas");
    assert_eq!(
        message(&situation, condition::READY),
        "replicas of model v2 start; model v1 answers until they are ready; shards 1, 2 lack replicas"
    );
}

#[test]
fn serving_is_removed_with_all_its_shards() {
    let mut situation = divided();
    all_ready(&mut situation, "v1-of-3", 3);
    situation.change(|job| job.spec.serving = None);
    situation.rest();
    assert_eq!(serving(&situation), Vec::<String>::new());
}
