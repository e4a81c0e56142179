//! Coordinator and worker of one pod share its memory limit.

use coterie_crds::resolved::{Algorithm, FeatureStep, ResolvedJob, Sets};

use crate::training::sampling::sample_rows;

/// Least memory for a coordinator.
const LEAST: u64 = 64 << 20;
/// Dimension assumed where the manifest does not tell it.
const DIMENSION: u64 = 512;
/// Bytes per number of the centroids: merged sums of 128 bits, one more contribution at hand, the step, the checkpoint.
const PER_NUMBER: u64 = 48;
/// Bytes per number of the evaluated sample: one at hand and one merged.
const PER_SAMPLED: u64 = 8;
/// Bytes for the buckets of a step of LSH, merged and as they arrive. What hangs together takes some 20 bytes per row beside, and
/// the number of rows is not known.
const BUCKETS: u64 = 256 << 20;

/// What of `limit` is left to the worker that runs beside the coordinator: at least half of it.
#[must_use]
pub fn beside_coordinator(limit: u64, job: &ResolvedJob) -> u64 {
    limit - needed(job).min(limit / 2)
}

/// Estimate of what the coordinator of a job needs.
fn needed(job: &ResolvedJob) -> u64 {
    let (clusters, more) = match &job.algorithm {
        Algorithm::KMeans(parameters) => (parameters.clusters, 0),
        Algorithm::Lsh(parameters) => (parameters.max_clusters, BUCKETS),
    };
    let columns = &job.source.columns;
    let source = match (&columns.sets, columns.features.len()) {
        (Some(Sets::Lists { size, .. }), _) => *size as u64,
        (Some(Sets::Dense) | None, 0) => DIMENSION,
        (Some(Sets::Dense) | None, named) => named as u64,
    };
    let dimension = job.features.iter().fold(source, |dimension, step| match step {
        FeatureStep::Pca { components } => dimension.min(*components as u64),
        FeatureStep::Standardize | FeatureStep::MinMax | FeatureStep::L2Normalize => dimension,
    });
    let centroids = (clusters as u64).saturating_mul(dimension).saturating_mul(PER_NUMBER);
    let rows = sample_rows(job.evaluation.sample_size, usize::try_from(dimension).unwrap_or(usize::MAX));
    let sample = (rows as u64).saturating_mul(dimension).saturating_mul(PER_SAMPLED);
    LEAST.saturating_add(more).saturating_add(centroids).saturating_add(sample)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(columns: &str, clusters: u32, sample: u32) -> ResolvedJob {
        coterie_crds::validate(&format!(
            "apiVersion: coterie.dev/v1alpha1\nkind: ClusteringJob\nmetadata: {{name: a}}\nspec:\n  source: {{uri: /data, \
             columns: {columns}}}\n  algorithm: {{kMeans: {{clusters: {clusters}}}}}\n  evaluation: {{sampleSize: {sample}}}\n  \
             output: {{uri: /out}}\n"
        ))
        .unwrap()
    }

    #[test]
    fn the_worker_gets_what_the_coordinator_does_not_need() {
        let small = job("{features: [a, b]}", 10, 0);
        assert_eq!(beside_coordinator(1 << 30, &small), (1 << 30) - (64 << 20) - 10 * 2 * 48);
        let large = job("{vector: v}", 10_000, 1_000);
        assert_eq!(beside_coordinator(4 << 30, &large), (4 << 30) - (64 << 20) - 10_000 * 512 * 48 - 1_000 * 512 * 8);
        // However little there is, the worker has half of it.
        assert_eq!(beside_coordinator(100 << 20, &large), 50 << 20);
    }

    #[test]
    fn sets_are_as_wide_as_they_have_possible_members() {
        let mut job = job("{vector: v}", 10, 20_000);
        let needed = |job: &ResolvedJob| (8_u64 << 30) - beside_coordinator(8 << 30, job);
        job.source.columns.vector = None;
        job.source.columns.sets = Some(Sets::Lists { column: "tags".to_owned(), size: 1_000 });
        assert_eq!(needed(&job), (64 << 20) + 10 * 1_000 * 48 + 20_000 * 1_000 * 8);
        // Of so wide rows fewer are sampled.
        job.source.columns.sets = Some(Sets::Lists { column: "tags".to_owned(), size: 65_536 });
        assert_eq!(needed(&job), (64 << 20) + 10 * 65_536 * 48 + 1_024 * 65_536 * 8);
    }
}
