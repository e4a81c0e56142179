//! What the server counts, in the OpenMetrics text format.

use crate::query::Served;
use crate::traffic::Traffic;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Instant;

/// Content type of [`Metrics::encode`].
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Bounds of the latency histogram, in seconds: from a lone vector to the deadline.
const SECONDS: [f64; 15] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

/// The protocol of a request.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http,
    Grpc,
}

/// The endpoint of a request. There is one of each, whatever paths are tried.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Assign,
    AssignBatch,
    AssignStream,
    NearestClusters,
    SimilarItems,
    /// What another replica asks of the items here.
    ItemShard,
    ListClusters,
    GetCluster,
    Dendrogram,
    Map,
    GetModel,
    Infer,
    ModelMetadata,
    ServerMetadata,
    Health,
    Metrics,
    Traffic,
    OpenApi,
    Reflection,
    Other,
}

/// Where an answer that may be kept was found.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub(crate) enum Lookup {
    /// In this replica's memory.
    Own,
    /// Where replicas share answers.
    Shared,
    /// Nowhere: it was computed.
    Miss,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct LookupLabels {
    result: Lookup,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RequestLabels {
    protocol: Protocol,
    endpoint: Endpoint,
    code: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct EndpointLabels {
    protocol: Protocol,
    endpoint: Endpoint,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ModelLabels {
    name: String,
    version: String,
    digest: String,
}

/// Everything that is counted.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    seconds: Family<EndpointLabels, Histogram, fn() -> Histogram>,
    in_flight: Gauge,
    rows: Counter,
    lookups: Family<LookupLabels, Counter>,
    sharing: Gauge,
    model: Family<ModelLabels, Gauge>,
    current: Mutex<Option<ModelLabels>>,
    traffic: Traffic,
}

/// A request being answered. Dropped unfinished, it counts as `cancelled`: the caller went away.
pub(crate) struct InFlight<'a> {
    metrics: &'a Metrics,
    protocol: Protocol,
    endpoint: Endpoint,
    begun: Instant,
    code: Option<String>,
}

// === impl Metrics ===

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("coterie_serving");
        let requests = Family::default();
        registry.register("requests", "Requests answered, by endpoint and status", requests.clone());
        let histogram: fn() -> Histogram = || Histogram::new(SECONDS);
        let seconds = Family::new_with_constructor(histogram);
        registry.register(
            "request_duration_seconds",
            "Time from a request's headers to the head of its answer",
            seconds.clone(),
        );
        let in_flight = Gauge::default();
        registry.register("requests_in_flight", "Requests being answered", in_flight.clone());
        let rows = Counter::default();
        registry.register("rows_assigned", "Vectors assigned to a cluster", rows.clone());
        let lookups = Family::default();
        registry.register(
            "cache_lookups",
            "Answers looked for in the cache, by where they were found",
            lookups.clone(),
        );
        let sharing = Gauge::default();
        registry.register("cache_shared_up", "Whether the server for shared answers answers", sharing.clone());
        let model = Family::default();
        registry.register("model_info", "The model being served: always 1", model.clone());
        Self {
            registry,
            requests,
            seconds,
            in_flight,
            rows,
            lookups,
            sharing,
            model,
            current: Mutex::default(),
            traffic: Traffic::default(),
        }
    }

    /// Names the model being served.
    pub(crate) fn set_model(&self, served: &Served) {
        let labels = ModelLabels {
            name: served.model().name.clone(),
            version: served.version().to_owned(),
            digest: served.digest().to_owned(),
        };
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        self.model.get_or_create(&labels).set(1);
        if let Some(previous) = current.replace(labels.clone())
            && previous != labels
        {
            self.model.remove(&previous);
        }
    }

    pub(crate) fn count_rows(&self, rows: usize) {
        self.rows.inc_by(rows as u64);
    }

    pub(crate) fn count_lookup(&self, result: Lookup) {
        self.lookups.get_or_create(&LookupLabels { result }).inc();
    }

    pub(crate) fn set_sharing(&self, up: bool) {
        self.sharing.set(i64::from(up));
    }

    /// The queries alone, in few numbers.
    pub(crate) fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    pub(crate) fn begin(&self, protocol: Protocol, endpoint: Endpoint) -> InFlight<'_> {
        self.in_flight.inc();
        InFlight { metrics: self, protocol, endpoint, begun: Instant::now(), code: None }
    }

    /// The text that a scraper reads.
    pub(crate) fn encode(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

// === impl InFlight ===

impl InFlight<'_> {
    pub(crate) fn finish(mut self, code: String) {
        self.code = Some(code);
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        let &mut Self { metrics, protocol, endpoint, begun, ref mut code } = self;
        let code = code.take().unwrap_or_else(|| "cancelled".to_owned());
        let time = begun.elapsed();
        metrics.in_flight.dec();
        if endpoint.is_query() && !endpoint.is_for_peers() {
            metrics.traffic.count(&code, time);
        }
        metrics.requests.get_or_create(&RequestLabels { protocol, endpoint, code }).inc();
        metrics.seconds.get_or_create(&EndpointLabels { protocol, endpoint }).observe(time.as_secs_f64());
    }
}

// === impl Endpoint ===

impl Endpoint {
    /// The endpoint that `path` leads to.
    pub(crate) fn of(protocol: Protocol, path: &str) -> Self {
        match protocol {
            Protocol::Http => match path {
                "/v1/assign" => Self::Assign,
                "/v1/nearest-clusters" => Self::NearestClusters,
                "/v1/similar-items" => Self::SimilarItems,
                "/v1/clusters" => Self::ListClusters,
                "/v1/dendrogram" => Self::Dendrogram,
                "/v1/map" => Self::Map,
                "/v1/model" => Self::GetModel,
                "/healthz/live" | "/healthz/ready" => Self::Health,
                "/metrics" => Self::Metrics,
                "/v1/traffic" => Self::Traffic,
                "/openapi.json" => Self::OpenApi,
                "/v2" | "/v2/" => Self::ServerMetadata,
                "/v2/health/live" | "/v2/health/ready" => Self::Health,
                _ if path.starts_with("/v1/clusters/") => Self::GetCluster,
                _ => path.strip_prefix("/v2/models/").map_or(Self::Other, Self::of_model),
            },
            Protocol::Grpc => match path.rsplit_once('/') {
                Some(("/coterie.v1.Query", "Assign")) => Self::Assign,
                Some(("/coterie.v1.Query", "AssignBatch")) => Self::AssignBatch,
                Some(("/coterie.v1.Query", "AssignStream")) => Self::AssignStream,
                Some(("/coterie.v1.Query", "NearestClusters")) => Self::NearestClusters,
                Some(("/coterie.v1.Query", "SimilarItems")) => Self::SimilarItems,
                Some(("/coterie.v1.Query", "ListClusters")) => Self::ListClusters,
                Some(("/coterie.v1.Query", "GetCluster")) => Self::GetCluster,
                Some(("/coterie.v1.Query", "GetDendrogram")) => Self::Dendrogram,
                Some(("/coterie.v1.Query", "GetMap")) => Self::Map,
                Some(("/coterie.v1.Query", "GetModel")) => Self::GetModel,
                Some(("/coterie.internal.v1.ItemShards", _)) => Self::ItemShard,
                Some(("/inference.GRPCInferenceService", "ModelInfer")) => Self::Infer,
                Some(("/inference.GRPCInferenceService", "ModelMetadata")) => Self::ModelMetadata,
                Some(("/inference.GRPCInferenceService", "ServerMetadata")) => Self::ServerMetadata,
                Some(("/inference.GRPCInferenceService", "ServerLive" | "ServerReady" | "ModelReady")) => Self::Health,
                Some(("/grpc.health.v1.Health", _)) => Self::Health,
                Some(("/grpc.reflection.v1.ServerReflection" | "/grpc.reflection.v1alpha.ServerReflection", _)) => {
                    Self::Reflection
                }
                _ => Self::Other,
            },
        }
    }

    /// The endpoint of the Open Inference Protocol that `path` below `/v2/models/` leads to.
    fn of_model(path: &str) -> Self {
        match path.splitn(5, '/').collect::<Vec<_>>()[..] {
            [_] | [_, "versions", _] => Self::ModelMetadata,
            [_, "infer"] | [_, "versions", _, "infer"] => Self::Infer,
            [_, "ready"] | [_, "versions", _, "ready"] => Self::Health,
            _ => Self::Other,
        }
    }

    /// Whether it asks something of the model, and so is subject to admission and deadlines.
    pub(crate) fn is_query(self) -> bool {
        match self {
            Self::Assign
            | Self::AssignBatch
            | Self::NearestClusters
            | Self::SimilarItems
            | Self::ItemShard
            | Self::ListClusters
            | Self::GetCluster
            | Self::Dendrogram
            | Self::Map
            | Self::GetModel
            | Self::Infer
            | Self::ModelMetadata => true,
            // Each of its batches is bounded, and so is the number of streams.
            Self::AssignStream
            | Self::ServerMetadata
            | Self::Health
            | Self::Metrics
            | Self::Traffic
            | Self::OpenApi
            | Self::Reflection
            | Self::Other => false,
        }
    }

    /// Whether other replicas ask it, on behalf of a caller whose question they count.
    pub(crate) fn is_for_peers(self) -> bool {
        self == Self::ItemShard
    }

    fn name(self) -> &'static str {
        match self {
            Self::Assign => "assign",
            Self::AssignBatch => "assign_batch",
            Self::AssignStream => "assign_stream",
            Self::NearestClusters => "nearest_clusters",
            Self::SimilarItems => "similar_items",
            Self::ItemShard => "item_shard",
            Self::ListClusters => "list_clusters",
            Self::GetCluster => "get_cluster",
            Self::Dendrogram => "dendrogram",
            Self::Map => "map",
            Self::GetModel => "get_model",
            Self::Infer => "infer",
            Self::ModelMetadata => "model_metadata",
            Self::ServerMetadata => "server_metadata",
            Self::Health => "health",
            Self::Metrics => "metrics",
            Self::Traffic => "traffic",
            Self::OpenApi => "openapi",
            Self::Reflection => "reflection",
            Self::Other => "other",
        }
    }
}

impl EncodeLabelValue for Endpoint {
    fn encode(&self, encoder: &mut prometheus_client::encoding::LabelValueEncoder<'_>) -> std::fmt::Result {
        self.name().encode(encoder)
    }
}

impl EncodeLabelValue for Lookup {
    fn encode(&self, encoder: &mut prometheus_client::encoding::LabelValueEncoder<'_>) -> std::fmt::Result {
        match self {
            Self::Own => "own",
            Self::Shared => "shared",
            Self::Miss => "miss",
        }
        .encode(encoder)
    }
}

impl EncodeLabelValue for Protocol {
    fn encode(&self, encoder: &mut prometheus_client::encoding::LabelValueEncoder<'_>) -> std::fmt::Result {
        match self {
            Self::Http => "http",
            Self::Grpc => "grpc",
        }
        .encode(encoder)
    }
}
