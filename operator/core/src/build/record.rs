//! The record of a run: an immutable ConfigMap that is created before everything else of the run and deleted after it. It holds the run's
//! configuration, so a run goes on with what it began with whatever happens to the spec.

use std::collections::BTreeMap;

use coterie_crds::names::{annotation, label};
use coterie_crds::run::{RUN_CONFIG_KEY, RunConfig};
use coterie_crds::status::Trigger;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;

use super::meta::Owner;

/// What a record holds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Record {
    pub(crate) number: i64,
    pub(crate) trigger: Trigger,
    pub(crate) training_hash: String,
    pub(crate) retrain_token: Option<String>,
    pub(crate) scheduled_time: Option<Timestamp>,
    pub(crate) config: RunConfig,
}

/// The record as an object.
pub(crate) fn record(owner: Owner<'_>, name: &str, record: &Record) -> ConfigMap {
    let Record { number, trigger, training_hash, retrain_token, scheduled_time, config } = record;
    let mut labels = owner.labels(label::TRAINING);
    labels.insert(label::RUN.to_owned(), number.to_string());
    let mut annotations = BTreeMap::from([
        (annotation::TRAINING_HASH.to_owned(), training_hash.clone()),
        (annotation::TRIGGER.to_owned(), trigger_name(*trigger).to_owned()),
    ]);
    annotations.extend(retrain_token.clone().map(|token| (annotation::RETRAIN_TOKEN.to_owned(), token)));
    annotations.extend(scheduled_time.map(|time| (annotation::SCHEDULED_TIME.to_owned(), time.to_string())));
    let mut metadata = owner.child(name.to_owned(), labels);
    metadata.annotations = Some(annotations);
    ConfigMap {
        metadata,
        data: Some(BTreeMap::from([(
            RUN_CONFIG_KEY.to_owned(),
            serde_json::to_string_pretty(config).unwrap_or_default(),
        )])),
        immutable: Some(true),
        binary_data: None,
    }
}

impl Record {
    /// Reads a record; `None` when somebody else wrote it.
    pub(crate) fn read(object: &ConfigMap) -> Option<Self> {
        let labels = object.metadata.labels.as_ref()?;
        let annotations = object.metadata.annotations.as_ref()?;
        Some(Self {
            number: labels.get(label::RUN)?.parse().ok()?,
            trigger: trigger_named(annotations.get(annotation::TRIGGER)?)?,
            training_hash: annotations.get(annotation::TRAINING_HASH)?.clone(),
            retrain_token: annotations.get(annotation::RETRAIN_TOKEN).cloned(),
            scheduled_time: annotations.get(annotation::SCHEDULED_TIME).and_then(|time| time.parse().ok()),
            config: serde_json::from_str(object.data.as_ref()?.get(RUN_CONFIG_KEY)?).ok()?,
        })
    }
}

const TRIGGERS: [(Trigger, &str); 5] = [
    (Trigger::Created, "Created"),
    (Trigger::SpecChanged, "SpecChanged"),
    (Trigger::RetrainToken, "RetrainToken"),
    (Trigger::Schedule, "Schedule"),
    (Trigger::ResultLost, "ResultLost"),
];

fn trigger_name(trigger: Trigger) -> &'static str {
    TRIGGERS.iter().find(|(known, _)| *known == trigger).map_or("", |(_, name)| name)
}

fn trigger_named(name: &str) -> Option<Trigger> {
    TRIGGERS.iter().find(|(_, known)| *known == name).map(|(trigger, _)| *trigger)
}
