//! The Service that clients ask: the job's name, whatever model version is behind it. And those by which shards find each other.

use std::collections::BTreeMap;

use coterie_crds::names::{annotation, label};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::deployment::{GRPC_PORT, HTTP_PORT};
use super::meta::{Owner, selector, serving_labels, serving_name, serving_selector, shard_selector};
use crate::fleet::Shard;

/// Which pods take the traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Traffic<'a> {
    /// Those of one version.
    One(&'a str),
    /// Those of all versions that have pods, while another takes a share beside this one.
    Beside(&'a str),
}

/// The Service, pointed at pods since a time.
pub(crate) fn service(owner: Owner<'_>, traffic: Traffic<'_>, switched: Option<Timestamp>) -> Service {
    let mut metadata = owner.child(owner.name.to_owned(), owner.labels(label::SERVING));
    let (selector, stable) = match traffic {
        Traffic::One(version) => (serving_selector(owner, version), None),
        Traffic::Beside(stable) => (selector(owner, label::SERVING, &[]), Some(stable)),
    };
    let switched = switched.map(|time| (annotation::SWITCHED_TIME.to_owned(), time.to_string()));
    let stable = stable.map(|version| (annotation::STABLE_VERSION.to_owned(), version.to_owned()));
    let annotations: BTreeMap<_, _> = switched.into_iter().chain(stable).collect();
    metadata.annotations = Some(annotations).filter(|annotations| !annotations.is_empty());
    Service {
        metadata,
        spec: Some(ServiceSpec {
            type_: Some("ClusterIP".to_owned()),
            selector: Some(selector),
            ports: Some(vec![port("http", HTTP_PORT, "http"), port("grpc", GRPC_PORT, "kubernetes.io/h2c")]),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

/// The addresses of the replicas of one shard that are ready, for those of the others.
pub(crate) fn shard_service(owner: Owner<'_>, fleet: &str, shard: Shard) -> Service {
    let shard = Some(shard);
    Service {
        metadata: owner.child(serving_name(owner, fleet, shard), serving_labels(owner, fleet, shard)),
        spec: Some(ServiceSpec {
            cluster_ip: Some("None".to_owned()),
            selector: Some(shard_selector(owner, fleet, shard)),
            ports: Some(vec![port("grpc", GRPC_PORT, "kubernetes.io/h2c")]),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}

fn port(name: &str, number: u16, protocol: &str) -> ServicePort {
    ServicePort {
        name: Some(name.to_owned()),
        port: i32::from(number),
        protocol: Some("TCP".to_owned()),
        app_protocol: Some(protocol.to_owned()),
        target_port: Some(IntOrString::String(name.to_owned())),
        ..ServicePort::default()
    }
}
