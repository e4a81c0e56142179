//! The directions in which weighted rows vary most, for pictures.

use crate::lanes;
use crate::random::{Purpose, Stream};

/// Most rounds of the iteration. What has not settled by then are axes along which the rows vary equally, so that any
/// serve.
const ROUNDS: usize = 300;

/// Movement of the axes, squared, below which they have settled.
const SETTLED: f64 = 1e-18;

/// A mean, and orthonormal directions from it, along which rows vary most.
#[derive(Clone, Debug, PartialEq)]
pub struct Axes {
    mean: Vec<f64>,
    /// count x d.
    directions: Vec<f64>,
    /// Share of the rows' variance along each direction.
    explained: Vec<f64>,
}

impl Axes {
    /// The first `count` principal axes of `rows` (n x d) with the given weights; fewer where there are fewer columns.
    ///
    /// By orthogonal iteration (G. Golub and C. Van Loan, "Matrix Computations", 8.2.4) on rows rather than on a matrix of
    /// covariances: O(n d) time per round, O((n + d) count) memory. The sign of a direction is fixed by making its entry of
    /// largest magnitude positive.
    ///
    /// # Panics
    /// If the shapes do not agree.
    pub fn new(rows: &[f32], dimension: usize, weights: &[f64], count: usize) -> Self {
        assert_eq!(rows.len(), weights.len() * dimension, "one weight per row is needed");
        let total = weights.iter().sum::<f64>().max(f64::MIN_POSITIVE);
        let mut mean = vec![0.0; dimension];
        for (row, weight) in rows.chunks_exact(dimension.max(1)).zip(weights) {
            mean.iter_mut().zip(row).for_each(|(mean, &value)| *mean += weight / total * f64::from(value));
        }
        let count = count.min(dimension);
        let stream = Stream::new(0, Purpose::Sample, 0);
        let mut directions: Vec<f64> = (0..count * dimension).map(|at| stream.uniform(at as u64) - 0.5).collect();
        orthonormalise(&mut directions, dimension);
        let mut variances = vec![0.0; count];
        for _ in 0..ROUNDS {
            let before = directions.clone();
            variances = turn(rows, &mean, weights, &mut directions);
            orthonormalise(&mut directions, dimension);
            let moved: f64 = before.iter().zip(&directions).map(|(a, b)| (a - b) * (a - b)).sum();
            if moved < SETTLED {
                break;
            }
        }
        let spread = |(row, weight): (&[f32], &f64)| {
            weight * row.iter().zip(&mean).map(|(&value, mean)| (f64::from(value) - mean).powi(2)).sum::<f64>()
        };
        let whole: f64 = rows.chunks_exact(dimension.max(1)).zip(weights).map(spread).sum();
        let explained = variances.iter().map(|variance| if whole > 0.0 { variance / whole } else { 0.0 }).collect();
        directions.chunks_exact_mut(dimension.max(1)).for_each(upright);
        Self { mean, directions, explained }
    }

    /// Share of the variance along each axis, the greatest first.
    pub fn explained(&self) -> &[f64] {
        &self.explained
    }

    /// Where a row lies along each axis.
    pub fn place<'a>(&'a self, row: &'a [f32]) -> impl Iterator<Item = f64> + 'a {
        let along = |direction: &[f64]| lanes::dot(direction, row) - lanes::dot_wide(direction, &self.mean);
        self.directions.chunks_exact(self.mean.len().max(1)).map(along)
    }
}

/// Multiplies the directions by the rows' scatter; gives what each had along itself.
fn turn(rows: &[f32], mean: &[f64], weights: &[f64], directions: &mut [f64]) -> Vec<f64> {
    let dimension = mean.len();
    let mut turned = vec![0.0; directions.len()];
    let offsets: Vec<f64> = directions.chunks_exact(dimension).map(|way| lanes::dot_wide(way, mean)).collect();
    for (row, weight) in rows.chunks_exact(dimension.max(1)).zip(weights) {
        let ways = directions.chunks_exact(dimension).zip(&offsets).zip(turned.chunks_exact_mut(dimension));
        for ((way, offset), turned) in ways {
            let along = weight * (lanes::dot(way, row) - offset);
            for ((turned, &value), mean) in turned.iter_mut().zip(row).zip(mean) {
                *turned += along * (f64::from(value) - mean);
            }
        }
    }
    let pairs = directions.chunks_exact(dimension).zip(turned.chunks_exact(dimension));
    let variances = pairs.map(|(way, turned)| lanes::dot_wide(way, turned)).collect();
    directions.copy_from_slice(&turned);
    variances
}

/// Gram-Schmidt. A direction without length, where the rows do not vary, stays without.
fn orthonormalise(directions: &mut [f64], dimension: usize) {
    for at in 0..directions.len() / dimension.max(1) {
        let (done, rest) = directions.split_at_mut(at * dimension);
        let way = &mut rest[..dimension];
        // Twice is enough to remove what rounding leaves.
        for other in done.chunks_exact(dimension).chain(done.chunks_exact(dimension)) {
            let along = lanes::dot_wide(other, way);
            way.iter_mut().zip(other).for_each(|(value, other)| *value -= along * other);
        }
        let length = lanes::dot_wide(way, way).sqrt();
        let by = if length > f64::MIN_POSITIVE { 1.0 / length } else { 0.0 };
        way.iter_mut().for_each(|value| *value *= by);
    }
}

/// Makes the entry of largest magnitude positive.
fn upright(direction: &mut [f64]) {
    let largest =
        direction.iter().copied().fold(0.0f64, |best, value| if value.abs() > best.abs() { value } else { best });
    if largest < 0.0 {
        direction.iter_mut().for_each(|value| *value = -*value);
    }
}

#[cfg(test)]
mod tests {
    use nalgebra::{DMatrix, SymmetricEigen};

    use super::*;
    use crate::made::blobs;

    /// The slow twin: eigenvalues of the weighted covariance.
    fn eigenvalues(rows: &[f32], d: usize, weights: &[f64]) -> Vec<f64> {
        let total: f64 = weights.iter().sum();
        let n = weights.len();
        let mean = |j: usize| (0..n).map(|i| weights[i] * f64::from(rows[i * d + j])).sum::<f64>() / total;
        let means: Vec<f64> = (0..d).map(mean).collect();
        let entry = |a: usize, b: usize| {
            let term = |i: usize| {
                weights[i] * (f64::from(rows[i * d + a]) - means[a]) * (f64::from(rows[i * d + b]) - means[b])
            };
            (0..n).map(term).sum::<f64>()
        };
        let eigen = SymmetricEigen::new(DMatrix::from_fn(d, d, entry));
        let mut values: Vec<f64> = eigen.eigenvalues.iter().copied().collect();
        values.sort_by(|a, b| b.total_cmp(a));
        values
    }

    #[test]
    fn the_axes_are_those_of_the_covariance() {
        for (n, d) in [(200, 5), (40, 17), (3, 30)] {
            let rows = blobs(n, d, 5, 3);
            let weights: Vec<f64> = (0..n).map(|i| 1.0 + (i % 7) as f64).collect();
            let axes = Axes::new(&rows, d, &weights, 2);
            let values = eigenvalues(&rows, d, &weights);
            let whole: f64 = values.iter().sum();
            for (explained, value) in axes.explained().iter().zip(&values) {
                assert!((explained - value / whole).abs() < 1e-6, "{explained} instead of {}", value / whole);
            }
            // Places have the variance that is claimed.
            let mut along = [0.0; 2];
            for (row, weight) in rows.chunks_exact(d).zip(&weights) {
                axes.place(row).zip(&mut along).for_each(|(place, sum)| *sum += weight * place * place);
            }
            for (along, value) in along.iter().zip(&values) {
                assert!((along - value).abs() < 1e-5 * whole, "{along} instead of {value}");
            }
        }
    }

    #[test]
    fn rows_that_do_not_vary_lie_at_the_origin() {
        let axes = Axes::new(&[2.0; 12], 3, &[1.0; 4], 2);
        assert_eq!(axes.explained(), [0.0, 0.0]);
        assert_eq!(axes.place(&[2.0; 3]).collect::<Vec<_>>(), [0.0, 0.0]);
        let line = Axes::new(&[1.0, 2.0, 6.0], 1, &[1.0; 3], 2);
        assert_eq!(line.explained(), [1.0]);
        assert_eq!(line.place(&[6.0]).collect::<Vec<_>>(), [3.0]);
    }
}
