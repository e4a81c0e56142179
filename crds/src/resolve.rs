//! From what a user wrote to what a run needs: defaults filled in, decimals read, optional parts decided.

use serde_json::json;

use crate::check;
use crate::manifest::{self, ParseError};
use crate::resolved::{self, ResolvedJob};
use crate::spec::{self, ClusteringJob, Init, InvalidRows, MetricType};
use crate::violation::{Constraint, Violation};

/// Reads the one `ClusteringJob` of a YAML file. Documents of other kinds are passed over.
///
/// Types, unknown and missing fields are checked; bounds and rules are not: see [`validate`].
///
/// # Errors
///
/// When the text is not YAML, when it does not hold exactly one job, or when the job does not have the shape of one.
pub fn parse(yaml: &str) -> Result<ClusteringJob, ParseError> {
    let node = manifest::read(yaml)?;
    let shape = |violation: &Violation| {
        matches!(violation.constraint, Constraint::Type | Constraint::Unknown | Constraint::Required | Constraint::Enum)
    };
    if let Err(mut violations) = check::check(&node.value(), |path, key| node.locate(path, key)) {
        violations.retain(shape);
        if !violations.is_empty() {
            return Err(ParseError::Invalid { violations });
        }
    }
    serde_json::from_value(check::defaulted(&node.value()))
        .map_err(|error| ParseError::Invalid { violations: vec![unreadable(&error)] })
}

/// Reads and checks a YAML file with exactly one `ClusteringJob`: the same schema and the same rules that a cluster
/// applies, without a cluster.
///
/// # Errors
///
/// Every violation, in the order of the text.
pub fn validate(yaml: &str) -> Result<ResolvedJob, Vec<Violation>> {
    let node = manifest::read(yaml)?;
    let document = check::check(&node.value(), |path, key| node.locate(path, key))?;
    checked(document)
}

/// Checks a job that came from elsewhere, such as an API server.
///
/// # Errors
///
/// Every violation.
pub fn resolve(job: &ClusteringJob) -> Result<ResolvedJob, Vec<Violation>> {
    let document = check::check(&json!(job), |_, _| None)?;
    checked(document)
}

/// The checked form of a job that an API server with this crate's definition has admitted, so that nothing is checked twice. `None` if
/// it lacks what the rules demand.
#[must_use]
pub fn admitted(job: &ClusteringJob) -> Option<ResolvedJob> {
    resolved(job.clone())
}

fn checked(document: serde_json::Value) -> Result<ResolvedJob, Vec<Violation>> {
    let job: ClusteringJob = serde_json::from_value(document).map_err(|error| vec![unreadable(&error)])?;
    resolved(job).ok_or_else(|| {
        vec![Violation {
            path: "spec.algorithm".to_owned(),
            line: None,
            column: None,
            constraint: Constraint::Required,
            message: "no algorithm is set; choose one, such as kMeans: {clusters: 10}".to_owned(),
        }]
    })
}

/// A document that the schema admits and the types do not: only possible if the two were to differ.
fn unreadable(error: &serde_json::Error) -> Violation {
    Violation {
        path: String::new(),
        line: None,
        column: None,
        constraint: Constraint::Type,
        message: format!("the job cannot be read: {error}"),
    }
}

fn resolved(job: ClusteringJob) -> Option<ResolvedJob> {
    let spec::ClusteringJobSpec {
        source,
        features,
        metric,
        algorithm,
        seed,
        workers,
        evaluation,
        output,
        // What the operator does with a job is no part of a run.
        schedule: _,
        suspend: _,
        retrain_token: _,
        history: _,
        serving,
    } = job.spec;
    let output = output.map(|output| resolved_output(output, &source));
    let metric = match metric.kind {
        MetricType::Euclidean => resolved::Metric::Euclidean,
        MetricType::Cosine => resolved::Metric::Cosine,
        MetricType::Jaccard => resolved::Metric::Jaccard,
    };
    Some(ResolvedJob {
        name: job.metadata.name.unwrap_or_default(),
        source: resolved_source(source, metric),
        features: features.into_iter().filter_map(resolved_step).collect(),
        metric,
        algorithm: resolved_algorithm(algorithm)?,
        seed: seed.unsigned_abs(),
        workers: workers.replicas.unsigned_abs(),
        evaluation: resolved::Evaluation { sample_size: count(evaluation.sample_size) },
        output,
        items: serving.and_then(resolved_items),
    })
}

/// A bounded integer as a count; the schema has refused negative ones.
fn count(value: i32) -> usize {
    usize::try_from(value).unwrap_or_default()
}

fn resolved_source(source: spec::Source, metric: resolved::Metric) -> resolved::Source {
    let spec::Source { uri, format, columns, store, invalid_rows } = source;
    let columns = columns.unwrap_or_default();
    let sets = match (metric, columns.set) {
        (resolved::Metric::Euclidean | resolved::Metric::Cosine, _) => None,
        (resolved::Metric::Jaccard, None) => Some(resolved::Sets::Dense),
        (resolved::Metric::Jaccard, Some(spec::SetColumn { column, size })) => {
            Some(resolved::Sets::Lists { column, size: count(size) })
        }
    };
    resolved::Source {
        uri: uri.0,
        format: format.map(|format| match format {
            spec::Format::Parquet => resolved::Format::Parquet,
            spec::Format::Npy => resolved::Format::Npy,
            spec::Format::Csv => resolved::Format::Csv,
            spec::Format::Arrow => resolved::Format::Arrow,
        }),
        columns: resolved::Columns {
            id: columns.id,
            label: columns.label,
            vector: columns.vector,
            features: columns.features.unwrap_or_default(),
            sets,
        },
        store: resolved_store(store.unwrap_or_default()),
        invalid_rows: match invalid_rows {
            InvalidRows::Fail => resolved::InvalidRows::Fail,
            InvalidRows::Drop => resolved::InvalidRows::Drop,
        },
    }
}

fn resolved_store(store: spec::Store) -> resolved::Store {
    let spec::Store { endpoint, region, allow_http, ca_bundle, credentials_secret_ref: _ } = store;
    resolved::Store { endpoint, region, allow_http, ca_bundle }
}

/// Where the source and the output share a scheme they are usually in one store, so its settings need not be said twice.
fn resolved_output(output: spec::Output, source: &spec::Source) -> resolved::Output {
    let spec::Output { uri, assignments, history_limit: _, store } = output;
    let shared = source.store.clone().filter(|_| source.uri.scheme() == uri.scheme());
    resolved::Output { uri: uri.0, assignments, store: resolved_store(store.or(shared).unwrap_or_default()) }
}

/// Items are kept for a server that is asked for similar ones.
fn resolved_items(serving: spec::Serving) -> Option<resolved::Items> {
    let tables = serving.lsh.is_some();
    let spec::Lsh { target_recall, tables: by_hand, hashes, width, probes } = serving.lsh.unwrap_or_default();
    let recall = match target_recall {
        Some(recall) => recall.value()?,
        None => resolved::Items::RECALL,
    };
    let width = match width {
        Some(width) => Some(width.value()?),
        None => None,
    };
    let parameters = by_hand.zip(hashes).map(|(tables, hashes)| resolved::TableParameters {
        tables: tables.unsigned_abs(),
        hashes: hashes.unsigned_abs(),
        width,
        probes: probes.map(i32::unsigned_abs),
    });
    serving.similar_items.then_some(resolved::Items { recall, tables, parameters })
}

fn resolved_step(step: spec::FeatureStep) -> Option<resolved::FeatureStep> {
    let spec::FeatureStep { standardize, min_max, l2_normalize, pca } = step;
    standardize
        .map(|spec::Standardize {}| resolved::FeatureStep::Standardize)
        .or(min_max.map(|spec::MinMax {}| resolved::FeatureStep::MinMax))
        .or(l2_normalize.map(|spec::L2Normalize {}| resolved::FeatureStep::L2Normalize))
        .or(pca.map(|spec::Pca { components }| resolved::FeatureStep::Pca { components: count(components) }))
}

fn resolved_algorithm(algorithm: spec::Algorithm) -> Option<resolved::Algorithm> {
    let spec::Algorithm { k_means, lsh } = algorithm;
    match (k_means, lsh) {
        (Some(k_means), None) => resolved_k_means(k_means),
        (None, Some(lsh)) => resolved_lsh(lsh),
        (Some(_), Some(_)) | (None, None) => None,
    }
}

fn resolved_lsh(lsh: spec::LshClustering) -> Option<resolved::Algorithm> {
    let spec::LshClustering { tables, hashes, width, min_cluster_size, max_clusters } = lsh;
    let width = match width {
        Some(width) => Some(width.value()?),
        None => None,
    };
    Some(resolved::Algorithm::Lsh(resolved::Lsh {
        tables: tables.unsigned_abs(),
        hashes: hashes.unsigned_abs(),
        width,
        min_cluster_size: u64::from(min_cluster_size.unsigned_abs()),
        max_clusters: count(max_clusters),
    }))
}

fn resolved_k_means(k_means: spec::KMeans) -> Option<resolved::Algorithm> {
    let spec::KMeans { clusters, init, warm_start, max_iterations, tolerance, restarts } = k_means;
    Some(resolved::Algorithm::KMeans(resolved::KMeans {
        clusters: count(clusters),
        init: match init {
            Init::KMeansParallel => resolved::Init::KMeansParallel,
            Init::KMeansPlusPlus => resolved::Init::KMeansPlusPlus,
            Init::Random => resolved::Init::Random,
            Init::WarmStart => resolved::Init::WarmStart { uri: warm_start?.uri.0 },
        },
        max_iterations: max_iterations.unsigned_abs(),
        tolerance: tolerance.value()?,
        restarts: restarts.unsigned_abs(),
    }))
}
