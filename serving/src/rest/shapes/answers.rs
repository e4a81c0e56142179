//! Answers to queries, refusals, and what was answered so far.

use crate::query::{Assignment, Neighbour, Served, SimilarItem};
use crate::shadow::Comparison;
use crate::traffic::Traffic;
use serde::ser::{SerializeSeq, SerializeStruct};
use serde::{Serialize, Serializer};

#[derive(Serialize)]
pub(crate) struct ErrorReply<'a> {
    pub(crate) error: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AssignReply<'a> {
    pub(crate) model_version: &'a str,
    #[serde(serialize_with = "each")]
    pub(crate) assignments: &'a [Assignment],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NearestReply<'a> {
    pub(crate) model_version: &'a str,
    #[serde(serialize_with = "each")]
    pub(crate) clusters: &'a [Neighbour],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SimilarReply<'a> {
    pub(crate) model_version: &'a str,
    pub(crate) method: &'static str,
    #[serde(serialize_with = "each")]
    pub(crate) items: &'a [SimilarItem],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TrafficReply {
    model_version: String,
    requests: u64,
    errors: u64,
    latency: LatencyReply,
    #[serde(skip_serializing_if = "Option::is_none")]
    shadow: Option<ShadowReply>,
}

#[derive(Serialize)]
struct LatencyReply {
    seconds: Vec<f64>,
    counts: Vec<u64>,
}

#[derive(Serialize)]
struct ShadowReply {
    version: String,
    rows: u64,
    reassigned: u64,
}

impl TrafficReply {
    pub(crate) fn new(served: &Served, traffic: &Traffic, comparison: Option<Comparison>) -> Self {
        let (requests, errors) = traffic.totals();
        let (seconds, counts) = traffic.times().unzip();
        let shadow =
            comparison.map(|Comparison { version, rows, reassigned }| ShadowReply { version, rows, reassigned });
        let latency = LatencyReply { seconds, counts };
        Self { model_version: served.version().to_owned(), requests, errors, latency, shadow }
    }
}

/// Spells what has a JSON form here but belongs to the domain.
struct Spelt<'a, T>(&'a T);

fn each<'a, T, S>(items: &&'a [T], serializer: S) -> Result<S::Ok, S::Error>
where
    S: Serializer,
    Spelt<'a, T>: Serialize,
{
    let mut sequence = serializer.serialize_seq(Some(items.len()))?;
    for item in *items {
        sequence.serialize_element(&Spelt(item))?;
    }
    sequence.end()
}

impl Serialize for Spelt<'_, Assignment> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Assignment { cluster, distance, margin, confidence } = self.0;
        let mut object = serializer.serialize_struct("Assignment", 4)?;
        object.serialize_field("cluster", cluster)?;
        object.serialize_field("distance", distance)?;
        object.serialize_field("margin", margin)?;
        object.serialize_field("confidence", confidence)?;
        object.end()
    }
}

impl Serialize for Spelt<'_, Neighbour> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Neighbour { cluster, distance } = self.0;
        let mut object = serializer.serialize_struct("Neighbour", 2)?;
        object.serialize_field("cluster", cluster)?;
        object.serialize_field("distance", distance)?;
        object.end()
    }
}

impl Serialize for Spelt<'_, SimilarItem> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let SimilarItem { id, cluster, distance } = self.0;
        let mut object = serializer.serialize_struct("SimilarItem", 3)?;
        object.serialize_field("id", id)?;
        object.serialize_field("cluster", cluster)?;
        object.serialize_field("distance", distance)?;
        object.end()
    }
}
