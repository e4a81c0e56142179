//! The model and its clusters, as they are shown.

use crate::query::{self, ClusterView, Map, MapItem, Place, Recent, Served};
use coterie_algorithms::hierarchical::{Dendrogram, Merge};
use coterie_model::items::ItemTables;
use coterie_model::{DistancePercentiles, Metrics, RowId};
use serde::Serialize;

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
    members: Option<&'static str>,
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
    /// Buckets of them that a query looks into.
    #[serde(skip_serializing_if = "Option::is_none")]
    probes: Option<usize>,
    /// Share of the ten nearest that they find, on a sample.
    #[serde(skip_serializing_if = "Option::is_none")]
    recall: Option<f64>,
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
            members: served.members(),
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
                probes: items.tables().map(ItemTables::probes),
                recall: items.tables().map(ItemTables::recall),
            }),
        }
    }
}
