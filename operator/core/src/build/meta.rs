//! Metadata that all children share.

use std::collections::BTreeMap;

use coterie_crds::names::{MANAGER, label};
use coterie_crds::{API_VERSION, ClusteringJob, KIND};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};

use crate::fleet::Shard;

/// The job that children belong to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Owner<'a> {
    pub(crate) name: &'a str,
    pub(crate) namespace: &'a str,
    pub(crate) uid: &'a str,
}

impl<'a> Owner<'a> {
    pub(crate) fn of(job: &'a ClusteringJob) -> Self {
        Self {
            name: job.metadata.name.as_deref().unwrap_or_default(),
            namespace: job.metadata.namespace.as_deref().unwrap_or_default(),
            uid: job.metadata.uid.as_deref().unwrap_or_default(),
        }
    }

    /// Tells this job from an earlier one of the same name.
    pub(crate) fn short_uid(&self) -> String {
        self.uid.chars().take(8).collect()
    }

    /// Labels of a child for this purpose.
    pub(crate) fn labels(&self, component: &str) -> BTreeMap<String, String> {
        let labels = [
            (label::NAME, "coterie"),
            (label::MANAGED_BY, MANAGER),
            (label::COMPONENT, component),
            (label::JOB, self.name),
        ];
        labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    /// Metadata of a child, to be collected with its owner.
    pub(crate) fn child(&self, name: String, labels: BTreeMap<String, String>) -> ObjectMeta {
        ObjectMeta {
            name: Some(name),
            namespace: Some(self.namespace.to_owned()),
            labels: Some(labels),
            owner_references: Some(vec![OwnerReference {
                api_version: API_VERSION.to_owned(),
                kind: KIND.to_owned(),
                name: self.name.to_owned(),
                uid: self.uid.to_owned(),
                controller: Some(true),
                block_owner_deletion: Some(true),
            }]),
            ..ObjectMeta::default()
        }
    }
}

/// The pods of one purpose, narrowed by more labels.
pub(crate) fn selector(owner: Owner<'_>, component: &str, more: &[(&str, &str)]) -> BTreeMap<String, String> {
    let labels = [(label::JOB, owner.name), (label::COMPONENT, component)];
    labels.iter().chain(more).map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// The serving pods of one fleet.
pub(crate) fn serving_selector(owner: Owner<'_>, fleet: &str) -> BTreeMap<String, String> {
    selector(owner, label::SERVING, &[(label::MODEL_VERSION, fleet)])
}

/// Labels of what belongs to a fleet, or to one shard of it.
pub(crate) fn serving_labels(owner: Owner<'_>, fleet: &str, shard: Option<Shard>) -> BTreeMap<String, String> {
    let mut labels = owner.labels(label::SERVING);
    labels.insert(label::MODEL_VERSION.to_owned(), fleet.to_owned());
    labels.extend(shard.map(shard_label));
    labels
}

/// The serving pods of a fleet, or of one shard of it.
pub(crate) fn shard_selector(owner: Owner<'_>, fleet: &str, shard: Option<Shard>) -> BTreeMap<String, String> {
    serving_selector(owner, fleet).into_iter().chain(shard.map(shard_label)).collect()
}

/// The name of what belongs to a fleet, or to one shard of it.
pub(crate) fn serving_name(owner: Owner<'_>, fleet: &str, shard: Option<Shard>) -> String {
    let number = shard.map_or_else(String::new, |shard| format!("-{}", shard.number));
    format!("{}-{fleet}{number}", owner.name)
}

fn shard_label(shard: Shard) -> (String, String) {
    (label::SHARD.to_owned(), shard.number.to_string())
}

/// As Kubernetes wants it in most places.
pub(crate) fn matching(labels: BTreeMap<String, String>) -> LabelSelector {
    LabelSelector { match_labels: Some(labels), ..LabelSelector::default() }
}
