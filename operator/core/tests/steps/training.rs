//! Runs: when one is made, what it consists of, how it ends and what is left of it.

use coterie_crds::names::{condition, label};
use coterie_crds::run::RunProgress;
use coterie_crds::spec::{Algorithm, Columns, LshClustering, MetricType, SetColumn};
use coterie_crds::status::{RunState, Trigger};
use coterie_operator_core::plan::Poll;
use coterie_operator_core::{Action, Refusal};
use jiff::SignedDuration;

use crate::situation::{MANIFEST, Situation, failed, kinds, published};

#[test]
fn a_new_job_claims_its_run_before_it_makes_it() {
    let mut situation = Situation::new(MANIFEST);
    let plan = situation.step();
    let run = situation.status().run.as_ref().unwrap();
    assert_eq!(
        (run.name.as_str(), run.number, run.trigger, run.state),
        ("songs-r1", 1, Trigger::Created, RunState::Starting)
    );
    assert_eq!(
        kinds(&plan),
        [
            "apply NetworkPolicy songs-training",
            "create ConfigMap songs-r1",
            "apply Service songs-r1",
            "create identity songs-r1-4f1c2d3e",
            "create Job songs-r1",
            "apply NetworkPolicy songs-serving",
        ]
    );
    assert_eq!(situation.says(condition::RECONCILING), "RunStarting");
    assert_eq!(situation.says(condition::READY), "!RunStarting");
    assert_eq!(situation.says(condition::STALLED), "!NotStalled");
    assert_eq!(situation.says(condition::TRAINED), "!RunStarting");
    assert_eq!(situation.says(condition::SERVING), "!NoModel");
    assert_eq!(situation.says(condition::SUSPENDED), "!NotSuspended");
    situation.rest();
}

#[test]
fn the_job_is_what_the_field_expects() {
    let mut situation = Situation::new(MANIFEST);
    situation.rest();
    let spec = situation.observed.children.jobs[0].spec.as_ref().unwrap();
    assert_eq!((spec.completions, spec.parallelism, spec.max_failed_indexes), (Some(3), Some(3), Some(0)));
    assert_eq!(spec.completion_mode.as_deref(), Some("Indexed"));
    assert_eq!(spec.pod_replacement_policy.as_deref(), Some("Failed"));
    assert_eq!(spec.backoff_limit_per_index, Some(6));
    assert_eq!(spec.suspend, None);
    let pod = spec.template.spec.as_ref().unwrap();
    assert_eq!(pod.subdomain.as_deref(), Some("songs-r1"));
    assert_eq!(pod.automount_service_account_token, Some(false));
    let container = &pod.containers[0];
    assert_eq!(container.image.as_deref(), Some("registry/coterie:1"));
    let secret = container.env_from.as_ref().unwrap()[0].secret_ref.as_ref().unwrap();
    assert_eq!(secret.name, "s3");
    let record = situation.observed.children.config_maps[0].data.as_ref().unwrap()["run.json"].clone();
    assert!(record.contains("songs-r1-0.songs-r1.music.svc:7070"), "{record}");
}

#[test]
fn a_queue_gets_the_job_suspended() {
    let mut situation = Situation::new(MANIFEST);
    let queue = [(label::KUEUE_QUEUE.to_owned(), "nightly".to_owned())];
    situation.observed.job.metadata.labels = Some(queue.into());
    situation.rest();
    let job = &situation.observed.children.jobs[0];
    assert_eq!(job.spec.as_ref().unwrap().suspend, Some(true));
    assert_eq!(job.metadata.labels.as_ref().unwrap()[label::KUEUE_QUEUE], "nightly");
    assert_eq!(situation.status().run.as_ref().unwrap().state, RunState::Suspended);
    assert_eq!(situation.says(condition::RECONCILING), "Queued");
}

#[test]
fn progress_is_polled_and_written_at_a_bounded_rate() {
    let mut situation = Situation::new(MANIFEST);
    situation.rest();
    situation.start_pod(1);
    let plan = situation.step();
    let id = "songs-r1-4f1c2d3e".to_owned();
    assert_eq!(plan.poll, Some(Poll { run: id.clone(), pod_ip: "10.0.0.7".to_owned(), at: situation.now }));
    let mut progress = RunProgress {
        run: id,
        stage: "Iterate".to_owned(),
        iteration: 4,
        max_iterations: 300,
        restart: 1,
        restarts: 1,
        inertia: Some(10.5),
        iteration_seconds: 2.0,
        rows: 100,
        rows_per_second: 50.4,
        workers: 3,
        ..RunProgress::default()
    };
    situation.observed.progress = Some(progress.clone());
    situation.rest();
    let run = situation.status().run.clone().unwrap();
    assert_eq!((run.progress.as_str(), run.iteration, run.rows_per_second), ("Iterate 4/300", Some(4), Some(50)));
    assert_eq!(run.inertia.as_deref(), Some("10.5"));
    assert_eq!(run.estimated_completion_time.unwrap().0, situation.now + SignedDuration::from_secs(592));

    progress.iteration = 5;
    situation.observed.progress = Some(progress.clone());
    situation.now += SignedDuration::from_secs(4);
    assert_eq!(situation.step().status, None);
    situation.now += SignedDuration::from_secs(1);
    situation.rest();
    assert_eq!(situation.status().run.as_ref().unwrap().iteration, Some(5));

    progress.run = "songs-r1-another".to_owned();
    progress.iteration = 99;
    situation.observed.progress = Some(progress);
    situation.now += SignedDuration::from_secs(60);
    situation.rest();
    assert_eq!(situation.status().run.as_ref().unwrap().iteration, Some(5));
}

#[test]
fn a_failure_stalls_the_job_until_something_changes() {
    let mut situation = Situation::new(MANIFEST);
    situation.rest();
    situation.start_pod(1);
    situation.end_run(1, &failed(65, "part-3.parquet, row group 2, column pixels: NaN in row 17"));
    situation.rest();
    assert_eq!(situation.says(condition::STALLED), "RunFailed");
    assert_eq!(situation.says(condition::READY), "!RunFailed");
    assert_eq!(situation.says(condition::RECONCILING), "!Idle");
    let message = &situation.status().condition(condition::STALLED).unwrap().message;
    assert!(message.contains("row group 2, column pixels") && message.contains("retrainToken"), "{message}");
    situation.now += SignedDuration::from_hours(24);
    situation.rest();
    assert_eq!(situation.status().run.as_ref().unwrap().number, 1);

    situation.change(|job| job.spec.retrain_token = Some("again".to_owned()));
    situation.rest();
    let run = situation.status().run.as_ref().unwrap();
    assert_eq!((run.number, run.trigger), (2, Trigger::RetrainToken));
    assert_eq!(situation.says(condition::STALLED), "!NotStalled");
}

#[test]
fn what_the_model_does_not_depend_on_makes_no_run() {
    let mut situation = Situation::serving(MANIFEST);
    situation.change(|job| {
        job.spec.serving.as_mut().unwrap().replicas = 5;
        job.spec.workers.replicas = 7;
        job.spec.evaluation.sample_size = 10;
        job.spec.output.as_mut().unwrap().assignments = true;
    });
    let plan = situation.step();
    assert_eq!(kinds(&plan), ["apply Deployment songs-v1"]);
    assert_eq!(situation.status().run.as_ref().unwrap().number, 1);
    assert_eq!(situation.observed.children.deployments[0].spec.as_ref().unwrap().replicas, Some(5));
}

#[test]
fn a_suspended_run_goes_on_from_its_record() {
    let mut situation = Situation::new(MANIFEST);
    situation.rest();
    situation.start_pod(1);
    situation.rest();
    let record = situation.observed.children.config_maps[0].clone();
    situation.change(|job| job.spec.suspend = true);
    situation.rest();
    assert!(situation.observed.children.jobs.is_empty());
    assert_eq!(situation.says(condition::SUSPENDED), "Suspended");
    assert_eq!(situation.says(condition::READY), "!Suspended");
    assert_eq!(situation.says(condition::RECONCILING), "!Idle");
    situation.change(|job| job.spec.suspend = false);
    situation.rest();
    assert_eq!(situation.observed.children.config_maps, [record]);
    assert_eq!(situation.observed.children.jobs[0].metadata.name.as_deref(), Some("songs-r1"));
}

#[test]
fn a_job_deleted_by_hand_comes_back() {
    let mut situation = Situation::new(MANIFEST);
    situation.rest();
    let job = situation.observed.children.jobs.pop().unwrap();
    let plan = situation.step();
    assert_eq!(kinds(&plan), ["create identity songs-r1-4f1c2d3e", "create Job songs-r1"]);
    assert_eq!(situation.observed.children.jobs[0].spec, job.spec);
}

#[test]
fn a_changed_spec_replaces_the_run() {
    let mut situation = Situation::new(MANIFEST);
    situation.rest();
    situation.change(|job| job.spec.seed = 3);
    situation.rest();
    let status = situation.status();
    assert_eq!(status.run.as_ref().unwrap().number, 2);
    assert_eq!((status.history[0].name.as_str(), status.history[0].state), ("songs-r1", RunState::Cancelled));
    assert_eq!(situation.names(), ["ConfigMap songs-r2", "Job songs-r2", "Service songs-r2"]);
}

#[test]
fn a_lost_outcome_is_made_again() {
    let mut situation = Situation::new(MANIFEST);
    situation.rest();
    situation.start_pod(1);
    situation.end_run(1, &published("v1", 0.6));
    situation.observed.children.pods.clear();
    situation.rest();
    let run = situation.status().run.as_ref().unwrap();
    assert_eq!((run.number, run.trigger), (2, Trigger::ResultLost));
}

/// The spec is one that cannot be acted on when the outcome is lost, so the next run has to wait.
#[test]
fn a_lost_outcome_is_made_again_once_the_spec_is_mended() {
    let mut situation = Situation::new(MANIFEST);
    situation.rest();
    situation.start_pod(1);
    situation.end_run(1, &published("v1", 0.6));
    situation.observed.children.pods.clear();
    situation.change(|job| job.spec.source.uri = "data/songs.parquet".into());
    situation.rest();
    assert_eq!(situation.says(condition::STALLED), "InvalidSpec");
    situation.change(|job| job.spec.source.uri = "s3://music/embeddings/".into());
    situation.rest();
    assert_eq!(situation.says(condition::RECONCILING), "RunStarting");
    assert_eq!(situation.status().run.as_ref().unwrap().number, 2);
}

/// The plan that cancels a run may end after its status, with the Job on the server and not yet in the caches.
#[test]
fn a_cancelled_run_is_not_gone_before_its_unseen_job() {
    let mut situation = Situation::new(MANIFEST);
    situation.rest();
    situation.change(|job| job.spec.seed = 3);
    situation.observed.job.status = situation.plan().status;
    situation.observed.children.jobs.clear();
    let plan = situation.plan();
    let place = |name: &str| kinds(&plan).iter().position(|kind| kind == name);
    let (unseen, record) = (place("delete Job songs-r1").unwrap(), place("delete ConfigMap songs-r1").unwrap());
    assert!(unseen < record && record < place("create Job songs-r2").unwrap(), "{:?}", kinds(&plan));
}

#[test]
fn a_refusal_is_told() {
    let mut situation = Situation::new(MANIFEST);
    let Some(Action::Create(object)) = situation.plan().actions.into_iter().find(|a| matches!(a, Action::Create(_)))
    else {
        panic!("nothing is created")
    };
    situation
        .observed
        .refusals
        .push(Refusal { object: object.reference(), message: "exceeded quota: configmaps".to_owned() });
    situation.rest();
    assert_eq!(situation.says(condition::STALLED), "Refused");
    assert!(
        situation
            .status()
            .condition(condition::STALLED)
            .unwrap()
            .message
            .contains("ConfigMap songs-r1: exceeded quota")
    );
}

#[test]
fn history_is_limited() {
    let mut situation = Situation::serving(MANIFEST);
    for run in 2..=15 {
        situation.change(|job| job.spec.retrain_token = Some(format!("token {run}")));
        situation.rest();
        situation.train(run, &format!("v{run}"));
        situation.now += SignedDuration::from_mins(1);
        situation.rest();
    }
    let jobs: Vec<_> = situation.names().into_iter().filter(|name| name.starts_with("Job")).collect();
    assert_eq!(jobs, ["Job songs-r13", "Job songs-r14", "Job songs-r15"]);
    let deployments: Vec<_> = situation.names().into_iter().filter(|name| name.starts_with("Deployment")).collect();
    assert_eq!(deployments, ["Deployment songs-v15"]);
    assert_eq!(situation.status().history.len(), 10);
}

#[test]
fn a_lost_status_is_found_again() {
    let mut situation = Situation::new(MANIFEST);
    situation.rest();
    situation.start_pod(1);
    situation.rest();
    situation.observed.job.status = None;
    situation.rest();
    assert_eq!(situation.status().run.as_ref().unwrap().number, 1);
    assert_eq!(situation.status().run.as_ref().unwrap().state, RunState::Running);
}

#[test]
fn another_jobs_children_are_passed_over() {
    let mut situation = Situation::serving(MANIFEST);
    situation.observed.job.metadata.uid = Some("another".to_owned());
    situation.observed.job.status = None;
    let plan = situation.plan();
    assert!(kinds(&plan).contains(&"create ConfigMap songs-r1".to_owned()));
    assert!(!kinds(&plan).iter().any(|action| action.starts_with("delete")), "{:?}", kinds(&plan));
}

#[test]
fn the_training_hash_stays_what_it_is() {
    // When this fails, every job in the world would be trained again by an upgrade. Change `training_hash` instead.
    let mut situation = Situation::new(MANIFEST);
    situation.rest();
    assert_eq!(situation.status().run.as_ref().unwrap().training_hash, "b5e50a74e6ad097a");
}

#[test]
fn sets_of_other_members_are_other_data() {
    let hash = |column: &str, size: i32| {
        let mut situation = Situation::new(MANIFEST);
        situation.change(|job| {
            job.spec.features.clear();
            job.spec.metric.kind = MetricType::Jaccard;
            let lsh = LshClustering { tables: 8, hashes: 4, width: None, min_cluster_size: 2, max_clusters: 10 };
            job.spec.algorithm = Algorithm { k_means: None, lsh: Some(lsh) };
            let set = Some(SetColumn { column: column.to_owned(), size });
            job.spec.source.columns = Some(Columns { set, ..Columns::default() });
        });
        situation.rest();
        situation.status().run.as_ref().unwrap().training_hash.clone()
    };
    let tags = hash("tags", 9);
    assert_eq!(hash("tags", 9), tags);
    assert!(hash("tags", 10) != tags && hash("words", 9) != tags);
}
