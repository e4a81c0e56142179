//! Whole plans, step by step: what is done in each situation of a job's life, and that nothing is done twice.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use coterie_crds::names::{annotation, condition, label, reason};
use coterie_crds::run::{PublishedModel, RunFailure, RunProgress, RunReport};
use coterie_crds::status::{ClusteringJobStatus, RunState, Trigger};
use coterie_crds::{ClusteringJob, parse};
use coterie_operator_core::plan::{Kind, Object, Poll};
use coterie_operator_core::{Action, Children, Observed, Plan, Refusal, Settings, plan};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{DeploymentCondition, DeploymentStatus};
use k8s_openapi::api::batch::v1::{JobCondition, JobStatus};
use k8s_openapi::api::core::v1::{ContainerState, ContainerStateTerminated, ContainerStatus, Pod, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

const MANIFEST: &str = "
apiVersion: coterie.dev/v1alpha1
kind: ClusteringJob
metadata: {name: songs, namespace: music}
spec:
  source: {uri: s3://music/embeddings/, store: {region: eu-central-1, credentialsSecretRef: {name: s3}}}
  algorithm: {kMeans: {clusters: 8}}
  workers: {replicas: 3}
  output: {uri: s3://models/songs/, historyLimit: 3}
  serving: {replicas: 2}
";

/// A job and its surroundings; plans are carried out at once and without faults.
struct Situation {
    observed: Observed,
    settings: Settings,
    now: Timestamp,
    uids: u32,
}

impl Situation {
    fn new(manifest: &str) -> Self {
        let mut job: ClusteringJob = parse(manifest).unwrap();
        job.metadata.uid = Some("4f1c2d3e-0000".to_owned());
        job.metadata.generation = Some(1);
        job.metadata.namespace = Some("music".to_owned());
        let children = Children::default();
        Self {
            observed: Observed { job, children, progress: None, refusals: Vec::new() },
            settings: Settings::new("registry/coterie:1"),
            now: "2026-11-25T12:00:00Z".parse().unwrap(),
            uids: 0,
        }
    }

    fn change(&mut self, change: impl FnOnce(&mut ClusteringJob)) {
        change(&mut self.observed.job);
        *self.observed.job.metadata.generation.as_mut().unwrap() += 1;
    }

    fn status(&self) -> &ClusteringJobStatus {
        self.observed.job.status.as_ref().unwrap()
    }

    /// Reason of a condition, with `!` in front when it is false.
    fn says(&self, kind: &str) -> String {
        let condition = self.status().condition(kind).unwrap();
        format!("{}{}", if condition.status == "True" { "" } else { "!" }, condition.reason)
    }

    fn plan(&self) -> Plan {
        plan(&self.observed, &self.settings, self.now)
    }

    /// Plans once and carries it out.
    fn step(&mut self) -> Plan {
        let plan = self.plan();
        if let Some(status) = &plan.status {
            self.observed.job.status = Some(status.clone());
        }
        for action in &plan.actions {
            self.carry_out(action);
        }
        plan
    }

    /// Plans until nothing is left to do.
    fn rest(&mut self) {
        for _ in 0..10 {
            let plan = self.step();
            if plan.status.is_none() && plan.actions.is_empty() {
                assert_eq!(plan.events, []);
                return;
            }
        }
        panic!("still something to do: {:#?}", self.plan());
    }

    fn carry_out(&mut self, action: &Action) {
        self.uids += 1;
        let uid = Some(format!("uid-{}", self.uids));
        let children = &mut self.observed.children;
        macro_rules! put {
            ($list:ident, $object:expr) => {{
                let mut object = (**$object).clone();
                let place = children.$list.iter().position(|other| other.metadata.name == object.metadata.name);
                match place {
                    Some(place) => {
                        object.metadata.uid = children.$list[place].metadata.uid.clone();
                        children.$list[place] = object;
                    }
                    None => {
                        object.metadata.uid = uid;
                        children.$list.push(object);
                    }
                }
            }};
        }
        match action {
            Action::Create(object) | Action::Apply(object) => match object {
                Object::ConfigMap(object) => put!(config_maps, object),
                Object::Service(object) => put!(services, object),
                Object::Job(object) => put!(jobs, object),
                Object::Deployment(object) => put!(deployments, object),
                Object::HorizontalPodAutoscaler(object) => put!(autoscalers, object),
                Object::PodDisruptionBudget(object) => put!(disruption_budgets, object),
                Object::NetworkPolicy(object) => put!(network_policies, object),
            },
            Action::CreateIdentity(_) => {}
            Action::Delete(deletion) => {
                let name = Some(deletion.object.name.clone());
                match deletion.object.kind {
                    Kind::ConfigMap => children.config_maps.retain(|object| object.metadata.name != name),
                    Kind::Secret => {}
                    Kind::Service => children.services.retain(|object| object.metadata.name != name),
                    Kind::Job => {
                        children.jobs.retain(|object| object.metadata.name != name);
                        children.pods.clear();
                    }
                    Kind::Deployment => children.deployments.retain(|object| object.metadata.name != name),
                    Kind::HorizontalPodAutoscaler => children.autoscalers.retain(|object| object.metadata.name != name),
                    Kind::PodDisruptionBudget => {
                        children.disruption_budgets.retain(|object| object.metadata.name != name)
                    }
                    Kind::NetworkPolicy => children.network_policies.retain(|object| object.metadata.name != name),
                }
            }
        }
    }

    /// The pod with index 0 of a run, running.
    fn start_pod(&mut self, run: i64) {
        let job =
            self.observed.children.jobs.iter().find(|job| job.metadata.name == Some(format!("songs-r{run}"))).unwrap();
        let labels =
            [(label::JOB, "songs"), (label::RUN, &run.to_string()), ("batch.kubernetes.io/job-completion-index", "0")];
        let labels = labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        let owner = OwnerReference { uid: job.metadata.uid.clone().unwrap(), ..OwnerReference::default() };
        self.observed.children.pods.push(Pod {
            metadata: ObjectMeta {
                name: Some(format!("songs-r{run}-0-abcde")),
                labels: Some(labels),
                owner_references: Some(vec![owner]),
                ..ObjectMeta::default()
            },
            spec: None,
            status: Some(PodStatus {
                phase: Some("Running".to_owned()),
                pod_ip: Some("10.0.0.7".to_owned()),
                ..PodStatus::default()
            }),
        });
    }

    /// The run's pod ends with a report, and its Job with a condition.
    fn end_run(&mut self, run: i64, report: &RunReport) {
        let code = match report {
            RunReport::Published(_) => 0,
            RunReport::Failed(failure) => failure.exit_code,
        };
        let children = &mut self.observed.children;
        let pod =
            children.pods.iter_mut().find(|pod| pod.metadata.name == Some(format!("songs-r{run}-0-abcde"))).unwrap();
        let status = pod.status.as_mut().unwrap();
        status.phase = Some(if code == 0 { "Succeeded" } else { "Failed" }.to_owned());
        status.container_statuses = Some(vec![ContainerStatus {
            state: Some(ContainerState {
                terminated: Some(ContainerStateTerminated {
                    exit_code: code,
                    message: Some(serde_json::to_string(report).unwrap()),
                    ..ContainerStateTerminated::default()
                }),
                ..ContainerState::default()
            }),
            ..ContainerStatus::default()
        }]);
        let job = children.jobs.iter_mut().find(|job| job.metadata.name == Some(format!("songs-r{run}"))).unwrap();
        job.status = Some(JobStatus {
            conditions: Some(vec![JobCondition {
                type_: if code == 0 { "Complete" } else { "Failed" }.to_owned(),
                status: "True".to_owned(),
                ..JobCondition::default()
            }]),
            ..JobStatus::default()
        });
    }

    /// All replicas of a version answer.
    fn replicas_ready(&mut self, version: &str) {
        let name = Some(format!("songs-{version}"));
        let deployment =
            self.observed.children.deployments.iter_mut().find(|object| object.metadata.name == name).unwrap();
        let replicas = deployment.spec.as_ref().unwrap().replicas;
        deployment.status = Some(DeploymentStatus {
            replicas,
            updated_replicas: replicas,
            available_replicas: replicas,
            ready_replicas: replicas,
            observed_generation: deployment.metadata.generation,
            ..DeploymentStatus::default()
        });
    }

    /// Trains and serves a first model.
    fn serving(manifest: &str) -> Self {
        let mut situation = Self::new(manifest);
        situation.rest();
        situation.train(1, "v1");
        situation
    }

    fn train(&mut self, run: i64, version: &str) {
        self.start_pod(run);
        self.rest();
        self.end_run(run, &published(version, 0.6));
        self.rest();
        if self.observed.job.spec.serving.is_some() {
            self.replicas_ready(version);
            self.rest();
        }
    }

    fn selected(&self) -> &str {
        let service =
            self.observed.children.services.iter().find(|object| object.metadata.name.as_deref() == Some("songs"));
        &service.unwrap().spec.as_ref().unwrap().selector.as_ref().unwrap()[label::MODEL_VERSION]
    }

    fn names(&self) -> Vec<String> {
        let children = &self.observed.children;
        let mut names: Vec<String> = Vec::new();
        names.extend(children.config_maps.iter().map(|o| format!("ConfigMap {}", o.metadata.name.as_ref().unwrap())));
        names.extend(children.services.iter().map(|o| format!("Service {}", o.metadata.name.as_ref().unwrap())));
        names.extend(children.jobs.iter().map(|o| format!("Job {}", o.metadata.name.as_ref().unwrap())));
        names.extend(children.deployments.iter().map(|o| format!("Deployment {}", o.metadata.name.as_ref().unwrap())));
        names.sort();
        names
    }
}

fn published(version: &str, silhouette: f64) -> RunReport {
    RunReport::Published(PublishedModel {
        version: version.to_owned(),
        uri: format!("s3://models/songs/models/{version}"),
        digest: "blake3:00".to_owned(),
        rows: 100,
        rows_dropped: 0,
        iterations: 7,
        converged: true,
        inertia: 12.5,
        silhouette: Some(silhouette),
        davies_bouldin: None,
        calinski_harabasz: None,
        ari: None,
        nmi: None,
        smallest_cluster_share: 0.1,
        seconds: 3.0,
        cpu_seconds: 5.0,
        bytes_read: 1000,
        peak_rss_bytes: 2000,
    })
}

fn failed(exit_code: i32, message: &str) -> RunReport {
    RunReport::Failed(RunFailure { exit_code, message: message.to_owned() })
}

fn kinds(plan: &Plan) -> Vec<String> {
    plan.actions
        .iter()
        .map(|action| match action {
            Action::Create(object) => format!("create {}", object.reference()),
            Action::CreateIdentity(metadata) => format!("create identity {}", metadata.name.as_ref().unwrap()),
            Action::Apply(object) => format!("apply {}", object.reference()),
            Action::Delete(deletion) => format!("delete {}", deletion.object),
        })
        .collect()
}

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
        inertia: 10.5,
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
