//! A training run: an Indexed Job, the headless Service that gives its pods names, and the Secret with its certificates.

use std::collections::BTreeMap;

use coterie_crds::ClusteringJob;
use coterie_crds::names::label;
use coterie_crds::run::{COORDINATION_PORT, RELAY_PORT, RUN_CONFIG_KEY, STATUS_PORT};
use k8s_openapi::api::{
    batch::v1::{
        Job, JobSpec, PodFailurePolicy, PodFailurePolicyOnExitCodesRequirement, PodFailurePolicyOnPodConditionsPattern,
        PodFailurePolicyRule, SuccessPolicy, SuccessPolicyRule,
    },
    core::v1::{
        ConfigMapVolumeSource, Container, EmptyDirVolumeSource, EnvVar, EnvVarSource, ObjectFieldSelector, PodSpec,
        SecretVolumeSource, Service, ServicePort, ServiceSpec, Volume, VolumeMount,
    },
};
use k8s_openapi::apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::ObjectMeta, util::intstr::IntOrString};

use super::meta::{Owner, selector};
use super::pod;
use crate::observed::Settings;

const CONTAINER: &str = "worker";
const CONFIG_DIRECTORY: &str = "/etc/coterie/run";
/// Where the certificates are mounted; part of the run's configuration.
pub(crate) const TLS_DIRECTORY: &str = "/etc/coterie/tls";
const SCRATCH_DIRECTORY: &str = "/scratch";
const DEFAULT_SCRATCH: &str = "10Gi";
/// Exit codes of failures that the next attempt would meet again.
const PERMANENT: [i32; 3] = [64, 65, 66];
/// Time for a checkpoint.
const GRACE_SECONDS: i64 = 30;

/// The Job of a run with so many workers.
pub(crate) fn run_job(job: &ClusteringJob, name: &str, number: i64, workers: u32, settings: &Settings) -> Job {
    let owner = Owner::of(job);
    let spec = &job.spec.workers;
    let labels = labels(owner, number);
    let mut job_labels = labels.clone();
    let queue = job.metadata.labels.iter().flatten().filter(|(key, _)| key.starts_with(label::KUEUE_PREFIX));
    job_labels.extend(queue.map(|(key, value)| (key.clone(), value.clone())));
    let queued = job_labels.contains_key(label::KUEUE_QUEUE);
    let completions = i32::try_from(workers).unwrap_or(i32::MAX);
    let number = number.to_string();
    let run_pods = selector(owner, label::TRAINING, &[(label::RUN, &number)]);
    Job {
        metadata: owner.child(name.to_owned(), job_labels),
        spec: Some(JobSpec {
            completion_mode: Some("Indexed".to_owned()),
            completions: Some(completions),
            parallelism: Some(completions),
            backoff_limit_per_index: Some(spec.max_restarts),
            max_failed_indexes: Some(0),
            pod_replacement_policy: Some("Failed".to_owned()),
            active_deadline_seconds: spec.active_deadline_seconds,
            success_policy: Some(SuccessPolicy {
                rules: vec![SuccessPolicyRule { succeeded_indexes: Some("0".to_owned()), succeeded_count: None }],
            }),
            pod_failure_policy: Some(failure_policy()),
            suspend: queued.then_some(true),
            template: pod::template(labels, run_pods, &spec.pod_template, pod_spec(job, name, settings)),
            ..JobSpec::default()
        }),
        status: None,
    }
}

fn labels(owner: Owner<'_>, number: i64) -> BTreeMap<String, String> {
    let mut labels = owner.labels(label::TRAINING);
    labels.insert(label::RUN.to_owned(), number.to_string());
    labels
}

/// Pods lost with their nodes cost nothing; a failure that would come again ends the run; others are tried again.
fn failure_policy() -> PodFailurePolicy {
    PodFailurePolicy {
        rules: vec![
            PodFailurePolicyRule {
                action: "FailJob".to_owned(),
                on_exit_codes: Some(PodFailurePolicyOnExitCodesRequirement {
                    container_name: Some(CONTAINER.to_owned()),
                    operator: "In".to_owned(),
                    values: PERMANENT.to_vec(),
                }),
                on_pod_conditions: None,
            },
            PodFailurePolicyRule {
                action: "Ignore".to_owned(),
                on_exit_codes: None,
                on_pod_conditions: Some(vec![PodFailurePolicyOnPodConditionsPattern {
                    type_: "DisruptionTarget".to_owned(),
                    status: "True".to_owned(),
                }]),
            },
        ],
    }
}

fn pod_spec(job: &ClusteringJob, name: &str, settings: &Settings) -> PodSpec {
    let workers = &job.spec.workers;
    let mount = |name: &str, path: &str, read_only: bool| VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        read_only: read_only.then_some(true),
        ..VolumeMount::default()
    };
    let volume = |name: &str| Volume { name: name.to_owned(), ..Volume::default() };
    let scratch = workers.scratch.clone().unwrap_or_else(|| DEFAULT_SCRATCH.to_owned());
    PodSpec {
        restart_policy: Some("Never".to_owned()),
        subdomain: Some(name.to_owned()),
        termination_grace_period_seconds: Some(GRACE_SECONDS),
        containers: vec![Container {
            name: CONTAINER.to_owned(),
            image: Some(settings.image.clone()),
            image_pull_policy: Some(settings.image_pull_policy.clone()),
            args: Some(
                [
                    "worker",
                    "--role",
                    "member",
                    "--run-config",
                    &format!("{CONFIG_DIRECTORY}/{RUN_CONFIG_KEY}"),
                    "--scratch",
                    SCRATCH_DIRECTORY,
                    "--log=info",
                    "--log-json",
                ]
                .map(str::to_owned)
                .to_vec(),
            ),
            env: Some(vec![
                EnvVar {
                    name: "POD_NAME".to_owned(),
                    value_from: Some(EnvVarSource {
                        field_ref: Some(ObjectFieldSelector {
                            field_path: "metadata.name".to_owned(),
                            api_version: None,
                        }),
                        ..EnvVarSource::default()
                    }),
                    value: None,
                },
                EnvVar { name: "TMPDIR".to_owned(), value: Some(SCRATCH_DIRECTORY.to_owned()), value_from: None },
            ]),
            env_from: pod::environment_from(&credentials(job)),
            ports: Some(vec![
                pod::port("coordination", COORDINATION_PORT),
                pod::port("relay", RELAY_PORT),
                pod::port("status", STATUS_PORT),
            ]),
            liveness_probe: Some(pod::probe("/healthz", "status", 10, 6)),
            resources: Some(pod::resources(&workers.resources)),
            security_context: Some(pod::confined()),
            volume_mounts: Some(vec![
                mount("run", CONFIG_DIRECTORY, true),
                mount("identity", TLS_DIRECTORY, true),
                mount("scratch", SCRATCH_DIRECTORY, false),
            ]),
            ..Container::default()
        }],
        volumes: Some(vec![
            Volume {
                config_map: Some(ConfigMapVolumeSource { name: name.to_owned(), ..ConfigMapVolumeSource::default() }),
                ..volume("run")
            },
            Volume {
                // Read by the pod's group only.
                secret: Some(SecretVolumeSource {
                    secret_name: Some(identity_name(Owner::of(job), name)),
                    default_mode: Some(0o440),
                    ..SecretVolumeSource::default()
                }),
                ..volume("identity")
            },
            Volume {
                empty_dir: Some(EmptyDirVolumeSource { size_limit: Some(Quantity(scratch)), medium: None }),
                ..volume("scratch")
            },
        ]),
        ..PodSpec::default()
    }
}

/// The Secrets with credentials for source and output.
pub(crate) fn credentials(job: &ClusteringJob) -> Vec<&str> {
    let output = job.spec.output.as_ref().and_then(|output| output.store.as_ref());
    let stores = job.spec.source.store.iter().chain(output);
    let mut names: Vec<&str> =
        stores.filter_map(|store| store.credentials_secret_ref.as_ref()).map(|secret| secret.name.as_str()).collect();
    names.dedup();
    names
}

/// Gives each pod of a run a name, whether it is ready or not.
pub(crate) fn run_service(owner: Owner<'_>, name: &str, number: i64) -> Service {
    Service {
        metadata: owner.child(name.to_owned(), labels(owner, number)),
        spec: Some(ServiceSpec {
            cluster_ip: Some("None".to_owned()),
            publish_not_ready_addresses: Some(true),
            selector: Some(selector(owner, label::TRAINING, &[(label::RUN, &number.to_string())])),
            ports: Some(vec![ServicePort {
                name: Some("coordination".to_owned()),
                port: i32::from(COORDINATION_PORT),
                protocol: Some("TCP".to_owned()),
                target_port: Some(IntOrString::String("coordination".to_owned())),
                ..ServicePort::default()
            }]),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

/// Metadata of the Secret with the run's certificates.
pub(crate) fn identity(owner: Owner<'_>, name: &str, number: i64) -> ObjectMeta {
    owner.child(identity_name(owner, name), labels(owner, number))
}

/// Name of that Secret. It cannot be seen whose a Secret is, so the name says it: one of an earlier job of the same name is about to be collected.
pub(crate) fn identity_name(owner: Owner<'_>, name: &str) -> String {
    format!("{name}-{}", owner.short_uid())
}
