//! Models: which one is served, and how traffic gets there.

use coterie_crds::names::condition;
use coterie_crds::spec::Lsh;
use jiff::SignedDuration;
use k8s_openapi::api::apps::v1::{DeploymentCondition, DeploymentStatus};

use crate::situation::{MANIFEST, Situation, failed, published};

#[test]
fn a_run_becomes_a_served_model() {
    let mut situation = Situation::serving(MANIFEST);
    assert_eq!(situation.says(condition::READY), "Ready");
    assert_eq!(situation.says(condition::RECONCILING), "!Idle");
    assert_eq!(situation.says(condition::TRAINED), "RunSucceeded");
    assert_eq!(situation.says(condition::SERVING), "Available");
    let status = situation.status();
    assert_eq!(status.model.as_ref().unwrap().version, "v1");
    assert_eq!(status.model.as_ref().unwrap().metrics.silhouette.as_deref(), Some("0.6000"));
    assert_eq!(status.serving.as_ref().unwrap().version.as_deref(), Some("v1"));
    assert_eq!(status.serving.as_ref().unwrap().address, "http://songs.music.svc:8080");
    assert_eq!(status.history.len(), 1);
    situation.now += SignedDuration::from_hours(1);
    situation.rest();
}

#[test]
fn a_failed_retrain_leaves_the_model_in_service() {
    let mut situation = Situation::serving(MANIFEST);
    situation.change(|job| job.spec.seed = 7);
    situation.rest();
    situation.start_pod(2);
    situation.end_run(2, &failed(65, "zero rows"));
    situation.rest();
    assert_eq!(situation.says(condition::STALLED), "RunFailed");
    assert_eq!(situation.says(condition::SERVING), "Available");
    assert_eq!(situation.selected(), "v1");
    // A revert needs no run: the model of the earlier spec is still there.
    situation.change(|job| job.spec.seed = 0);
    situation.rest();
    assert_eq!(situation.says(condition::READY), "Ready");
    assert_eq!(situation.status().run.as_ref().unwrap().number, 2);
}

#[test]
fn traffic_moves_once_all_new_replicas_are_ready() {
    let mut situation = Situation::serving(MANIFEST);
    situation.change(|job| job.spec.algorithm.k_means.as_mut().unwrap().clusters = 9);
    situation.rest();
    situation.start_pod(2);
    situation.end_run(2, &published("v2", 0.6));
    situation.rest();
    assert_eq!(situation.selected(), "v1");
    assert_eq!(situation.says(condition::RECONCILING), "RollingOut");
    assert_eq!(situation.says(condition::SERVING), "Available");
    assert_eq!(situation.status().serving.as_ref().unwrap().candidate_version.as_deref(), Some("v2"));

    situation.replicas_ready("v2");
    situation.rest();
    assert_eq!(situation.selected(), "v2");
    assert_eq!(situation.says(condition::READY), "Ready");
    // The old ones answer what is still on its way to them.
    assert!(situation.names().contains(&"Deployment songs-v1".to_owned()));
    assert_eq!(situation.plan().wake, Some(situation.now + situation.settings.switch_grace));
    situation.now += situation.settings.switch_grace;
    situation.rest();
    assert!(!situation.names().iter().any(|name| name.contains("songs-v1")), "{:?}", situation.names());
}

#[test]
fn replicas_that_cannot_start_never_get_traffic() {
    let mut situation = Situation::serving(MANIFEST);
    situation.change(|job| job.spec.seed = 1);
    situation.rest();
    situation.start_pod(2);
    situation.end_run(2, &published("v2", 0.6));
    situation.rest();
    let deployment = situation.observed.children.deployments.last_mut().unwrap();
    deployment.status = Some(DeploymentStatus {
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
    assert_eq!(situation.says(condition::SERVING), "Available");
    assert_eq!(situation.selected(), "v1");
    let message = &situation.status().condition(condition::STALLED).unwrap().message;
    assert!(message.contains("model v1 stays in service"), "{message}");
}

#[test]
fn gates_keep_a_poor_model_out_until_they_are_lowered() {
    let mut situation = Situation::serving(MANIFEST);
    situation.change(|job| {
        job.spec.seed = 1;
        job.spec.evaluation.gates.min_silhouette = Some("0.5".into());
    });
    situation.rest();
    situation.start_pod(2);
    situation.end_run(2, &published("v2", 0.4));
    situation.rest();
    assert_eq!(situation.says(condition::STALLED), "GateFailed");
    assert_eq!(situation.status().model.as_ref().unwrap().version, "v1");
    let message = &situation.status().condition(condition::STALLED).unwrap().message;
    assert!(message.contains("the silhouette is 0.4, below minSilhouette 0.5; model v1 stays in service"), "{message}");

    situation.change(|job| job.spec.evaluation.gates.min_silhouette = Some("0.3".into()));
    situation.rest();
    assert_eq!(situation.status().model.as_ref().unwrap().version, "v2");
    assert_eq!(situation.status().run.as_ref().unwrap().number, 2);
}

#[test]
fn a_newer_operator_restarts_nothing() {
    let mut situation = Situation::serving(MANIFEST);
    situation.settings.image = "registry/coterie:2".to_owned();
    situation.settings.version = "99.0.0".to_owned();
    situation.rest();
    let image = |situation: &Situation| {
        let spec = situation.observed.children.deployments[0].spec.clone().unwrap();
        spec.template.spec.unwrap().containers[0].image.clone().unwrap()
    };
    assert_eq!(image(&situation), "registry/coterie:1");
    // Not even when the number of replicas changes; but new pods for another reason get the new image.
    situation.change(|job| job.spec.serving.as_mut().unwrap().replicas = 3);
    situation.rest();
    assert_eq!(image(&situation), "registry/coterie:1");
    situation.change(|job| job.spec.serving.as_mut().unwrap().resources.memory = Some("2Gi".to_owned()));
    situation.rest();
    assert_eq!(image(&situation), "registry/coterie:2");
}

#[test]
fn an_invalid_spec_is_explained_and_a_revert_recovers() {
    let mut situation = Situation::serving(MANIFEST);
    situation.change(|job| job.spec.source.uri = "data/songs.parquet".into());
    situation.rest();
    assert_eq!(situation.says(condition::STALLED), "InvalidSpec");
    assert_eq!(situation.says(condition::SERVING), "Available");
    let message = &situation.status().condition(condition::STALLED).unwrap().message;
    assert!(message.contains("spec.source.uri") && message.contains("s3://"), "{message}");
    situation.change(|job| job.spec.source.uri = "s3://music/embeddings/".into());
    situation.rest();
    assert_eq!(situation.says(condition::READY), "Ready");
    assert_eq!(situation.status().run.as_ref().unwrap().number, 1);
}

#[test]
fn serving_is_removed_when_it_is_not_asked_for() {
    let mut situation = Situation::serving(MANIFEST);
    situation.change(|job| job.spec.serving = None);
    situation.rest();
    assert_eq!(situation.names(), ["ConfigMap songs-r1", "Job songs-r1", "Service songs-r1"]);
    assert!(situation.observed.children.disruption_budgets.is_empty());
    assert_eq!(situation.says(condition::SERVING), "!NotRequested");
    assert_eq!(situation.says(condition::READY), "Ready");
}

#[test]
fn an_autoscaler_keeps_its_number() {
    let manifest =
        MANIFEST.replace("serving: {replicas: 2}", "serving: {autoscaling: {minReplicas: 2, maxReplicas: 9}}");
    let mut situation = Situation::serving(&manifest);
    assert_eq!(situation.observed.children.autoscalers.len(), 1);
    situation.observed.children.deployments[0].spec.as_mut().unwrap().replicas = Some(7);
    situation.replicas_ready("v1");
    situation.rest();
    // The next version begins with as many, without an autoscaler that would not see their load yet.
    situation.change(|job| job.spec.seed = 1);
    situation.rest();
    situation.start_pod(2);
    situation.end_run(2, &published("v2", 0.6));
    situation.rest();
    assert_eq!(situation.observed.children.deployments[1].spec.as_ref().unwrap().replicas, Some(7));
    assert_eq!(situation.observed.children.autoscalers.len(), 1);
    situation.replicas_ready("v2");
    situation.rest();
    situation.now += situation.settings.switch_grace;
    situation.rest();
    assert_eq!(situation.observed.children.autoscalers[0].metadata.name.as_deref(), Some("songs-v2"));
}

#[test]
fn similar_items_come_with_the_next_model_and_need_room_on_the_node() {
    let mut situation = Situation::serving(MANIFEST);
    situation.change(|job| job.spec.serving.as_mut().unwrap().similar_items = true);
    situation.rest();
    // The model in service has no items; its replicas are left alone while another is trained.
    assert_eq!(situation.status().run.as_ref().unwrap().number, 2);
    assert_eq!(situation.pod_spec("v1").volumes.unwrap().len(), 1);

    situation.train(2, "v2");
    let pod = situation.pod_spec("v2");
    let items = pod.volumes.unwrap().into_iter().find(|volume| volume.name == "items").unwrap();
    assert!(items.empty_dir.is_some());
    let container = &pod.containers[0];
    let mount = container.volume_mounts.as_ref().unwrap().iter().find(|mount| mount.name == "items").unwrap();
    assert!(mount.read_only.is_none());
    let args = container.args.as_ref().unwrap();
    let at = args.iter().position(|arg| arg == "--items-directory").unwrap();
    assert_eq!(args[at + 1], mount.mount_path);
    assert_eq!(situation.serve_config("v2")["items"], serde_json::json!({"recall": 0.95, "tables": false}));

    // Hash tables are a matter of serving alone: other pods, no other run.
    situation.change(|job| {
        job.spec.serving.as_mut().unwrap().lsh = Some(Lsh { target_recall: Some("0.9".into()), ..Lsh::default() });
    });
    situation.rest();
    assert_eq!(situation.status().run.as_ref().unwrap().number, 2);
    assert_eq!(situation.serve_config("v2")["items"], serde_json::json!({"recall": 0.9, "tables": true}));

    // So are their parameters, set by hand.
    let by_hand = Lsh { tables: Some(16), hashes: Some(12), width: Some("0.5".into()), ..Lsh::default() };
    for (probes, told) in [(None, serde_json::json!(null)), (Some(64), serde_json::json!(64))] {
        let lsh = Lsh { probes, ..by_hand.clone() };
        situation.change(|job| job.spec.serving.as_mut().unwrap().lsh = Some(lsh));
        situation.rest();
        assert_eq!(situation.status().run.as_ref().unwrap().number, 2);
        let parameters = serde_json::json!({"tables": 16, "hashes": 12, "width": 0.5, "probes": told});
        let items = serde_json::json!({"recall": 0.95, "tables": true, "parameters": parameters});
        assert_eq!(situation.serve_config("v2")["items"], items);
    }
}
