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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::Pipeline;
    use crate::random::{Purpose, Stream};
    use proptest::prelude::*;

    /// Rows of `d` columns that depend on `rank` hidden numbers only.
    fn rows(n: usize, d: usize, rank: usize, seed: u64) -> Vec<f32> {
        let hidden = Stream::new(seed, Purpose::Generate, 0);
        let mixing = Stream::new(seed, Purpose::Generate, 1);
        let mut rows = Vec::new();
        for i in 0..n {
            for j in 0..d {
                let term = |r: usize| {
                    (hidden.uniform((i * rank + r) as u64) - 0.5) * (mixing.uniform((j * rank + r) as u64) - 0.5)
                };
                rows.push((0..rank).map(term).sum::<f64>() as f32);
            }
        }
        rows
    }

    fn moments(rows: &[f32], d: usize, covariance: bool) -> (Moments, Vec<f32>, Vec<f32>) {
        let column = |j: usize| rows.iter().skip(j).step_by(d).copied();
        let min: Vec<f32> = (0..d).map(|j| column(j).fold(f32::INFINITY, f32::min)).collect();
        let max: Vec<f32> = (0..d).map(|j| column(j).fold(f32::NEG_INFINITY, f32::max)).collect();
        let mut moments = Moments::new(&min, &max, (rows.len() / d) as u64, covariance);
        moments.add_rows(rows);
        (moments, min, max)
    }

    #[test]
    fn refusals() {
        let (with, min, max) = moments(&[1.0, 2.0, 3.0, 5.0], 2, true);
        let (without, ..) = moments(&[1.0, 2.0, 3.0, 5.0], 2, false);
        let none = Moments::new(&min, &max, 0, true);
        for components in [0, 3] {
            let error = fit(&Step::Pca { components }, &with, &min, &max).unwrap_err();
            assert_eq!(error, FeatureError::Components { components, dimension: 2 });
        }
        let pca = Step::Pca { components: 1 };
        assert_eq!(fit(&pca, &without, &min, &max), Err(FeatureError::NoCovariance));
        assert_eq!(fit(&Step::Center, &none, &min, &max), Err(FeatureError::NoRows));
        let error = FeatureError::Dimension { moments: 2, bounds: 1 };
        assert_eq!(fit(&Step::Center, &with, &min[..1], &max), Err(error));
        assert_eq!(FeatureError::NoCovariance.to_string(), "the moments hold no covariance");
    }

    #[test]
    fn constant_columns_are_divided_by_one() {
        let (moments, min, max) = moments(&[7.0, 1.0, 7.0, 3.0], 2, true);
        let standardize = fit(&Step::Standardize, &moments, &min, &max).unwrap();
        assert_eq!(standardize, Transform::Standardize { mean: vec![7.0, 2.0], deviation: vec![1.0, 1.0] });
        let min_max = fit(&Step::MinMax, &moments, &min, &max).unwrap();
        assert_eq!(min_max, Transform::MinMax { minimum: vec![7.0, 1.0], range: vec![1.0, 2.0] });
        let Transform::Pca { components, explained_variance, explained_variance_ratio, .. } =
            fit(&Step::Pca { components: 2 }, &moments, &min, &max).unwrap()
        else {
            panic!("not a PCA")
        };
        assert_eq!(components, [0.0, 1.0, 1.0, 0.0]);
        assert_eq!((explained_variance, explained_variance_ratio), (vec![2.0, 0.0], vec![1.0, 0.0]));
    }

    #[test]
    fn one_row_or_equal_rows_have_components_all_the_same() {
        for rows in [vec![1.0, 2.0, 3.0], [1.0, 2.0, 3.0].repeat(5)] {
            let (moments, min, max) = moments(&rows, 3, true);
            let transform = fit(&Step::Pca { components: 3 }, &moments, &min, &max).unwrap();
            let mut pipeline = Pipeline::new(3);
            pipeline.push(transform);
            let mut out = Vec::new();
            pipeline.apply(&rows, &mut out);
            assert!(out.iter().all(|&v| v == 0.0));
        }
    }

    proptest! {
        #[test]
        fn principal_components_are_orthonormal_and_explain_the_variance(
            n in 2usize..60, d in 1usize..24, rank in 1usize..24, seed: u64,
        ) {
            let rows = rows(n, d, rank, seed);
            let (moments, min, max) = moments(&rows, d, true);
            let transform = fit(&Step::Pca { components: d }, &moments, &min, &max).unwrap();
            let Transform::Pca { components, explained_variance, explained_variance_ratio, .. } = &transform else {
                panic!("not a PCA")
            };
            for i in 0..d {
                for j in 0..d {
                    let dot: f64 = (0..d)
                        .map(|c| f64::from(components[i * d + c]) * f64::from(components[j * d + c]))
                        .sum();
                    prop_assert!((dot - f64::from(u8::from(i == j))).abs() < 1e-5);
                }
            }
            prop_assert!(explained_variance.is_sorted_by(|a, b| a >= b));
            prop_assert!((explained_variance_ratio.iter().sum::<f32>() - 1.0).abs() < 1e-4);
            // The projected columns have these variances and stay within their bounds.
            let mut pipeline = Pipeline::new(d);
            pipeline.push(transform.clone());
            let mut out = Vec::new();
            pipeline.apply(&rows, &mut out);
            let (low, high) = pipeline.bounds(&min, &max);
            let (projected, ..) = self::moments(&out, d, false);
            for (j, variance) in projected.variance().iter().enumerate() {
                let variance = variance * n as f64 / (n - 1) as f64;
                prop_assert!((variance - f64::from(explained_variance[j])).abs() < 1e-4 * f64::from(explained_variance[0]));
                prop_assert!(out.iter().skip(j).step_by(d).all(|v| (low[j]..=high[j]).contains(v)));
            }
        }
    }
}
