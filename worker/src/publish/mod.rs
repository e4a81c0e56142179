//! The outcome of a run as a model version.

pub mod places;
pub mod report;
pub mod retention;
pub mod rows;
pub mod summary;

use std::sync::Arc;

use coterie_algorithms::{
    kmeans::Centroids,
    metric::Metric,
    score::{calinski_harabasz, davies_bouldin, silhouette},
};
use coterie_crds::resolved::{Algorithm, ResolvedJob};
use coterie_data::{ErrorClass, plan::InputPlan, store::Location};
use coterie_model::{
    ClusterStatistics, DistancePercentiles, Input, InputObject, Metrics, Model, ModelError, RowId, Training,
};
use jiff::Timestamp;

use crate::{
    error::{RunError, chain},
    training::{
        Outcome, algorithm_metric,
        evaluation::{ClusterTally, Evaluation},
        fitting::Fit,
    },
};

/// What a run was, beside its outcome.
#[derive(Clone, Debug)]
pub struct Provenance {
    /// The job.
    pub job: ResolvedJob,
    /// The input.
    pub plan: Arc<InputPlan>,
    /// The version to publish.
    pub version: String,
    /// Time of publication.
    pub now: Timestamp,
}

/// Makes the model. Scores the sample, which takes O(sample^2 d): not for an async thread.
///
/// # Errors
/// When the job cannot be rendered as JSON.
pub fn model(outcome: Outcome, provenance: &Provenance) -> Result<Model, RunError> {
    let job = &provenance.job;
    let metric = algorithm_metric(job.metric);
    let Outcome {
        pipeline,
        fit,
        noise,
        scale,
        evaluation,
        total_variance,
        rows,
        dropped,
        fingerprint,
        offsets: _,
        contingency,
        items,
    } = outcome;
    let dimension = pipeline.output_dimension();
    let k = fit.centroids.len() / dimension;
    let Evaluation { sums, clusters: tallies, .. } = &evaluation;

    let occupied: Vec<usize> = (0..k).filter(|cluster| sums.counts[*cluster] > 0).collect();
    let mean_distance = |cluster: usize| match sums.counts[cluster] {
        0 => 0.0,
        count => scale.distance(tallies[cluster].distance) / count as f64,
    };
    let occupied_centroids: Vec<f32> =
        occupied.iter().flat_map(|at| fit.centroids[at * dimension..(at + 1) * dimension].iter().copied()).collect();
    let spreads: Vec<f64> = occupied.iter().map(|cluster| mean_distance(*cluster)).collect();
    let clustered = rows - noise.unwrap_or(0).min(rows);
    let total_squares = match noise {
        None => total_variance * rows as f64,
        Some(_) => fit.inertia + between(&fit, &sums.counts, dimension),
    };
    let mut metrics = Metrics {
        inertia: fit.inertia,
        davies_bouldin: (occupied.len() > 1).then(|| davies_bouldin(&occupied_centroids, dimension, &spreads, metric)),
        // A ratio of variances, which distances of sets do not have.
        calinski_harabasz: (occupied.len() > 1 && metric != Metric::Jaccard)
            .then(|| calinski_harabasz(clustered, occupied.len() as u64, total_squares, fit.inertia)),
        noise,
        ari: contingency.as_ref().map(coterie_algorithms::score::Contingency::ari),
        nmi: contingency.as_ref().map(coterie_algorithms::score::Contingency::nmi),
        ..Metrics::default()
    };

    let mut clusters: Vec<ClusterStatistics> = (0..k)
        .map(|cluster| ClusterStatistics {
            size: sums.counts[cluster],
            share: sums.counts[cluster] as f64 / rows as f64,
            inertia: scale.distance2(tallies[cluster].inertia),
            mean_distance: mean_distance(cluster),
            radius: tallies[cluster].radius2.sqrt(),
            distance_percentiles: percentiles(&tallies[cluster]),
            silhouette: None,
            exemplars: tallies[cluster].exemplars.iter().map(|(_, row)| RowId::Int(*row as i64)).collect(),
        })
        .collect();

    let (sample, labels) = evaluation.into_sample(dimension);
    if labels.len() > 1 && occupied.len() > 1 {
        let scored = silhouette(&sample, dimension, &labels, k, metric);
        metrics.silhouette = Some(scored.mean);
        metrics.silhouette_rows = Some(labels.len() as u64);
        let mut sampled = vec![0u64; k];
        labels.iter().for_each(|label| sampled[*label as usize] += 1);
        for (cluster, statistics) in clusters.iter_mut().enumerate() {
            statistics.silhouette = (sampled[cluster] > 0).then(|| scored.per_cluster[cluster]);
        }
    }

    let json =
        |value: serde_json::Result<serde_json::Value>| value.map_err(|error| RunError::transient(error.to_string()));
    let (algorithm, parameters) = match &job.algorithm {
        Algorithm::KMeans(parameters) => ("KMeans", serde_json::to_value(parameters)),
        Algorithm::Lsh(parameters) => ("Lsh", serde_json::to_value(parameters)),
    };
    Ok(Model {
        name: job.name.clone(),
        version: provenance.version.clone(),
        metric,
        pipeline,
        centroids: Centroids::new(dimension, fit.centroids),
        feature_names: feature_names(&provenance.plan),
        members: provenance.plan.members,
        clusters,
        training: Training {
            algorithm: algorithm.to_owned(),
            parameters: json(parameters)?,
            seed: job.seed,
            input: Input {
                uri: job.source.uri.clone(),
                fingerprint: format!("xxh3-128:{fingerprint:032x}"),
                rows,
                dropped,
                objects: provenance
                    .plan
                    .objects
                    .iter()
                    .map(|object| InputObject {
                        path: object.path.clone(),
                        size: object.size,
                        e_tag: object.etag.clone(),
                    })
                    .collect(),
            },
            spec: json(serde_json::to_value(job))?,
            iterations: fit.iterations,
            converged: fit.converged,
            metrics,
            trained_at: provenance.now,
            code_version: env!("CARGO_PKG_VERSION").to_owned(),
            image: None,
            workers: job.workers,
        },
        items,
    })
}

/// Sum over the rows of the squared distance of their centroid to the mean of all these rows.
fn between(fit: &Fit, counts: &[u64], dimension: usize) -> f64 {
    let rows = counts.iter().sum::<u64>().max(1) as f64;
    let centroids = || fit.centroids.chunks_exact(dimension).zip(counts);
    let mut mean = vec![0.0; dimension];
    for (centroid, count) in centroids() {
        mean.iter_mut().zip(centroid).for_each(|(mean, value)| *mean += f64::from(*value) * (*count as f64 / rows));
    }
    let distance2 = |centroid: &[f32]| -> f64 {
        centroid.iter().zip(&mean).map(|(value, mean)| (f64::from(*value) - mean).powi(2)).sum()
    };
    centroids().map(|(centroid, count)| *count as f64 * distance2(centroid)).sum()
}

/// How the distances of a cluster's rows are spread; never beyond its radius.
fn percentiles(tally: &ClusterTally) -> Option<DistancePercentiles> {
    let radius = tally.radius2.sqrt();
    let at = |q: f64| tally.spread.quantile(q).map(|distance| distance.min(radius));
    Some(DistancePercentiles { p50: at(0.5)?, p90: at(0.9)?, p95: at(0.95)?, p99: at(0.99)? })
}

/// One name per column of the source; elements of a list column or an array are numbered.
fn feature_names(plan: &InputPlan) -> Vec<String> {
    if plan.feature_names.len() == plan.dimension {
        return plan.feature_names.clone();
    }
    let list = plan.vector.as_deref().unwrap_or("x");
    (0..plan.dimension).map(|column| format!("{list}[{column}]")).collect()
}

/// Makes sure that the version is free, or was published by an earlier incarnation of this run, whose last words were
/// lost: then it has the same digest.
///
/// # Errors
/// When the version is taken by another model or the output cannot be read.
pub async fn check_free(location: &Location, model: &Model) -> Result<(), RunError> {
    match published_digest(location, &model.version).await? {
        Some(digest) if digest != coterie_model::digest(model) => Err(taken(location, model)),
        Some(_) | None => Ok(()),
    }
}

/// Digest of a published version; `None` when there is no such version.
///
/// # Errors
/// When the output cannot be read.
pub async fn published_digest(location: &Location, version: &str) -> Result<Option<String>, RunError> {
    let path = coterie_model::version_path(&location.path, version);
    coterie_model::published_digest(location.store.as_ref(), &path).await.map_err(|error| failed(location, &error))
}

/// Publishes a model and gives its digest.
///
/// # Errors
/// As [`check_free`], and when the output cannot be written.
pub async fn publish(location: &Location, model: &Model) -> Result<String, RunError> {
    match coterie_model::write(location.store.as_ref(), &location.path, model).await {
        Ok(written) => Ok(written.digest),
        Err(ModelError::AlreadyExists { .. }) => {
            check_free(location, model).await?;
            Ok(coterie_model::digest(model))
        }
        Err(error) => Err(failed(location, &error)),
    }
}

fn taken(location: &Location, model: &Model) -> RunError {
    RunError::transient(format!(
        "{}: model version {} was published by another run while this one trained; run again to write the next version, and \
         give each job an output of its own",
        location.uri, model.version
    ))
}

/// A model error with its class and the place it concerns.
#[must_use]
pub fn failed(location: &Location, error: &ModelError) -> RunError {
    if let ModelError::Store { action, path, source } = error {
        let found = coterie_data::store::failure(&format!("{} ({path})", location.uri), action, source);
        return RunError::from(found);
    }
    RunError::new(ErrorClass::Data, format!("{}: {}", location.uri, chain(error)))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use coterie_crds::resolved::Store;

    use super::*;

    #[tokio::test]
    async fn a_version_that_another_run_took_is_left_alone() {
        let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/tests/samples/v1").canonicalize().unwrap();
        let output = coterie_data::store::open(sample.to_str().unwrap(), &Store::default()).unwrap();
        let path = coterie_model::version_path(&output.path, "v1");
        let mut model = coterie_model::read(output.store.as_ref(), &path).await.unwrap();
        // Published by an earlier incarnation of the same run.
        check_free(&output, &model).await.unwrap();
        assert_eq!(publish(&output, &model).await.unwrap(), coterie_model::digest(&model));
        // Published by another run.
        model.training.seed -= 1;
        for error in [check_free(&output, &model).await.unwrap_err(), publish(&output, &model).await.unwrap_err()] {
            assert!(error.is_transient() && error.message.contains("v1 was published by another run"), "{error}");
        }
        // Not published at all.
        model.version = "v2".to_owned();
        check_free(&output, &model).await.unwrap();
    }
}
