//! Serving replicas of one model version, or of one shard of it, and their configuration.

use std::collections::BTreeMap;

use coterie_crds::names::annotation;
use coterie_crds::run::{SERVE_CONFIG_KEY, ServeConfig};
use coterie_crds::spec::Serving;
use k8s_openapi::api::{
    apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment},
    core::v1::{
        ConfigMap, ConfigMapVolumeSource, Container, EmptyDirVolumeSource, PodSpec, PodTemplateSpec, Volume,
        VolumeMount,
    },
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::meta::{Owner, matching, serving_labels, serving_name, shard_selector};
use super::pod;
use crate::fleet::Shard;
use crate::observed::Settings;
use crate::validate::short_hash;

/// Port of REST, health and metrics.
pub(crate) const HTTP_PORT: u16 = 8080;
/// Port of gRPC.
pub(crate) const GRPC_PORT: u16 = 8081;
const CONTAINER: &str = "serving";
const CONFIG_DIRECTORY: &str = "/etc/coterie/serving";
/// Where a replica keeps the index of the items, on the node's disk: it outlives the container, not the pod.
const ITEMS_DIRECTORY: &str = "/var/lib/coterie/items";
/// How long a replica goes on answering after it was told to stop, so that every proxy hears of it first.
const DRAIN_SECONDS: i64 = 10;
/// How long it may take until all replicas have heard of a new one by its name: what DNS servers and they themselves keep.
const PEERS_HEAR_SECONDS: i32 = 40;
/// Beyond the drain: requests in flight.
const GRACE_SECONDS: i64 = 60;

/// What the pods of a fleet are made from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Replica<'a> {
    pub(crate) owner: Owner<'a>,
    /// The fleet.
    pub(crate) version: &'a str,
    /// The shard that they hold, where there are several.
    pub(crate) shard: Option<Shard>,
    pub(crate) serving: &'a Serving,
    pub(crate) credentials: &'a [&'a str],
    /// Name of the ConfigMap of [`serve_config`].
    pub(crate) config: &'a str,
}

/// The configuration of a version's replicas. Its name follows from its content, so that it never changes.
pub(crate) fn serve_config(owner: Owner<'_>, version: &str, config: &ServeConfig) -> ConfigMap {
    let text = serde_json::to_string_pretty(config).unwrap_or_default();
    let name = format!("{}-{version}-{}", owner.name, &short_hash(text.as_bytes())[..8]);
    ConfigMap {
        metadata: owner.child(name, serving_labels(owner, version, None)),
        data: Some(BTreeMap::from([(SERVE_CONFIG_KEY.to_owned(), text)])),
        immutable: Some(true),
        binary_data: None,
    }
}

/// Covers all that the pods are made from, other than what the operator itself brings (its image and its ways).
pub(crate) fn template_hash(replica: &Replica<'_>) -> String {
    // The shards are part of the fleet's name, and which one it is does not change.
    let Replica { owner: _, version, shard: _, serving, credentials, config } = replica;
    let inputs = serde_json::json!([version, serving.resources, serving.pod_template, credentials, config]);
    short_hash(inputs.to_string().as_bytes())
}

/// The hash that [`deployment`] gives the pods.
pub(crate) fn hash(replica: &Replica<'_>, observed: Option<&Deployment>, frozen: bool) -> String {
    match observed.and_then(hash_of) {
        Some(before) if frozen => before.to_owned(),
        Some(_) | None => template_hash(replica),
    }
}

/// What the pods of a Deployment are made from.
pub(crate) fn hash_of(deployment: &Deployment) -> Option<&str> {
    annotation_of(deployment, annotation::TEMPLATE_HASH)
}

/// The Deployment of a version, or of one shard of it. Where one is there already and its pods are made from the same, they are left as they are: a newer operator
/// must not restart what it would only write differently. `frozen` leaves them as they are in any case. `canary` is kept as an annotation.
pub(crate) fn deployment(
    replica: &Replica<'_>,
    replicas: i32,
    canary: Option<String>,
    observed: Option<&Deployment>,
    frozen: bool,
    settings: &Settings,
) -> Deployment {
    let Replica { owner, version, shard, serving, credentials: _, config: _ } = replica;
    let before = |key: &str| observed.and_then(|observed| annotation_of(observed, key));
    let hash = hash(replica, observed, frozen);
    let same = before(annotation::TEMPLATE_HASH) == Some(hash.as_str());
    let writer = before(annotation::OPERATOR_VERSION).filter(|_| same).unwrap_or(&settings.version);
    let keep = frozen || writer != settings.version;
    let kept = observed.filter(|_| same && keep).and_then(|observed| Some(observed.spec.as_ref()?.template.clone()));
    let image = observed.filter(|_| same).and_then(image_of).unwrap_or(&settings.image);
    let mut metadata = owner.child(serving_name(*owner, version, *shard), serving_labels(*owner, version, *shard));
    let mut annotations = BTreeMap::from([
        (annotation::TEMPLATE_HASH.to_owned(), hash.clone()),
        (annotation::OPERATOR_VERSION.to_owned(), writer.to_owned()),
    ]);
    annotations.extend(canary.map(|canary| (annotation::CANARY.to_owned(), canary)));
    metadata.annotations = Some(annotations);
    Deployment {
        metadata,
        spec: Some(DeploymentSpec {
            replicas: Some(replicas),
            selector: matching(shard_selector(*owner, version, *shard)),
            progress_deadline_seconds: Some(serving.progress_deadline_seconds),
            revision_history_limit: Some(1),
            min_ready_seconds: shard.map(|_| settle(serving.progress_deadline_seconds)),
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(RollingUpdateDeployment {
                    max_surge: Some(IntOrString::Int(1)),
                    max_unavailable: Some(IntOrString::Int(0)),
                }),
            }),
            template: kept.unwrap_or_else(|| template(replica, image, settings)),
            ..DeploymentSpec::default()
        }),
        status: None,
    }
}

/// How long a new replica of a shard answers before one of the old ones ends: until the others have heard of it by its name.
fn settle(progress_deadline: i32) -> i32 {
    PEERS_HEAR_SECONDS.min(progress_deadline - 1)
}

fn annotation_of<'a>(deployment: &'a Deployment, key: &str) -> Option<&'a str> {
    deployment.metadata.annotations.as_ref()?.get(key).map(String::as_str)
}

fn image_of(deployment: &Deployment) -> Option<&String> {
    deployment.spec.as_ref()?.template.spec.as_ref()?.containers.first()?.image.as_ref()
}

fn template(replica: &Replica<'_>, image: &str, settings: &Settings) -> PodTemplateSpec {
    let Replica { owner, version, shard, serving, credentials, config } = replica;
    let drain = format!("{DRAIN_SECONDS}s");
    let configuration = format!("{CONFIG_DIRECTORY}/{SERVE_CONFIG_KEY}");
    let (http, grpc) = (format!("0.0.0.0:{HTTP_PORT}"), format!("0.0.0.0:{GRPC_PORT}"));
    let mut args = vec!["serve", "--serve-config", &configuration, "--http", &http, "--grpc", &grpc];
    args.extend(["--drain-delay", &drain, "--log=info", "--log-json"]);
    let mut mounts = vec![VolumeMount {
        name: "config".to_owned(),
        mount_path: CONFIG_DIRECTORY.to_owned(),
        read_only: Some(true),
        ..VolumeMount::default()
    }];
    let mut volumes = vec![Volume {
        name: "config".to_owned(),
        config_map: Some(ConfigMapVolumeSource { name: (*config).to_owned(), ..ConfigMapVolumeSource::default() }),
        ..Volume::default()
    }];
    let peers = format!("{}-{{shard}}:{GRPC_PORT}", serving_name(*owner, version, None));
    let number = shard.map(|Shard { number, of }| format!("{number}/{of}"));
    if let Some(number) = &number {
        args.extend(["--shard", number, "--peers", &peers]);
    }
    if serving.similar_items || shard.is_some() {
        args.extend(["--items-directory", ITEMS_DIRECTORY]);
        mounts.push(VolumeMount {
            name: "items".to_owned(),
            mount_path: ITEMS_DIRECTORY.to_owned(),
            ..VolumeMount::default()
        });
        volumes.push(Volume {
            name: "items".to_owned(),
            empty_dir: Some(EmptyDirVolumeSource::default()),
            ..Volume::default()
        });
    }
    let spec = PodSpec {
        termination_grace_period_seconds: Some(GRACE_SECONDS),
        containers: vec![Container {
            name: CONTAINER.to_owned(),
            image: Some(image.to_owned()),
            image_pull_policy: Some(settings.image_pull_policy.clone()),
            args: Some(args.into_iter().map(str::to_owned).collect()),
            env_from: pod::environment_from(credentials),
            ports: Some(vec![pod::port("http", HTTP_PORT), pod::port("grpc", GRPC_PORT)]),
            // Loading a large model takes long; the startup probe gives it time, and a fast look at a small one.
            startup_probe: Some(pod::probe("/healthz/live", "http", 1, serving.progress_deadline_seconds)),
            readiness_probe: Some(pod::probe("/healthz/ready", "http", 2, 2)),
            liveness_probe: Some(pod::probe("/healthz/live", "http", 10, 3)),
            resources: Some(pod::resources(&serving.resources)),
            security_context: Some(pod::confined()),
            volume_mounts: Some(mounts),
            ..Container::default()
        }],
        volumes: Some(volumes),
        ..PodSpec::default()
    };
    let labels = serving_labels(*owner, version, *shard);
    pod::template(labels, shard_selector(*owner, version, *shard), &serving.pod_template, spec)
}
