//! REST: JSON over HTTP/1.1, health, metrics. Only spelling happens here.
//!
//! Every error is `{"error": "..."}`. `POST /v1/assign` takes one vector or set, or several, and answers in the same shape for all:
//! `assignments` has one entry per vector or set.

mod arrow;
pub(crate) mod body;
mod members;
mod numbers;
mod shapes;

use crate::app::App;
use crate::gate::{self, Gate};
use crate::metrics::{self, Protocol};
use crate::oip;
use crate::query::{self, Like, Matrix, Page, QueryError, Similar};
use crate::status;
use axum::Router;
use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
pub(crate) use numbers::{Append, MOST_ROWS, Rows};
use serde::Serialize;
use shapes::{
    AssignBody, AssignReply, ClusterReply, ClustersReply, DendrogramQuery, DendrogramReply, ErrorReply, ListQuery,
    MapQuery, MapReply, MethodName, ModelReply, NearestBody, NearestReply, SimilarBody, SimilarReply, TrafficReply,
    VersionQuery,
};
use std::sync::Arc;
use std::time::Instant;

/// The description of these endpoints.
const OPENAPI: &str = include_str!("../openapi.json");

/// An error on its way out.
pub(crate) struct Refusal(QueryError);

pub(crate) type Reply = Result<Response, Refusal>;

/// All endpoints.
pub(crate) fn router(app: Arc<App>) -> Router {
    let gate = Gate { app: Arc::clone(&app), protocol: Protocol::Http };
    Router::new()
        .route("/v1/assign", post(assign))
        .route("/v1/nearest-clusters", post(nearest_clusters))
        .route("/v1/similar-items", post(similar_items))
        .route("/v1/clusters", get(list_clusters))
        .route("/v1/clusters/{id}", get(get_cluster))
        .route("/v1/dendrogram", get(get_dendrogram))
        .route("/v1/map", get(get_map))
        .route("/v1/model", get(get_model))
        .route("/healthz/live", get(live))
        .route("/healthz/ready", get(ready))
        .route("/metrics", get(scrape))
        .route("/v1/traffic", get(traffic))
        .route("/openapi.json", get(openapi))
        .merge(oip::rest::routes())
        .fallback(no_such_endpoint)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(axum::middleware::from_fn_with_state(gate, gate::pass))
        .with_state(app)
}

/// `error` as a response.
pub(crate) fn refuse(error: &QueryError) -> Response {
    let (status, _) = status::codes(error);
    let text = status::text(error);
    let mut response = match spell(&ErrorReply { error: &text }) {
        Ok(body) => json(body),
        Err(_) => Response::new(Body::empty()),
    };
    *response.status_mut() = status;
    if status == StatusCode::TOO_MANY_REQUESTS {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

async fn assign(State(app): State<Arc<App>>, request: Request) -> Reply {
    let media = request.headers().get(header::CONTENT_TYPE);
    if media.is_some_and(|media| media.as_bytes().eq_ignore_ascii_case(arrow::MEDIA_TYPE.as_bytes())) {
        return assign_columns(&app, request).await;
    }
    let body: AssignBody = body::parse(&app, request).await?;
    let AssignBody { vector, vectors, set, sets, model_version } = body;
    let served = app.served(model_version.as_deref().unwrap_or_default())?;
    let (model, most) = (served.model(), app.settings.max_rows);
    let (matrix, lone) = match (vector, vectors, set, sets) {
        (Some(vector), None, None, None) => (Matrix::from_vector(model, vector.0)?, true),
        (None, Some(vectors), None, None) => (Matrix::from_rows(model, vectors.values, &vectors.ends, most)?, false),
        (None, None, Some(set), None) => {
            (Matrix::from_set(model, app.compute.named(&served, set.0, false).await?)?, true)
        }
        (None, None, None, Some(sets)) => {
            let sets = app.compute.named(&served, sets.0, true).await?;
            (Matrix::from_sets(model, sets, most, app.settings.most_values())?, false)
        }
        _ => {
            return Err(one_of(
                "\"vector\": [...], \"vectors\": [[...], ...], \"set\": [...] or \"sets\": [[...], ...]",
            ));
        }
    };
    let rows = matrix.rows();
    let assignments = app.assign(&served, matrix, lone).await?;
    let reply = move || spell(&AssignReply { model_version: served.version(), assignments: &assignments });
    Ok(json(app.compute.spell(rows, reply).await??))
}

/// As [`assign`], of an Arrow stream and with one; the model version may be named in the query.
async fn assign_columns(app: &Arc<App>, request: Request) -> Reply {
    let VersionQuery { model_version } = parameter(Query::try_from_uri(request.uri()))?;
    let served = app.served(model_version.as_deref().unwrap_or_default())?;
    let bytes = body::read(app, request).await?;
    let (model, most) = (Arc::clone(&served), app.settings.max_rows);
    let matrix = body::digest(app, bytes, move |bytes| arrow::decode(model.model(), bytes, most)).await?;
    let rows = matrix.rows();
    let assignments = app.assign(&served, matrix, false).await?;
    let reply = move || arrow::encode(served.version(), &assignments);
    let body = app.compute.spell(rows, reply).await??;
    Ok(([(header::CONTENT_TYPE, arrow::MEDIA_TYPE)], body).into_response())
}

async fn nearest_clusters(State(app): State<Arc<App>>, request: Request) -> Reply {
    let NearestBody { vector, set, count, model_version } = body::parse(&app, request).await?;
    let served = app.served(model_version.as_deref().unwrap_or_default())?;
    let vector = match (vector, set) {
        (Some(vector), None) => vector.0,
        (None, Some(set)) => app.compute.named(&served, set.0, false).await?.into_vector(served.model())?,
        (None, None) | (Some(_), Some(_)) => return Err(one_of("\"vector\": [...] or \"set\": [...]")),
    };
    let neighbours = app.nearest_clusters(&served, vector, count).await?;
    Ok(json(spell(&NearestReply { model_version: served.version(), clusters: &neighbours })?))
}

async fn similar_items(State(app): State<Arc<App>>, request: Request) -> Reply {
    let SimilarBody { id, vector, set, count, cluster, method, model_version } = body::parse(&app, request).await?;
    let served = app.served(model_version.as_deref().unwrap_or_default())?;
    let like = match (id, vector, set) {
        (Some(id), None, None) => Like::Item(id.to_string()),
        (None, Some(vector), None) => Like::Vector(vector.0),
        (None, None, Some(set)) => {
            Like::Vector(app.compute.named(&served, set.0, false).await?.into_vector(served.model())?)
        }
        _ => return Err(one_of("\"id\": an item, \"vector\": [...] or \"set\": [...]")),
    };
    let question = Similar { like, count, cluster, method: method.map(MethodName::method) };
    let (method, items) = app.similar(&served, question).await?;
    Ok(json(spell(&SimilarReply { model_version: served.version(), method: method.name(), items: &items })?))
}

async fn list_clusters(State(app): State<Arc<App>>, parameters: Result<Query<ListQuery>, QueryRejection>) -> Reply {
    let ListQuery { offset, limit, centroids, model_version } = parameter(parameters)?;
    let served = app.served(model_version.as_deref().unwrap_or_default())?;
    let page = Page { offset, limit, centroids };
    let reply = {
        let served = Arc::clone(&served);
        move || {
            let clusters = query::clusters(&served, page, Instant::now())?;
            spell(&ClustersReply {
                model_version: served.version(),
                total: served.model().n_clusters(),
                clusters: clusters.into_iter().map(ClusterReply::from).collect(),
            })
        }
    };
    Ok(json(app.compute.spell(page.numbers(&served), reply).await??))
}

async fn get_cluster(
    State(app): State<Arc<App>>,
    id: Result<Path<String>, PathRejection>,
    parameters: Result<Query<VersionQuery>, QueryRejection>,
) -> Reply {
    let VersionQuery { model_version } = parameter(parameters)?;
    let served = app.served(model_version.as_deref().unwrap_or_default())?;
    let Path(id) = id.map_err(|rejection| QueryError::Malformed { what: rejection.body_text() })?;
    let id: i64 = id.parse().map_err(|_| {
        let most = served.model().n_clusters().saturating_sub(1);
        QueryError::Malformed { what: format!("cluster must be a number from 0 to {most}, found {id:?}") }
    })?;
    let view = query::cluster(&served, id, Instant::now())?;
    Ok(json(spell(&ClusterReply::from(view).with_version(served.version()))?))
}

async fn get_dendrogram(
    State(app): State<Arc<App>>,
    parameters: Result<Query<DendrogramQuery>, QueryRejection>,
) -> Reply {
    let DendrogramQuery { groups, model_version } = parameter(parameters)?;
    let served = app.served(model_version.as_deref().unwrap_or_default())?;
    let groups = app.compute.dendrogram(&served, groups).await?;
    let tree = query::dendrogram(&served)?;
    Ok(json(spell(&DendrogramReply::new(served.version(), tree, groups.as_deref()))?))
}

async fn get_map(State(app): State<Arc<App>>, parameters: Result<Query<MapQuery>, QueryRejection>) -> Reply {
    let MapQuery { items, model_version } = parameter(parameters)?;
    let served = app.served(model_version.as_deref().unwrap_or_default())?;
    let map = app.compute.map(&served, items).await?;
    let reply = move || spell(&MapReply::new(&served, &map));
    Ok(json(app.compute.offload(reply).await??))
}

async fn get_model(State(app): State<Arc<App>>, parameters: Result<Query<VersionQuery>, QueryRejection>) -> Reply {
    let VersionQuery { model_version } = parameter(parameters)?;
    let served = app.served(model_version.as_deref().unwrap_or_default())?;
    Ok(json(spell(&ModelReply::new(&served))?))
}

async fn live() -> Reply {
    Ok(json(br#"{"status":"live"}"#.to_vec()))
}

async fn ready(State(app): State<Arc<App>>) -> Reply {
    if !app.is_ready() {
        return Err(Refusal(QueryError::ShuttingDown));
    }
    let version = app.hot.get().version().to_owned();
    Ok(json(spell(&serde_json::json!({"status": "ready", "modelVersion": version}))?))
}

async fn scrape(State(app): State<Arc<App>>) -> Reply {
    let text = app.metrics.encode().map_err(|error| {
        tracing::error!(%error, "metrics could not be encoded");
        QueryError::Internal
    })?;
    Ok(([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response())
}

async fn traffic(State(app): State<Arc<App>>) -> Reply {
    // Off the async threads, and not in turn with the queries: it is wanted most when there are too many of them.
    let reply = tokio::task::spawn_blocking(move || {
        let comparison = app.shadow.as_ref().map(|shadow| shadow.comparison(Instant::now()));
        spell(&TrafficReply::new(&app.hot.get(), app.metrics.traffic(), comparison))
    });
    let body = reply.await.map_err(|error| {
        tracing::error!(%error, "the traffic could not be told");
        QueryError::Internal
    })?;
    Ok(json(body?))
}

async fn openapi() -> Response {
    json(OPENAPI.as_bytes().to_vec())
}

async fn no_such_endpoint(request: Request) -> Refusal {
    let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
    Refusal(QueryError::NoSuchEndpoint { method, path })
}

async fn method_not_allowed(request: Request) -> Refusal {
    let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
    Refusal(QueryError::MethodNotAllowed { method, path })
}

/// The error about a request that says what it is about in no way, or in several.
fn one_of(ways: &str) -> Refusal {
    Refusal(QueryError::Malformed { what: format!("send either {ways}") })
}

fn parameter<T>(parameters: Result<Query<T>, QueryRejection>) -> Result<T, QueryError> {
    match parameters {
        Ok(Query(parameters)) => Ok(parameters),
        Err(rejection) => Err(QueryError::Malformed { what: rejection.body_text() }),
    }
}

pub(crate) fn spell(reply: &impl Serialize) -> Result<Vec<u8>, QueryError> {
    serde_json::to_vec(reply).map_err(|error| {
        tracing::error!(%error, "answer could not be spelt");
        QueryError::Internal
    })
}

pub(crate) fn json(body: Vec<u8>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

// === impl Refusal ===

impl From<QueryError> for Refusal {
    fn from(error: QueryError) -> Self {
        Self(error)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        refuse(&self.0)
    }
}
