//! The world itself keeps the laws of the real one, as far as the operator depends on them.

use std::collections::BTreeMap;

use coterie_crds::ClusteringJob;
use coterie_crds::status::ClusteringJobStatus;
use k8s_openapi::api::{
    apps::v1::{Deployment, DeploymentSpec},
    core::v1::{ConfigMap, Service},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use serde_json::json;

use crate::explore::apiserver::{Refused, Server, Stored};
use crate::explore::controllers::Controllers;
use crate::explore::dice::Dice;
use crate::explore::kstatus::{Verdict, verdict};
use crate::explore::operator::NAME;
use crate::explore::user::{first_spec, resource};

fn server() -> Server {
    Server::new("2026-01-01T00:00:00Z".parse().unwrap())
}

fn named(name: &str) -> ObjectMeta {
    ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() }
}

fn map(text: &str) -> ConfigMap {
    ConfigMap { metadata: named("a"), data: Some([("key".to_owned(), text.to_owned())].into()), ..ConfigMap::default() }
}

fn deployment(replicas: Option<i32>) -> Deployment {
    Deployment {
        metadata: named("a"),
        spec: Some(DeploymentSpec { replicas, ..DeploymentSpec::default() }),
        status: None,
    }
}

fn version<T: Stored>(server: &Server) -> Option<String> {
    server.get::<T>("a").and_then(|object| object.meta().resource_version.clone())
}

fn replicas(server: &Server) -> Option<i32> {
    server.get::<Deployment>("a").and_then(|object| object.spec.as_ref()?.replicas)
}

#[test]
fn a_write_needs_the_version_it_was_made_for() {
    let mut server = server();
    server.create(map("one")).unwrap();
    assert_eq!(server.create(map("two")), Err(Refused::AlreadyExists));
    let first = version::<ConfigMap>(&server);
    let of_first = |text: &str| {
        let mut object = map(text);
        object.metadata.resource_version.clone_from(&first);
        object
    };
    server.apply(&of_first("one")).unwrap();
    assert_eq!(version::<ConfigMap>(&server), first, "what changes nothing is no new version");
    server.apply(&of_first("two")).unwrap();
    assert_eq!(server.apply(&of_first("three")), Err(Refused::Conflict));
    assert_eq!(server.delete::<ConfigMap>("a", None, first.as_ref()), Err(Refused::Conflict));
    server.delete::<ConfigMap>("a", None, None).unwrap();
    assert_eq!(server.apply(&of_first("four")), Err(Refused::Conflict));
    assert_eq!(server.delete::<ConfigMap>("a", None, None), Err(Refused::NotFound));
}

#[test]
fn what_is_immutable_stays() {
    let mut server = server();
    server.create(ConfigMap { immutable: Some(true), ..map("one") }).unwrap();
    let changed = server.apply(&ConfigMap { immutable: Some(true), ..map("two") });
    assert!(matches!(changed, Err(Refused::Invalid(_))), "{changed:?}");
}

#[test]
fn a_generation_is_of_the_spec() {
    let mut server = server();
    server.create(resource(first_spec(), false)).unwrap();
    let generation = |server: &Server| server.get::<ClusteringJob>(NAME).and_then(|job| job.metadata.generation);
    server
        .apply_status(NAME, None, ClusteringJobStatus { observed_generation: 1, ..ClusteringJobStatus::default() })
        .unwrap();
    assert_eq!(generation(&server), Some(1));
    server.update::<ClusteringJob>(NAME, |job| job.spec.seed = 1).unwrap();
    assert_eq!(generation(&server), Some(2));
}

#[test]
fn what_is_applied_no_more_goes_back_to_its_default_unless_others_set_it() {
    let mut server = server();
    server.apply(&deployment(Some(3))).unwrap();
    server.apply(&deployment(None)).unwrap();
    assert_eq!(replicas(&server), Some(1));
    server.update::<Deployment>("a", |object| object.spec.as_mut().unwrap().replicas = Some(5)).unwrap();
    server.apply(&deployment(None)).unwrap();
    assert_eq!(replicas(&server), Some(5));
}

#[test]
fn labels_of_others_stay() {
    let mut server = server();
    let labelled = |key: &str| {
        let labels: BTreeMap<String, String> = [(key.to_owned(), String::new())].into();
        Service { metadata: ObjectMeta { labels: Some(labels), ..named("a") }, ..Service::default() }
    };
    server.apply(&labelled("ours")).unwrap();
    server
        .update::<Service>("a", |object| {
            drop(object.metadata.labels.as_mut().unwrap().insert("theirs".to_owned(), String::new()))
        })
        .unwrap();
    server.apply(&labelled("ours-now")).unwrap();
    let labels = server.get::<Service>("a").unwrap().metadata.labels.clone().unwrap();
    assert_eq!(labels.keys().collect::<Vec<_>>(), ["ours-now", "theirs"]);
}

#[test]
fn what_has_lost_its_owner_is_collected() {
    let mut server = server();
    server.create(resource(first_spec(), false)).unwrap();
    let uid = server.get::<ClusteringJob>(NAME).unwrap().metadata.uid.clone().unwrap();
    let owner =
        OwnerReference { kind: "ClusteringJob".to_owned(), name: NAME.to_owned(), uid, ..OwnerReference::default() };
    let mut owned = map("one");
    owned.metadata.owner_references = Some(vec![owner]);
    server.create(owned).unwrap();
    let mut controllers = Controllers::default();
    assert!(controllers.moves(&server).is_empty());
    server.delete::<ClusteringJob>(NAME, None, None).unwrap();
    for step in controllers.moves(&server) {
        controllers.carry_out(&mut server, &step, &mut Dice::new(0, 0));
    }
    assert!(server.get::<ConfigMap>("a").is_none());
}

#[test]
fn kstatus_reads_in_its_order() {
    let mut job = resource(first_spec(), false);
    job.metadata.generation = Some(1);
    let conditions = ["Ready", "Reconciling", "Stalled"].map(|kind| {
        json!({"type": kind, "status": "True", "reason": "Test", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"})
    });
    let status: ClusteringJobStatus = serde_json::from_value(json!({"conditions": conditions})).unwrap();
    let mut judged = |keep: &[&str], generation: i64| {
        let mut status = status.clone();
        status.conditions.retain(|condition| keep.contains(&condition.type_.as_str()));
        status.observed_generation = generation;
        job.status = Some(status);
        verdict(&job)
    };
    assert_eq!(judged(&["Ready"], 1), Verdict::Current);
    assert_eq!(judged(&["Ready"], 0), Verdict::InProgress);
    assert_eq!(judged(&["Ready", "Reconciling", "Stalled"], 1), Verdict::InProgress);
    assert_eq!(judged(&["Ready", "Stalled"], 1), Verdict::Failed);
    assert_eq!(judged(&[], 1), Verdict::Current, "which is why all conditions are in the first status");
}
