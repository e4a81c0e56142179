//! gRPC: `coterie.v1.Query`, and beside it the Open Inference Protocol and the standard health and reflection services. Only
//! spelling happens here.

mod sets;
mod stream;

use crate::app::App;
use crate::gate::{self, Gate};
use crate::metrics::Protocol;
use crate::oip;
use crate::query::{
    self, ClusterView, Like, Map, MapItem, Matrix, Method, Page, Place, QueryError, Recent, Similar, signed,
};
use crate::reflection;
use crate::shards;
use crate::status;
use coterie_model::items::{ItemIndex, ItemTables};
use coterie_model::{DistancePercentiles, RowId};
use coterie_protocol::query::query_server::{Query, QueryServer};
use coterie_protocol::query::{
    AssignBatchRequest, AssignBatchResponse, AssignRequest, AssignResponse, Assignment, Cluster, GetClusterRequest,
    GetClusterResponse, GetDendrogramRequest, GetDendrogramResponse, GetMapRequest, GetMapResponse, GetModelRequest,
    GetModelResponse, ListClustersRequest, ListClustersResponse, Merge, NearestCluster, NearestClustersRequest,
    NearestClustersResponse, Percentiles, SearchMethod, SimilarItem, SimilarItemsRequest, SimilarItemsResponse,
    get_map_response,
};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::watch;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

/// Room for a request's other fields beside its vectors.
const ENVELOPE_BYTES: usize = 64 << 10;

/// Health of the server as a whole, and of its services.
const HEALTH_NAMES: [&str; 3] = ["", "coterie.v1.Query", "inference.GRPCInferenceService"];

struct Service {
    app: Arc<App>,
    /// Turns true when the server stops.
    stop: watch::Receiver<bool>,
}

/// The services, and the reporter of their health, which says that they serve. Streams end when `stop` turns true, except
/// those of health, for which there is [`end_watches`].
pub(crate) async fn router(app: Arc<App>, stop: watch::Receiver<bool>) -> (axum::Router, HealthReporter) {
    let (health, health_service) = tonic_health::server::health_reporter();
    for name in HEALTH_NAMES {
        health.set_service_status(name, ServingStatus::Serving).await;
    }
    let limit = app.settings.max_body_bytes.saturating_add(ENVELOPE_BYTES);
    let gate = Gate { app: Arc::clone(&app), protocol: Protocol::Grpc };
    let query =
        QueryServer::new(Service { app: Arc::clone(&app), stop: stop.clone() }).max_decoding_message_size(limit);
    let shards = shards::service(Arc::clone(&app)).max_decoding_message_size(limit);
    let inference = oip::grpc::service(app).max_decoding_message_size(limit);
    let routes = Routes::new(health_service).add_service(query).add_service(inference).add_service(shards);
    let router = reflection::add(routes)
        .into_axum_router()
        .layer(axum::middleware::from_fn_with_state(stop, reflection::end_with_server))
        .layer(axum::middleware::from_fn_with_state(gate, gate::pass));
    (router, health)
}

/// Says that nothing is served any more.
pub(crate) async fn withdraw(health: &mut HealthReporter) {
    for name in HEALTH_NAMES {
        health.set_service_status(name, ServingStatus::NotServing).await;
    }
}

/// Ends the streams of those who watch the health, which would otherwise hold up the drain.
pub(crate) async fn end_watches(health: &mut HealthReporter) {
    for name in HEALTH_NAMES {
        health.clear_service_status(name).await;
    }
}

// === impl Service ===

impl Service {
    async fn answer_assign(&self, request: AssignRequest) -> Result<AssignResponse, QueryError> {
        let AssignRequest { vector, model_version, set } = request;
        let served = self.app.served(&model_version)?;
        let matrix = match set {
            Some(set) if vector.is_empty() => {
                Matrix::from_set(served.model(), sets::read_one(&self.app, &served, set).await?)?
            }
            Some(_) => return Err(either("vector or set")),
            None => Matrix::from_vector(served.model(), vector)?,
        };
        let assignments = self.app.assign(&served, matrix, true).await?;
        let assignment = assignments.first().map(|assignment| Assignment {
            cluster: signed(assignment.cluster),
            distance: assignment.distance,
            margin: assignment.margin,
            confidence: assignment.confidence,
        });
        Ok(AssignResponse { assignment, model_version: served.version().to_owned() })
    }

    async fn answer_nearest(&self, request: NearestClustersRequest) -> Result<NearestClustersResponse, QueryError> {
        let NearestClustersRequest { vector, count, model_version, set } = request;
        let served = self.app.served(&model_version)?;
        let vector = match set {
            Some(set) if vector.is_empty() => {
                sets::read_one(&self.app, &served, set).await?.into_vector(served.model())?
            }
            Some(_) => return Err(either("vector or set")),
            None => vector,
        };
        let count = (count != 0).then_some(count);
        let neighbours = self.app.nearest_clusters(&served, vector, count).await?;
        let clusters = neighbours
            .into_iter()
            .map(|neighbour| NearestCluster { cluster: signed(neighbour.cluster), distance: neighbour.distance })
            .collect();
        Ok(NearestClustersResponse { clusters, model_version: served.version().to_owned() })
    }

    async fn answer_similar(&self, request: SimilarItemsRequest) -> Result<SimilarItemsResponse, QueryError> {
        let how = request.method();
        let SimilarItemsRequest { id, vector, count, cluster, method: _, model_version, set } = request;
        let served = self.app.served(&model_version)?;
        let like = match (id.is_empty(), vector.is_empty(), set) {
            (false, true, None) => Like::Item(id),
            (true, false, None) => Like::Vector(vector),
            (true, true, Some(set)) => {
                Like::Vector(sets::read_one(&self.app, &served, set).await?.into_vector(served.model())?)
            }
            _ => return Err(either("id, vector or set")),
        };
        let method = match how {
            SearchMethod::Unspecified => None,
            SearchMethod::Lists => Some(Method::Lists),
            SearchMethod::Tables => Some(Method::Tables),
            SearchMethod::Exact => Some(Method::Exact),
        };
        let question = Similar { like, count: (count != 0).then_some(count), cluster: cluster.map(i64::from), method };
        let (method, items) = self.app.similar(&served, question).await?;
        let method = match method {
            Method::Lists => SearchMethod::Lists,
            Method::Tables => SearchMethod::Tables,
            Method::Exact => SearchMethod::Exact,
        };
        let item = |item: query::SimilarItem| SimilarItem {
            id: id_text(&item.id),
            cluster: signed(item.cluster),
            distance: item.distance,
        };
        Ok(SimilarItemsResponse {
            items: items.into_iter().map(item).collect(),
            method: method.into(),
            model_version: served.version().to_owned(),
        })
    }

    async fn answer_list(&self, request: ListClustersRequest) -> Result<ListClustersResponse, QueryError> {
        let ListClustersRequest { model_version, offset, limit, with_centroids } = request;
        let served = self.app.served(&model_version)?;
        let page = Page { offset, limit: (limit != 0).then_some(limit), centroids: with_centroids };
        let numbers = page.numbers(&served);
        let reply = move || {
            Ok(ListClustersResponse {
                clusters: query::clusters(&served, page, Instant::now())?.into_iter().map(cluster).collect(),
                model_version: served.version().to_owned(),
                total: u32::try_from(served.model().n_clusters()).unwrap_or(u32::MAX),
            })
        };
        self.app.compute.spell(numbers, reply).await?
    }

    fn answer_cluster(&self, request: &GetClusterRequest) -> Result<GetClusterResponse, QueryError> {
        let GetClusterRequest { cluster: id, model_version } = request;
        let served = self.app.served(model_version)?;
        let found = query::cluster(&served, i64::from(*id), Instant::now())?;
        Ok(GetClusterResponse { cluster: Some(cluster(found)), model_version: served.version().to_owned() })
    }

    async fn answer_dendrogram(&self, request: GetDendrogramRequest) -> Result<GetDendrogramResponse, QueryError> {
        let GetDendrogramRequest { groups, model_version } = request;
        let served = self.app.served(&model_version)?;
        let groups = self.app.compute.dendrogram(&served, (groups != 0).then_some(groups)).await?;
        let tree = query::dendrogram(&served)?;
        let merge = |merge: &coterie_algorithms::hierarchical::Merge| Merge {
            left: merge.left,
            right: merge.right,
            height: merge.height,
            size: merge.weight as u64,
        };
        Ok(GetDendrogramResponse {
            merges: tree.merges().iter().map(merge).collect(),
            groups: groups.unwrap_or_default(),
            model_version: served.version().to_owned(),
        })
    }

    async fn answer_map(&self, request: GetMapRequest) -> Result<GetMapResponse, QueryError> {
        let GetMapRequest { items, model_version } = request;
        let served = self.app.served(&model_version)?;
        let Map { explained, clusters, items } = self.app.compute.map(&served, items).await?;
        let item = |MapItem { id, cluster, place: Place { x, y } }| get_map_response::Item {
            id: id_text(&id),
            cluster: signed(cluster),
            x,
            y,
        };
        Ok(GetMapResponse {
            explained,
            cluster_x: clusters.iter().map(|place| place.x).collect(),
            cluster_y: clusters.iter().map(|place| place.y).collect(),
            items: items.into_iter().map(item).collect(),
            model_version: served.version().to_owned(),
        })
    }

    fn answer_model(&self) -> GetModelResponse {
        let served = self.app.hot.get();
        let model = served.model();
        let training = &model.training;
        let metrics = &training.metrics;
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let items = served.items();
        let tables = items.and_then(ItemIndex::tables);
        GetModelResponse {
            name: model.name.clone(),
            version: served.version().to_owned(),
            digest: served.digest().to_owned(),
            algorithm: training.algorithm.clone(),
            metric: query::metric_name(model.metric).to_owned(),
            input_dimension: count(model.input_dimension()),
            clusters: count(model.n_clusters()),
            rows: training.input.rows,
            inertia: metrics.inertia,
            silhouette: metrics.silhouette.unwrap_or_default(),
            has_silhouette: metrics.silhouette.is_some(),
            dimension: count(model.dimension()),
            feature_names: model.feature_names.clone(),
            trained_at: training.trained_at.to_string(),
            iterations: training.iterations,
            converged: training.converged,
            rows_dropped: training.input.dropped,
            davies_bouldin: metrics.davies_bouldin,
            calinski_harabasz: metrics.calinski_harabasz,
            ari: metrics.ari,
            nmi: metrics.nmi,
            items: items.map(ItemIndex::total),
            item_lists: items.map(|items| count(items.breadth().lists)),
            item_tables: items.map(|items| count(items.tables().map_or(0, ItemTables::count))),
            members: served.members().unwrap_or_default().to_owned(),
            item_probes: tables.map(|tables| count(tables.probes())),
            item_recall: tables.map(ItemTables::recall),
        }
    }
}

#[tonic::async_trait]
impl Query for Service {
    async fn assign(&self, request: Request<AssignRequest>) -> Result<Response<AssignResponse>, Status> {
        reply(self.answer_assign(request.into_inner()).await)
    }

    async fn assign_batch(
        &self,
        request: Request<AssignBatchRequest>,
    ) -> Result<Response<AssignBatchResponse>, Status> {
        reply(answer_assign_batch(&self.app, request.into_inner()).await)
    }

    type AssignStreamStream = stream::Answers;

    async fn assign_stream(
        &self,
        request: Request<Streaming<AssignBatchRequest>>,
    ) -> Result<Response<Self::AssignStreamStream>, Status> {
        let answers = stream::answers(Arc::clone(&self.app), request.into_inner(), self.stop.clone());
        Ok(Response::new(answers.map_err(|error| status::grpc(&error))?))
    }

    async fn nearest_clusters(
        &self,
        request: Request<NearestClustersRequest>,
    ) -> Result<Response<NearestClustersResponse>, Status> {
        reply(self.answer_nearest(request.into_inner()).await)
    }

    async fn similar_items(
        &self,
        request: Request<SimilarItemsRequest>,
    ) -> Result<Response<SimilarItemsResponse>, Status> {
        reply(self.answer_similar(request.into_inner()).await)
    }

    async fn list_clusters(
        &self,
        request: Request<ListClustersRequest>,
    ) -> Result<Response<ListClustersResponse>, Status> {
        reply(self.answer_list(request.into_inner()).await)
    }

    async fn get_cluster(&self, request: Request<GetClusterRequest>) -> Result<Response<GetClusterResponse>, Status> {
        reply(self.answer_cluster(request.get_ref()))
    }

    async fn get_dendrogram(
        &self,
        request: Request<GetDendrogramRequest>,
    ) -> Result<Response<GetDendrogramResponse>, Status> {
        reply(self.answer_dendrogram(request.into_inner()).await)
    }

    async fn get_map(&self, request: Request<GetMapRequest>) -> Result<Response<GetMapResponse>, Status> {
        reply(self.answer_map(request.into_inner()).await)
    }

    async fn get_model(&self, _request: Request<GetModelRequest>) -> Result<Response<GetModelResponse>, Status> {
        reply(Ok(self.answer_model()))
    }
}

/// The nearest cluster of each row of a batch.
async fn answer_assign_batch(app: &App, request: AssignBatchRequest) -> Result<AssignBatchResponse, QueryError> {
    let AssignBatchRequest { vectors, model_version, sets } = request;
    let served = app.served(&model_version)?;
    let (model, most) = (served.model(), app.settings.max_rows);
    let matrix = match (vectors, sets.is_empty()) {
        (Some(vectors), true) => Matrix::from_bytes(model, vectors.dimension, vectors.data, most)?,
        (None, false) => {
            let sets = sets::read(app, &served, sets, true).await?;
            Matrix::from_sets(model, sets, most, app.settings.most_values())?
        }
        (None, true) => return Err(QueryError::Empty),
        (Some(_), false) => return Err(either("vectors or sets")),
    };
    let assignments = app.assign(&served, matrix, false).await?;
    Ok(AssignBatchResponse {
        clusters: assignments.iter().map(|assignment| signed(assignment.cluster)).collect(),
        distances: assignments.iter().map(|assignment| assignment.distance).collect(),
        margins: assignments.iter().map(|assignment| assignment.margin).collect(),
        confidences: assignments.iter().map(|assignment| assignment.confidence).collect(),
        model_version: served.version().to_owned(),
    })
}

/// The error about a request that says what it is about in several ways, or in none.
fn either(ways: &str) -> QueryError {
    QueryError::Malformed { what: format!("send either {ways}") }
}

pub(crate) fn reply<T>(answer: Result<T, QueryError>) -> Result<Response<T>, Status> {
    answer.map(Response::new).map_err(|error| status::grpc(&error))
}

fn cluster(view: ClusterView<'_>) -> Cluster {
    let ClusterView { cluster, statistics, recent: Recent { rows, share }, centroid } = view;
    let percentiles = |DistancePercentiles { p50, p90, p95, p99 }| Percentiles { p50, p90, p95, p99 };
    Cluster {
        cluster: signed(cluster),
        size: statistics.size,
        share: statistics.share,
        inertia: statistics.inertia,
        mean_distance: statistics.mean_distance,
        radius: statistics.radius,
        silhouette: statistics.silhouette.unwrap_or_default(),
        has_silhouette: statistics.silhouette.is_some(),
        centroid: centroid.map(<[f32]>::to_vec).unwrap_or_default(),
        exemplars: statistics.exemplars.iter().map(id_text).collect(),
        standard_deviation: statistics.standard_deviation(),
        distance_percentiles: statistics.distance_percentiles.map(percentiles),
        recent_rows: rows,
        recent_share: share,
    }
}

fn id_text(id: &RowId) -> String {
    match id {
        RowId::Int(id) => id.to_string(),
        RowId::Text(id) => id.clone(),
    }
}
