//! Who may talk to the pods, and how many of them may be away at once.

use coterie_crds::names::label;
use coterie_crds::run::{COORDINATION_PORT, RELAY_PORT, STATUS_PORT};
use k8s_openapi::api::{
    networking::v1::{
        NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
    },
    policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::deployment::{GRPC_PORT, HTTP_PORT};
use super::meta::{Owner, matching, selector};

/// Nodes are drained one serving pod at a time.
pub(crate) fn disruption_budget(owner: Owner<'_>) -> PodDisruptionBudget {
    PodDisruptionBudget {
        metadata: owner.child(owner.name.to_owned(), owner.labels(label::SERVING)),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(matching(selector(owner, label::SERVING, &[]))),
            ..PodDisruptionBudgetSpec::default()
        }),
        status: None,
    }
}

/// Training pods are asked for their status by anyone and coordinate among themselves only. They may call out: stores are anywhere.
pub(crate) fn training_policy(owner: Owner<'_>) -> NetworkPolicy {
    let own = NetworkPolicyPeer {
        pod_selector: Some(matching(selector(owner, label::TRAINING, &[]))),
        ..NetworkPolicyPeer::default()
    };
    let rules = vec![
        NetworkPolicyIngressRule {
            from: Some(vec![own]),
            ports: Some(vec![port(COORDINATION_PORT), port(RELAY_PORT)]),
        },
        NetworkPolicyIngressRule { from: None, ports: Some(vec![port(STATUS_PORT)]) },
    ];
    policy(owner, label::TRAINING, rules)
}

/// Serving pods answer anyone on their two ports.
pub(crate) fn serving_policy(owner: Owner<'_>) -> NetworkPolicy {
    let rule = NetworkPolicyIngressRule { from: None, ports: Some(vec![port(HTTP_PORT), port(GRPC_PORT)]) };
    policy(owner, label::SERVING, vec![rule])
}

fn policy(owner: Owner<'_>, component: &str, ingress: Vec<NetworkPolicyIngressRule>) -> NetworkPolicy {
    NetworkPolicy {
        metadata: owner.child(format!("{}-{component}", owner.name), owner.labels(component)),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(matching(selector(owner, component, &[]))),
            policy_types: Some(vec!["Ingress".to_owned()]),
            ingress: Some(ingress),
            egress: None,
        }),
    }
}

fn port(number: u16) -> NetworkPolicyPort {
    NetworkPolicyPort {
        port: Some(IntOrString::Int(i32::from(number))),
        protocol: Some("TCP".to_owned()),
        end_port: None,
    }
}
