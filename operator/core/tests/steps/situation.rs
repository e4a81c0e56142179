//! A job and its surroundings, whose plans are carried out at once and without faults.

use coterie_crds::names::label;
use coterie_crds::run::{PublishedModel, RunFailure, RunReport};
use coterie_crds::status::ClusteringJobStatus;
use coterie_crds::{ClusteringJob, parse};
use coterie_operator_core::plan::{Kind, Object};
use coterie_operator_core::{Action, Children, Observed, Plan, Settings, plan};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus};
use k8s_openapi::api::batch::v1::{JobCondition, JobStatus};
use k8s_openapi::api::core::v1::{ContainerState, ContainerStateTerminated, ContainerStatus, Pod, PodSpec, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

pub const MANIFEST: &str = "
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
pub struct Situation {
    pub observed: Observed,
    pub settings: Settings,
    pub now: Timestamp,
    pub uids: u32,
}

impl Situation {
    pub fn new(manifest: &str) -> Self {
        let mut job: ClusteringJob = parse(manifest).unwrap();
        job.metadata.uid = Some("4f1c2d3e-0000".to_owned());
        job.metadata.generation = Some(1);
        job.metadata.namespace = Some("music".to_owned());
        let children = Children::default();
        Self {
            observed: Observed { job, children, progress: None, traffic: None, refusals: Vec::new() },
            settings: Settings::new("registry/coterie:1"),
            now: "2026-11-25T12:00:00Z".parse().unwrap(),
            uids: 0,
        }
    }

    pub fn change(&mut self, change: impl FnOnce(&mut ClusteringJob)) {
        change(&mut self.observed.job);
        *self.observed.job.metadata.generation.as_mut().unwrap() += 1;
    }

    pub fn status(&self) -> &ClusteringJobStatus {
        self.observed.job.status.as_ref().unwrap()
    }

    /// Reason of a condition, with `!` in front when it is false.
    pub fn says(&self, kind: &str) -> String {
        let condition = self.status().condition(kind).unwrap();
        format!("{}{}", if condition.status == "True" { "" } else { "!" }, condition.reason)
    }

    pub fn plan(&self) -> Plan {
        plan(&self.observed, &self.settings, self.now)
    }

    /// Plans once and carries it out.
    pub fn step(&mut self) -> Plan {
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
    pub fn rest(&mut self) {
        for _ in 0..10 {
            let plan = self.step();
            if plan.status.is_none() && plan.actions.is_empty() {
                assert_eq!(plan.events, []);
                return;
            }
        }
        panic!("still something to do: {:#?}", self.plan());
    }

    pub fn carry_out(&mut self, action: &Action) {
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
                Object::Deployment(object) => {
                    // How its pods stand is not said by what is applied.
                    let same = |other: &&Deployment| other.metadata.name == object.metadata.name;
                    let status = children.deployments.iter().find(same).and_then(|other| other.status.clone());
                    let object = Box::new(Deployment { status, ..Deployment::clone(object) });
                    put!(deployments, &object)
                }
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
    pub fn start_pod(&mut self, run: i64) {
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
    pub fn end_run(&mut self, run: i64, report: &RunReport) {
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
    pub fn replicas_ready(&mut self, version: &str) {
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

    /// The Deployment of a version.
    pub fn deployment(&mut self, version: &str) -> &mut Deployment {
        let name = Some(format!("songs-{version}"));
        self.observed.children.deployments.iter_mut().find(|object| object.metadata.name == name).unwrap()
    }

    /// Replicas that are asked for of a version.
    pub fn replicas(&self, version: &str) -> i32 {
        let name = Some(format!("songs-{version}"));
        let found = self.observed.children.deployments.iter().find(|object| object.metadata.name == name);
        found.unwrap().spec.as_ref().unwrap().replicas.unwrap()
    }

    /// A serving pod of a version, running.
    pub fn start_replica(&mut self, version: &str, name: &str) {
        let labels = [(label::JOB, "songs"), (label::COMPONENT, label::SERVING), (label::MODEL_VERSION, version)];
        let labels = labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        self.observed.children.pods.push(Pod {
            metadata: ObjectMeta { name: Some(name.to_owned()), labels: Some(labels), ..ObjectMeta::default() },
            spec: None,
            status: Some(PodStatus {
                phase: Some("Running".to_owned()),
                pod_ip: Some("10.0.0.8".to_owned()),
                ..PodStatus::default()
            }),
        });
    }

    /// The status of a serving pod.
    pub fn replica(&mut self, name: &str) -> &mut PodStatus {
        let mut pods = self.observed.children.pods.iter_mut();
        pods.find(|pod| pod.metadata.name.as_deref() == Some(name)).unwrap().status.as_mut().unwrap()
    }

    /// Trains and serves a first model.
    pub fn serving(manifest: &str) -> Self {
        let mut situation = Self::new(manifest);
        situation.rest();
        situation.train(1, "v1");
        situation
    }

    pub fn train(&mut self, run: i64, version: &str) {
        self.start_pod(run);
        self.rest();
        self.end_run(run, &published(version, 0.6));
        self.rest();
        if self.observed.job.spec.serving.is_some() {
            self.replicas_ready(version);
            self.rest();
        }
    }

    pub fn selected(&self) -> &str {
        let service =
            self.observed.children.services.iter().find(|object| object.metadata.name.as_deref() == Some("songs"));
        match service.unwrap().spec.as_ref().unwrap().selector.as_ref().unwrap().get(label::MODEL_VERSION) {
            Some(version) => version,
            None => "both",
        }
    }

    /// What the pods of a version are made from.
    pub fn pod_spec(&self, version: &str) -> PodSpec {
        let name = Some(format!("songs-{version}"));
        let found = self.observed.children.deployments.iter().find(|object| object.metadata.name == name);
        found.unwrap().spec.clone().unwrap().template.spec.unwrap()
    }

    /// The configuration that the pods of a version read.
    pub fn serve_config(&self, version: &str) -> serde_json::Value {
        let volumes = self.pod_spec(version).volumes.unwrap();
        let name = volumes.into_iter().find_map(|volume| Some(volume.config_map?.name));
        let config = self.observed.children.config_maps.iter().find(|object| object.metadata.name == name).unwrap();
        serde_json::from_str(&config.data.as_ref().unwrap()["serve.json"]).unwrap()
    }

    pub fn names(&self) -> Vec<String> {
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

pub fn published(version: &str, silhouette: f64) -> RunReport {
    RunReport::Published(PublishedModel {
        version: version.to_owned(),
        uri: format!("s3://models/songs/models/{version}"),
        digest: "blake3:00".to_owned(),
        rows: 100,
        rows_dropped: 0,
        clusters: Some(8),
        noise: None,
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

pub fn failed(exit_code: i32, message: &str) -> RunReport {
    RunReport::Failed(RunFailure { exit_code, message: message.to_owned() })
}

pub fn kinds(plan: &Plan) -> Vec<String> {
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
