//! The Service that clients ask: the job's name, whatever model version is behind it.

use std::collections::BTreeMap;

use coterie_crds::names::{annotation, label};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::deployment::{GRPC_PORT, HTTP_PORT};
use super::meta::{Owner, serving_selector};

/// The Service, pointed at a version since a time.
pub(crate) fn service(owner: Owner<'_>, version: &str, switched: Option<Timestamp>) -> Service {
    let port = |name: &str, number: u16, protocol: &str| ServicePort {
        name: Some(name.to_owned()),
        port: i32::from(number),
        protocol: Some("TCP".to_owned()),
        app_protocol: Some(protocol.to_owned()),
        target_port: Some(IntOrString::String(name.to_owned())),
        ..ServicePort::default()
    };
    let mut metadata = owner.child(owner.name.to_owned(), owner.labels(label::SERVING));
    metadata.annotations =
        switched.map(|time| BTreeMap::from([(annotation::SWITCHED_TIME.to_owned(), time.to_string())]));
    Service {
        metadata,
        spec: Some(ServiceSpec {
            type_: Some("ClusterIP".to_owned()),
            selector: Some(serving_selector(owner, version)),
            ports: Some(vec![port("http", HTTP_PORT, "http"), port("grpc", GRPC_PORT, "kubernetes.io/h2c")]),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}
