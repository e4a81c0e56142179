//! The rules every model obeys, checked before it is written and after it is read.

use crate::model::{ClusterStatistics, DistancePercentiles, Metrics, Model};
use crate::{paths, tensors};
use coterie_algorithms::features::Transform;
use coterie_algorithms::metric::Metric;

/// A rule of the format that a model breaks.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Violation {
    /// The version's name is not `v` and a positive number.
    #[error("version {version:?} is not of the form v1, v2, ...")]
    Version {
        /// The version.
        version: String,
    },
    /// The name of the job is empty or longer than 253 bytes.
    #[error("the model's name must have 1 to 253 bytes, it has {bytes}")]
    Name {
        /// Length of the name.
        bytes: usize,
    },
    /// There is nothing to assign to.
    #[error("a model needs at least one cluster and one dimension")]
    NoClusters,
    /// A tensor is not there.
    #[error("tensor {tensor} is missing")]
    MissingTensor {
        /// Name of the tensor.
        tensor: String,
    },
    /// There are tensors that the manifest does not speak of.
    #[error("expected {expected} tensors, found {found}")]
    ExtraTensors {
        /// Number the manifest asks for.
        expected: usize,
        /// Number in the file.
        found: usize,
    },
    /// A tensor is of another type than f32.
    #[error("tensor {tensor} holds {found}, expected F32")]
    Type {
        /// Name of the tensor.
        tensor: String,
        /// Its type.
        found: String,
    },
    /// A tensor has another shape than the rest of the model implies.
    #[error("tensor {tensor} has shape {found:?}, expected {expected:?}")]
    Shape {
        /// Name of the tensor.
        tensor: String,
        /// The shape that fits.
        expected: Vec<usize>,
        /// The shape found.
        found: Vec<usize>,
    },
    /// A tensor holds NaN or an infinity.
    #[error("tensor {tensor} is not finite at position {position}")]
    NotFinite {
        /// Name of the tensor.
        tensor: String,
        /// First such position, row-major.
        position: usize,
    },
    /// A divisor of the pipeline is zero or negative.
    #[error("tensor {tensor} must be positive, position {position} is not")]
    NotPositive {
        /// Name of the tensor.
        tensor: String,
        /// First such position.
        position: usize,
    },
    /// A model of sets has a pipeline: sets are compared as they are.
    #[error("the metric is Jaccard, but the pipeline has {steps} steps, expected none")]
    StepsOfSets {
        /// Number of steps.
        steps: usize,
    },
    /// A centroid of sets has something else than the share of its rows that have a member.
    #[error("tensor centroids must hold shares from 0 to 1 for the metric Jaccard, position {position} does not")]
    NotShare {
        /// First such position, row-major.
        position: usize,
    },
    /// Rows have members, but are not compared as sets.
    #[error("members of sets are recorded, but the metric is not Jaccard")]
    MembersOfVectors,
    /// The items are not the rows of the input, or their parts have strange names.
    #[error("the parts of the items do not make up the {rows} rows of the clusters, cluster by cluster")]
    Items {
        /// Rows of the input that belong to clusters.
        rows: u64,
    },
    /// Feature names do not match the input dimension.
    #[error("{found} feature names for an input dimension of {expected}")]
    FeatureNames {
        /// Input dimension.
        expected: usize,
        /// Number of names.
        found: usize,
    },
    /// Cluster statistics do not match the centroids.
    #[error("statistics of {found} clusters for {expected} centroids")]
    Statistics {
        /// Number of centroids.
        expected: usize,
        /// Number of entries.
        found: usize,
    },
    /// A measured number is NaN or infinite.
    #[error("{what} is not a finite number")]
    Measure {
        /// Which one.
        what: String,
    },
    /// The recorded digest is not that of the model.
    #[error("the model has digest {found}, the manifest says {expected}")]
    ModelDigest {
        /// Digest in the manifest.
        expected: String,
        /// Digest of what was read.
        found: String,
    },
}

/// Checks every rule that does not depend on files.
pub(crate) fn validate(model: &Model) -> Result<(), Violation> {
    if paths::number(&model.version).is_none() {
        return Err(Violation::Version { version: model.version.clone() });
    }
    if model.name.is_empty() || model.name.len() > 253 {
        return Err(Violation::Name { bytes: model.name.len() });
    }
    if model.n_clusters() == 0 || model.dimension() == 0 {
        return Err(Violation::NoClusters);
    }
    shapes(model)?;
    for tensor in tensors::of(model) {
        if let Some(position) = tensor.values.iter().position(|value| !value.is_finite()) {
            return Err(Violation::NotFinite { tensor: tensor.name, position });
        }
        let divisor = tensor.name.ends_with(".deviation") || tensor.name.ends_with(".range");
        if divisor && let Some(position) = tensor.values.iter().position(|&value| value <= 0.0) {
            return Err(Violation::NotPositive { tensor: tensor.name, position });
        }
    }
    if model.metric == Metric::Jaccard {
        sets(model)?;
    } else if model.members.is_some() {
        return Err(Violation::MembersOfVectors);
    }
    let (expected, found) = (model.input_dimension(), model.feature_names.len());
    if expected != found {
        return Err(Violation::FeatureNames { expected, found });
    }
    let (expected, found) = (model.n_clusters(), model.clusters.len());
    if expected != found {
        return Err(Violation::Statistics { expected, found });
    }
    measures(model)?;
    let rows = model.training.input.rows;
    let assigned = model.clusters.iter().fold(0u64, |sum, cluster| sum.saturating_add(cluster.size));
    let clustered = rows.saturating_sub(model.training.metrics.noise.unwrap_or(0));
    match &model.items {
        Some(items) if !items.fit(clustered) || assigned != clustered => Err(Violation::Items { rows: clustered }),
        Some(_) | None => Ok(()),
    }
}

/// Every tensor has the shape its neighbours imply.
fn shapes(model: &Model) -> Result<(), Violation> {
    let mut columns = model.pipeline.input_dimension;
    for (i, transform) in model.pipeline.transforms.iter().enumerate() {
        let check = |part: &str, values: &[f32], expected: usize| {
            if values.len() == expected {
                Ok(())
            } else {
                Err(Violation::shape(&format!("pipeline.{i}.{part}"), &[expected], &[values.len()]))
            }
        };
        match transform {
            Transform::Standardize { mean, deviation } => {
                check("mean", mean, columns)?;
                check("deviation", deviation, columns)?;
            }
            Transform::MinMax { minimum, range } => {
                check("minimum", minimum, columns)?;
                check("range", range, columns)?;
            }
            Transform::L2Normalize => {}
            Transform::Pca { mean, components, explained_variance, explained_variance_ratio } => {
                check("mean", mean, columns)?;
                check("explained_variance_ratio", explained_variance_ratio, explained_variance.len())?;
                check("components", components, explained_variance.len().saturating_mul(columns))?;
                columns = explained_variance.len();
            }
            Transform::Center { mean } => check("mean", mean, columns)?,
        }
    }
    if model.dimension() != columns {
        let (k, d) = (model.n_clusters(), model.dimension());
        return Err(Violation::shape("centroids", &[k, columns], &[k, d]));
    }
    Ok(())
}

/// A model of sets compares rows of zeros and ones, as they are, with the shares of its rows that have each member.
fn sets(model: &Model) -> Result<(), Violation> {
    let steps = model.pipeline.transforms.len();
    if steps > 0 {
        return Err(Violation::StepsOfSets { steps });
    }
    match model.centroids.values().iter().position(|share| !(0.0..=1.0).contains(share)) {
        Some(position) => Err(Violation::NotShare { position }),
        None => Ok(()),
    }
}

/// Every measured number is finite: JSON has no other.
fn measures(model: &Model) -> Result<(), Violation> {
    let Metrics { inertia, noise: _, silhouette, silhouette_rows: _, davies_bouldin, calinski_harabasz, ari, nmi } =
        &model.training.metrics;
    let scores = [
        ("inertia", Some(*inertia)),
        ("silhouette", *silhouette),
        ("davies_bouldin", *davies_bouldin),
        ("calinski_harabasz", *calinski_harabasz),
        ("ari", *ari),
        ("nmi", *nmi),
    ];
    for (what, value) in scores {
        if value.is_some_and(|value| !value.is_finite()) {
            return Err(Violation::Measure { what: what.to_owned() });
        }
    }
    for (i, cluster) in model.clusters.iter().enumerate() {
        let ClusterStatistics {
            size: _,
            share,
            inertia,
            mean_distance,
            radius,
            distance_percentiles,
            silhouette,
            exemplars: _,
        } = cluster;
        let measured = [*share, *inertia, *mean_distance, *radius, silhouette.unwrap_or(0.0)];
        let DistancePercentiles { p50, p90, p95, p99 } = distance_percentiles.unwrap_or_default();
        if measured.iter().chain(&[p50, p90, p95, p99]).any(|value| !value.is_finite()) {
            return Err(Violation::Measure { what: format!("a statistic of cluster {i}") });
        }
    }
    Ok(())
}

// === impl Violation ===

impl Violation {
    pub(crate) fn shape(tensor: &str, expected: &[usize], found: &[usize]) -> Self {
        Self::Shape { tensor: tensor.to_owned(), expected: expected.to_vec(), found: found.to_vec() }
    }
}
