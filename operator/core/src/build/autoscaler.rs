//! The autoscaler of a version's replicas.

use std::collections::BTreeMap;

use coterie_crds::names::label;
use coterie_crds::spec::Autoscaling;
use k8s_openapi::api::autoscaling::v2::{
    CrossVersionObjectReference, HorizontalPodAutoscaler, HorizontalPodAutoscalerSpec, MetricSpec, MetricTarget,
    ResourceMetricSource,
};

use super::meta::Owner;

/// Follows the CPU use of the Deployment of a version.
pub(crate) fn autoscaler(owner: Owner<'_>, version: &str, bounds: &Autoscaling) -> HorizontalPodAutoscaler {
    let Autoscaling { min_replicas, max_replicas, target_cpu_percent } = bounds;
    let name = format!("{}-{version}", owner.name);
    let mut labels: BTreeMap<_, _> = owner.labels(label::SERVING);
    labels.insert(label::MODEL_VERSION.to_owned(), version.to_owned());
    HorizontalPodAutoscaler {
        metadata: owner.child(name.clone(), labels),
        spec: Some(HorizontalPodAutoscalerSpec {
            min_replicas: Some(*min_replicas),
            max_replicas: *max_replicas,
            scale_target_ref: CrossVersionObjectReference {
                api_version: Some("apps/v1".to_owned()),
                kind: "Deployment".to_owned(),
                name,
            },
            metrics: Some(vec![MetricSpec {
                type_: "Resource".to_owned(),
                resource: Some(ResourceMetricSource {
                    name: "cpu".to_owned(),
                    target: MetricTarget {
                        type_: "Utilization".to_owned(),
                        average_utilization: Some(*target_cpu_percent),
                        ..MetricTarget::default()
                    },
                }),
                ..MetricSpec::default()
            }]),
            behavior: None,
        }),
        status: None,
    }
}
