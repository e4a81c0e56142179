//! The JSON of requests and answers. `openapi.json` describes the same shapes.

use super::members::{ManySets, OneSet};
use super::numbers::{Row, Rows};
use crate::query::{
    self, Assignment, ClusterView, Map, MapItem, Method, Neighbour, Place, Recent, Served, SimilarItem,
};
use crate::shadow::Comparison;
use crate::traffic::Traffic;
use coterie_algorithms::hierarchical::{Dendrogram, Merge};
use coterie_algorithms::members::Members;
use coterie_model::items::ItemTables;
use coterie_model::{DistancePercentiles, Metrics, RowId};
use serde::ser::{SerializeSeq, SerializeStruct};
use serde::{Deserialize, Serialize, Serializer};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct AssignBody {
    pub(crate) vector: Option<Row>,
    pub(crate) vectors: Option<Rows>,
    pub(crate) set: Option<OneSet>,
    pub(crate) sets: Option<ManySets>,
    pub(crate) model_version: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct NearestBody {
    pub(crate) vector: Option<Row>,
    pub(crate) set: Option<OneSet>,
    pub(crate) count: Option<u32>,
    pub(crate) model_version: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct SimilarBody {
    pub(crate) id: Option<Id>,
    pub(crate) vector: Option<Row>,
    pub(crate) set: Option<OneSet>,
    pub(crate) count: Option<u32>,
    pub(crate) cluster: Option<i64>,
    pub(crate) method: Option<MethodName>,
    pub(crate) model_version: Option<String>,
}

/// An item's id, as a number or a text.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Id {
    Int(i64),
    Text(String),
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) enum MethodName {
    Lists,
    Tables,
    Exact,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ListQuery {
    #[serde(default)]
    pub(crate) offset: u32,
    pub(crate) limit: Option<u32>,
    #[serde(default)]
    pub(crate) centroids: bool,
    pub(crate) model_version: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct VersionQuery {
    pub(crate) model_version: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct DendrogramQuery {
    pub(crate) groups: Option<u32>,
    pub(crate) model_version: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct MapQuery {
    pub(crate) items: Option<u32>,
    pub(crate) model_version: Option<String>,
}

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

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ClustersReply<'a> {
    pub(crate) model_version: &'a str,
    pub(crate) total: usize,
    pub(crate) clusters: Vec<ClusterReply<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ClusterReply<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    model_version: Option<&'a str>,
    cluster: u32,
    size: u64,
    share: f64,
    inertia: f64,
    mean_distance: f64,
    standard_deviation: f64,
    radius: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    distance_percentiles: Option<DistancePercentiles>,
    #[serde(skip_serializing_if = "Option::is_none")]
    silhouette: Option<f64>,
    exemplars: &'a [RowId],
    recent: RecentReply,
    #[serde(skip_serializing_if = "Option::is_none")]
    centroid: Option<&'a [f32]>,
}

/// What a cluster got of late.
#[derive(Serialize)]
struct RecentReply {
    rows: u64,
    share: f64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DendrogramReply<'a> {
    model_version: &'a str,
    linkage: &'static str,
    clusters: usize,
    merges: Vec<MergeReply>,
    #[serde(skip_serializing_if = "Option::is_none")]
    groups: Option<&'a [u32]>,
}

#[derive(Serialize)]
struct MergeReply {
    left: u32,
    right: u32,
    height: f64,
    size: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MapReply<'a> {
    model_version: &'a str,
    method: &'static str,
    explained: &'a [f64],
    clusters: Vec<MapClusterReply>,
    items: Vec<MapItemReply<'a>>,
}

#[derive(Serialize)]
struct MapClusterReply {
    cluster: u32,
    size: u64,
    x: f32,
    y: f32,
}

#[derive(Serialize)]
struct MapItemReply<'a> {
    id: &'a RowId,
    cluster: u32,
    x: f32,
    y: f32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ModelReply<'a> {
    name: &'a str,
    model_version: &'a str,
    digest: &'a str,
    algorithm: &'a str,
    metric: &'a str,
    input_dimension: usize,
    feature_names: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    members: Option<Members>,
    dimension: usize,
    clusters: usize,
    rows: u64,
    rows_dropped: u64,
    iterations: u32,
    converged: bool,
    trained_at: String,
    metrics: &'a Metrics,
    #[serde(skip_serializing_if = "Option::is_none")]
    items: Option<ItemsReply>,
}

/// The items of a model, and how they are found.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ItemsReply {
    count: u64,
    /// Most lists looked into.
    lists: usize,
    /// Hash tables; 0 where there are none.
    tables: usize,
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

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Int(id) => id.fmt(f),
            Self::Text(id) => f.write_str(id),
        }
    }
}

impl MethodName {
    pub(crate) fn method(self) -> Method {
        match self {
            Self::Lists => Method::Lists,
            Self::Tables => Method::Tables,
            Self::Exact => Method::Exact,
        }
    }
}

impl<'a> ClusterReply<'a> {
    /// Names the version, where the cluster is the whole answer.
    pub(crate) fn with_version(self, version: &'a str) -> Self {
        Self { model_version: Some(version), ..self }
    }
}

impl<'a> From<ClusterView<'a>> for ClusterReply<'a> {
    fn from(view: ClusterView<'a>) -> Self {
        let ClusterView { cluster, statistics, recent: Recent { rows, share }, centroid } = view;
        Self {
            model_version: None,
            cluster,
            size: statistics.size,
            share: statistics.share,
            inertia: statistics.inertia,
            mean_distance: statistics.mean_distance,
            standard_deviation: statistics.standard_deviation(),
            radius: statistics.radius,
            distance_percentiles: statistics.distance_percentiles,
            silhouette: statistics.silhouette,
            exemplars: &statistics.exemplars,
            recent: RecentReply { rows, share },
            centroid,
        }
    }
}

impl<'a> DendrogramReply<'a> {
    pub(crate) fn new(model_version: &'a str, tree: &Dendrogram, groups: Option<&'a [u32]>) -> Self {
        let merge = |merge: &Merge| MergeReply {
            left: merge.left,
            right: merge.right,
            height: merge.height,
            size: merge.weight as u64,
        };
        let merges = tree.merges().iter().map(merge).collect();
        Self { model_version, linkage: "Ward", clusters: tree.leaves(), merges, groups }
    }
}

impl<'a> MapReply<'a> {
    pub(crate) fn new(served: &'a Served, map: &'a Map) -> Self {
        let clusters = (0..).zip(&map.clusters).zip(&served.model().clusters);
        Self {
            model_version: served.version(),
            method: "PCA",
            explained: &map.explained,
            clusters: clusters
                .map(|((cluster, &Place { x, y }), statistics)| MapClusterReply {
                    cluster,
                    size: statistics.size,
                    x,
                    y,
                })
                .collect(),
            items: map
                .items
                .iter()
                .map(|MapItem { id, cluster, place: Place { x, y } }| MapItemReply {
                    id,
                    cluster: *cluster,
                    x: *x,
                    y: *y,
                })
                .collect(),
        }
    }
}

impl<'a> ModelReply<'a> {
    pub(crate) fn new(served: &'a Served) -> Self {
        let model = served.model();
        let training = &model.training;
        Self {
            name: &model.name,
            model_version: served.version(),
            digest: served.digest(),
            algorithm: &training.algorithm,
            metric: query::metric_name(model.metric),
            input_dimension: model.input_dimension(),
            feature_names: &model.feature_names,
            members: model.members,
            dimension: model.dimension(),
            clusters: model.n_clusters(),
            rows: training.input.rows,
            rows_dropped: training.input.dropped,
            iterations: training.iterations,
            converged: training.converged,
            trained_at: training.trained_at.to_string(),
            metrics: &training.metrics,
            items: served.items().map(|items| ItemsReply {
                count: items.total(),
                lists: items.breadth().lists,
                tables: items.tables().map_or(0, ItemTables::count),
            }),
        }
    }
}
