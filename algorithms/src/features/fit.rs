//! From moments to transforms.

use nalgebra::{DMatrix, SymmetricEigen};

use super::{Moments, Step, Transform};

/// Why a feature step could not be fitted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FeatureError {
    /// There was nothing to fit to.
    #[error("a feature step cannot be fitted to no rows")]
    NoRows,
    /// PCA was asked for no components or for more than there are columns.
    #[error("PCA of {dimension} columns keeps from 1 to {dimension} components, not {components}")]
    Components {
        /// Components asked for.
        components: usize,
        /// Columns available.
        dimension: usize,
    },
    /// PCA was asked for but the moments were taken without covariance.
    #[error("the moments hold no covariance")]
    NoCovariance,
    /// The bounds or moments are of another dimension than each other.
    #[error("the moments have {moments} columns but the bounds have {bounds}")]
    Dimension {
        /// Columns of the moments.
        moments: usize,
        /// Columns of the bounds.
        bounds: usize,
    },
    /// The eigenvalues of the covariance did not settle.
    #[error("the principal components of {dimension} columns did not converge")]
    NoConvergence {
        /// Columns of the input.
        dimension: usize,
    },
}

/// Fits `step` to rows with the given moments and bounds per column.
///
/// Conventions are scikit-learn's: the deviation is the population's, and a constant column is divided by 1. The sign of a
/// principal component is fixed by making its entry of largest magnitude positive.
///
/// # Errors
/// See [`FeatureError`].
pub fn fit(step: &Step, moments: &Moments, min: &[f32], max: &[f32]) -> Result<Transform, FeatureError> {
    let dimension = moments.dimension();
    if min.len() != dimension || max.len() != dimension {
        return Err(FeatureError::Dimension { moments: dimension, bounds: min.len().min(max.len()) });
    }
    if moments.count() == 0 {
        return Err(FeatureError::NoRows);
    }
    let one_if_zero = |v: f32| if v > 0.0 { v } else { 1.0 };
    match *step {
        Step::Standardize => Ok(Transform::Standardize {
            mean: narrow(&moments.mean()),
            deviation: moments.variance().iter().map(|v| one_if_zero(v.sqrt() as f32)).collect(),
        }),
        Step::MinMax => Ok(Transform::MinMax {
            minimum: min.to_vec(),
            range: min.iter().zip(max).map(|(&a, &b)| one_if_zero(b - a)).collect(),
        }),
        Step::L2Normalize => Ok(Transform::L2Normalize),
        Step::Pca { components } => pca(components, moments),
        Step::Center => Ok(Transform::Center { mean: narrow(&moments.mean()) }),
    }
}

fn narrow(values: &[f64]) -> Vec<f32> {
    values.iter().map(|&v| v as f32).collect()
}

fn pca(components: usize, moments: &Moments) -> Result<Transform, FeatureError> {
    /// Far more than the few iterations per eigenvalue that are needed.
    const MAX_ITERATIONS: usize = 100_000;
    let dimension = moments.dimension();
    if components == 0 || components > dimension {
        return Err(FeatureError::Components { components, dimension });
    }
    let covariance = moments.covariance().ok_or(FeatureError::NoCovariance)?;
    let matrix = DMatrix::from_row_slice(dimension, dimension, &covariance);
    let eigen = SymmetricEigen::try_new(matrix, f64::EPSILON, MAX_ITERATIONS)
        .ok_or(FeatureError::NoConvergence { dimension })?;
    let mut order: Vec<usize> = (0..dimension).collect();
    order.sort_by(|&a, &b| eigen.eigenvalues[b].total_cmp(&eigen.eigenvalues[a]).then(a.cmp(&b)));

    let rows = moments.count() as f64;
    let unbiased = rows / (rows - 1.0).max(1.0);
    let total: f64 = (0..dimension).map(|j| covariance[j * dimension + j]).sum::<f64>() * unbiased;
    let mut vectors = Vec::with_capacity(components * dimension);
    let mut explained_variance = Vec::with_capacity(components);
    let mut explained_variance_ratio = Vec::with_capacity(components);
    for &index in &order[..components] {
        let variance = eigen.eigenvalues[index].max(0.0) * unbiased;
        explained_variance.push(variance as f32);
        explained_variance_ratio.push(if total > 0.0 { (variance / total) as f32 } else { 0.0 });
        let vector: Vec<f64> = eigen.eigenvectors.column(index).iter().copied().collect();
        let largest = vector.iter().copied().fold(0.0f64, |best, v| if v.abs() > best.abs() { v } else { best });
        let sign = if largest < 0.0 { -1.0 } else { 1.0 };
        vectors.extend(vector.iter().map(|v| (v * sign) as f32));
    }
    Ok(Transform::Pca {
        mean: narrow(&moments.mean()),
        components: vectors,
        explained_variance,
        explained_variance_ratio,
    })
}
