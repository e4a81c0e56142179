//! What training and serving pods have in common: isolation, credentials, place.

use std::collections::BTreeMap;

use coterie_crds::spec::{PodTemplate, Resources, TaintEffect, TolerationOperator};
use k8s_openapi::api::core::v1::{
    Capabilities, ContainerPort, EnvFromSource, HTTPGetAction, LocalObjectReference, PodSecurityContext, PodSpec,
    PodTemplateSpec, Probe, ResourceRequirements, SeccompProfile, SecretEnvSource, SecurityContext, Toleration,
    TopologySpreadConstraint,
};
use k8s_openapi::apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::ObjectMeta, util::intstr::IntOrString};

use super::meta::matching;

/// The user in the image.
const USER: i64 = 65532;

const DEFAULT_CPU: &str = "500m";
const DEFAULT_MEMORY: &str = "1Gi";

/// A pod template under the restricted Pod Security Standard, with what the user says of its pods. `spec` holds the rest.
pub(crate) fn template(
    labels: BTreeMap<String, String>,
    spread_over: BTreeMap<String, String>,
    user: &PodTemplate,
    spec: PodSpec,
) -> PodTemplateSpec {
    let PodTemplate {
        labels: user_labels,
        annotations,
        node_selector,
        tolerations,
        service_account_name,
        image_pull_secrets,
        priority_class_name,
    } = user;
    let mut all_labels = user_labels.clone();
    all_labels.extend(labels);
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(all_labels),
            annotations: some(annotations),
            ..ObjectMeta::default()
        }),
        spec: Some(PodSpec {
            automount_service_account_token: Some(false),
            enable_service_links: Some(false),
            security_context: Some(PodSecurityContext {
                run_as_non_root: Some(true),
                run_as_user: Some(USER),
                run_as_group: Some(USER),
                fs_group: Some(USER),
                seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), localhost_profile: None }),
                ..PodSecurityContext::default()
            }),
            node_selector: some(node_selector),
            tolerations: (!tolerations.is_empty()).then(|| tolerations.iter().map(toleration).collect()),
            service_account_name: service_account_name.clone(),
            image_pull_secrets: (!image_pull_secrets.is_empty())
                .then(|| image_pull_secrets.iter().map(|name| LocalObjectReference { name: name.clone() }).collect()),
            priority_class_name: priority_class_name.clone(),
            topology_spread_constraints: Some(vec![TopologySpreadConstraint {
                max_skew: 1,
                topology_key: "kubernetes.io/hostname".to_owned(),
                when_unsatisfiable: "ScheduleAnyway".to_owned(),
                label_selector: Some(matching(spread_over)),
                ..TopologySpreadConstraint::default()
            }]),
            ..spec
        }),
    }
}

fn some(map: &BTreeMap<String, String>) -> Option<BTreeMap<String, String>> {
    (!map.is_empty()).then(|| map.clone())
}

fn toleration(user: &coterie_crds::spec::Toleration) -> Toleration {
    Toleration {
        key: user.key.clone(),
        operator: Some(
            match user.operator {
                TolerationOperator::Equal => "Equal",
                TolerationOperator::Exists => "Exists",
            }
            .to_owned(),
        ),
        value: user.value.clone(),
        effect: user.effect.map(|effect| {
            match effect {
                TaintEffect::NoSchedule => "NoSchedule",
                TaintEffect::PreferNoSchedule => "PreferNoSchedule",
                TaintEffect::NoExecute => "NoExecute",
            }
            .to_owned()
        }),
        toleration_seconds: None,
    }
}

/// A container that may do nothing but compute, talk, and write to its volumes.
pub(crate) fn confined() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        read_only_root_filesystem: Some(true),
        capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
        ..SecurityContext::default()
    }
}

/// Requests and limits. Memory is limited to what is asked for; processors only where the user says so.
pub(crate) fn resources(user: &Resources) -> ResourceRequirements {
    let Resources { cpu, cpu_limit, memory } = user;
    let memory = Quantity(memory.clone().unwrap_or_else(|| DEFAULT_MEMORY.to_owned()));
    let cpu = Quantity(cpu.clone().unwrap_or_else(|| DEFAULT_CPU.to_owned()));
    let mut limits = BTreeMap::from([("memory".to_owned(), memory.clone())]);
    limits.extend(cpu_limit.clone().map(|limit| ("cpu".to_owned(), Quantity(limit))));
    ResourceRequirements {
        requests: Some(BTreeMap::from([("cpu".to_owned(), cpu), ("memory".to_owned(), memory)])),
        limits: Some(limits),
        claims: None,
    }
}

/// Credentials as environment variables.
pub(crate) fn environment_from(secrets: &[&str]) -> Option<Vec<EnvFromSource>> {
    (!secrets.is_empty()).then(|| {
        secrets
            .iter()
            .map(|name| EnvFromSource {
                secret_ref: Some(SecretEnvSource { name: (*name).to_owned(), optional: None }),
                ..EnvFromSource::default()
            })
            .collect()
    })
}

pub(crate) fn port(name: &str, number: u16) -> ContainerPort {
    ContainerPort {
        name: Some(name.to_owned()),
        container_port: i32::from(number),
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    }
}

/// Asks over HTTP every `period` seconds; `failures` in a row count.
pub(crate) fn probe(path: &str, port: &str, period: i32, failures: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String(port.to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period),
        timeout_seconds: Some(5),
        failure_threshold: Some(failures),
        ..Probe::default()
    }
}
