//! Fitted transforms and their application to rows.

use serde::{Deserialize, Serialize};

use crate::kmeans::kernel;
use crate::lanes;

/// A fitted feature step.
///
/// Arithmetic is in `f64`, rounded once to `f32` at the end of each transform.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Transform {
    /// `(x - mean) / deviation` per column.
    Standardize {
        /// Mean of each column.
        mean: Vec<f32>,
        /// Standard deviation (population) of each column; 1 where a column is constant.
        deviation: Vec<f32>,
    },
    /// `(x - minimum) / range` per column.
    MinMax {
        /// Least value of each column.
        minimum: Vec<f32>,
        /// Greatest minus least value of each column; 1 where a column is constant.
        range: Vec<f32>,
    },
    /// `x / |x|` per row; a row of zeros stays.
    L2Normalize,
    /// `components * (x - mean)`.
    Pca {
        /// Mean of each input column.
        mean: Vec<f32>,
        /// One unit vector per output column, row-major, p x d.
        components: Vec<f32>,
        /// Variance of each output column (with n - 1 degrees of freedom), descending.
        explained_variance: Vec<f32>,
        /// `explained_variance` as a share of the total variance.
        explained_variance_ratio: Vec<f32>,
    },
    /// `x - mean` per column.
    Center {
        /// Mean of each column.
        mean: Vec<f32>,
    },
}

impl Transform {
    /// Number of columns it takes; `None` if any will do.
    pub fn input_dimension(&self) -> Option<usize> {
        match self {
            Self::Standardize { mean, .. } | Self::Pca { mean, .. } | Self::Center { mean } => Some(mean.len()),
            Self::MinMax { minimum, .. } => Some(minimum.len()),
            Self::L2Normalize => None,
        }
    }

    /// Number of columns it gives for `input` columns.
    pub fn output_dimension(&self, input: usize) -> usize {
        match self {
            Self::Pca { mean, components, .. } => components.len() / mean.len().max(1),
            Self::Standardize { .. } | Self::MinMax { .. } | Self::L2Normalize | Self::Center { .. } => input,
        }
    }

    /// Transforms rows of `dimension` columns in place; only PCA uses `spare`.
    fn apply(&self, dimension: usize, rows: &mut Vec<f32>, spare: &mut Vec<f32>) {
        match self {
            Self::Standardize { mean, deviation } => scale_columns(rows, mean, deviation),
            Self::MinMax { minimum, range } => scale_columns(rows, minimum, range),
            Self::L2Normalize => {
                for row in rows.chunks_exact_mut(dimension) {
                    normalize(row);
                }
            }
            Self::Pca { mean, components, .. } => {
                kernel::project(rows, mean, components, spare);
                std::mem::swap(rows, spare);
            }
            Self::Center { mean } => {
                for row in rows.chunks_exact_mut(dimension) {
                    for (value, &mean) in row.iter_mut().zip(mean) {
                        *value -= mean;
                    }
                }
            }
        }
    }

    /// Bounds of each output column, given those of the input columns.
    ///
    /// Every transform of single columns is monotone, rounding included, so its values at the bounds are exact bounds.
    fn bounds(&self, minimum: &[f32], maximum: &[f32]) -> (Vec<f32>, Vec<f32>) {
        match self {
            Self::Standardize { .. } | Self::MinMax { .. } | Self::Center { .. } => {
                let at = |corner: &[f32]| {
                    let mut row = corner.to_vec();
                    self.apply(corner.len(), &mut row, &mut Vec::new());
                    row
                };
                (at(minimum), at(maximum))
            }
            Self::L2Normalize => {
                let low = minimum.iter().map(|&v| if v < 0.0 { -1.0 } else { 0.0 }).collect();
                let high = maximum.iter().map(|&v| if v > 0.0 { 1.0 } else { 0.0 }).collect();
                (low, high)
            }
            Self::Pca { mean, components, .. } => pca_bounds(mean, components, minimum, maximum),
        }
    }
}

/// `(x - shift) / divisor` per column.
fn scale_columns(rows: &mut [f32], shift: &[f32], divisor: &[f32]) {
    for row in rows.chunks_exact_mut(shift.len()) {
        for ((value, &shift), &divisor) in row.iter_mut().zip(shift).zip(divisor) {
            *value = ((f64::from(*value) - f64::from(shift)) / f64::from(divisor)) as f32;
        }
    }
}

/// Brings a row to length 1, unless it is all zeros.
pub(crate) fn normalize(row: &mut [f32]) {
    let norm = lanes::squared_norm(row).sqrt();
    if norm > 0.0 {
        for value in row {
            *value = (f64::from(*value) / norm) as f32;
        }
    }
}

/// Each component is bounded by the box of its terms, and by the length of the longest centred row.
fn pca_bounds(mean: &[f32], components: &[f32], minimum: &[f32], maximum: &[f32]) -> (Vec<f32>, Vec<f32>) {
    // Enough for the rounding of a sum of many terms and of the components' length.
    const SLACK: f64 = 1e-5;
    let low: Vec<f64> = minimum.iter().zip(mean).map(|(&v, &m)| f64::from(v) - f64::from(m)).collect();
    let high: Vec<f64> = maximum.iter().zip(mean).map(|(&v, &m)| f64::from(v) - f64::from(m)).collect();
    let longest = low.iter().zip(&high).map(|(l, h)| (l * l).max(h * h)).sum::<f64>().sqrt();
    let mut bounds = (Vec::new(), Vec::new());
    for component in components.chunks_exact(mean.len()) {
        let (mut least, mut greatest) = (0.0, 0.0);
        for ((&weight, l), h) in component.iter().zip(&low).zip(&high) {
            let (a, b) = (f64::from(weight) * l, f64::from(weight) * h);
            least += a.min(b);
            greatest += a.max(b);
        }
        bounds.0.push((least.max(-longest) - SLACK * longest) as f32);
        bounds.1.push((greatest.min(longest) + SLACK * longest) as f32);
    }
    bounds
}

/// Fitted transforms, applied one after the other to rows of `input_dimension` columns.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Pipeline {
    /// Number of columns of a row before the first transform.
    pub input_dimension: usize,
    /// The transforms in order.
    pub transforms: Vec<Transform>,
}

impl Pipeline {
    /// A pipeline that changes nothing.
    pub fn new(input_dimension: usize) -> Self {
        Self { input_dimension, transforms: Vec::new() }
    }

    /// Number of columns of a row after the last transform.
    pub fn output_dimension(&self) -> usize {
        self.transforms.iter().fold(self.input_dimension, |dimension, transform| transform.output_dimension(dimension))
    }

    /// Adds a transform at the end.
    ///
    /// # Panics
    /// If the transform takes another number of columns than the pipeline gives so far.
    pub fn push(&mut self, transform: Transform) {
        let dimension = self.output_dimension();
        let takes = transform.input_dimension().unwrap_or(dimension);
        assert_eq!(takes, dimension, "the transform takes another number of columns");
        self.transforms.push(transform);
    }

    /// Transforms rows (row-major, n x `input_dimension`) into `out`, which is cleared and then holds
    /// n x [`output_dimension`](Self::output_dimension) numbers. Each row's result depends on that row only.
    pub fn apply(&self, rows: &[f32], out: &mut Vec<f32>) {
        out.clear();
        out.extend_from_slice(rows);
        self.apply_in_place(out);
    }

    /// [`apply`](Self::apply) to rows that are not needed any more.
    pub fn apply_in_place(&self, rows: &mut Vec<f32>) {
        let mut spare = Vec::new();
        let mut dimension = self.input_dimension;
        for transform in &self.transforms {
            transform.apply(dimension, rows, &mut spare);
            dimension = transform.output_dimension(dimension);
        }
    }

    /// Bounds of each output column, given the bounds of each input column.
    ///
    /// No row within the input bounds leaves the output bounds. They are exact for transforms of single columns and may be
    /// wider than needed after PCA.
    pub fn bounds(&self, minimum: &[f32], maximum: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let start = (minimum.to_vec(), maximum.to_vec());
        self.transforms.iter().fold(start, |(low, high), transform| transform.bounds(&low, &high))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn applied(transforms: Vec<Transform>, dimension: usize, rows: &[f32]) -> Vec<f32> {
        let mut pipeline = Pipeline::new(dimension);
        transforms.into_iter().for_each(|transform| pipeline.push(transform));
        let mut out = vec![9.0; 3];
        pipeline.apply(rows, &mut out);
        out
    }

    #[test]
    fn each_transform_by_hand() {
        let rows = [1.0, 10.0, 3.0, 30.0];
        assert_eq!(applied(vec![], 2, &rows), rows);
        let mean = vec![2.0, 20.0];
        assert_eq!(applied(vec![Transform::Center { mean: mean.clone() }], 2, &rows), [-1.0, -10.0, 1.0, 10.0]);
        let standardize = Transform::Standardize { mean: mean.clone(), deviation: vec![1.0, 5.0] };
        assert_eq!(applied(vec![standardize], 2, &rows), [-1.0, -2.0, 1.0, 2.0]);
        let min_max = Transform::MinMax { minimum: vec![1.0, 10.0], range: vec![2.0, 20.0] };
        assert_eq!(applied(vec![min_max], 2, &rows), [0.0, 0.0, 1.0, 1.0]);
        let pca = Transform::Pca {
            mean,
            components: vec![0.6, 0.8],
            explained_variance: vec![1.0],
            explained_variance_ratio: vec![1.0],
        };
        assert_eq!(applied(vec![pca], 2, &rows), [-8.6, 8.6]);
    }

    #[test]
    fn rows_of_zeros_stay_and_others_get_length_one() {
        assert_eq!(applied(vec![Transform::L2Normalize], 2, &[0.0, 0.0, -3.0, 4.0]), [0.0, 0.0, -0.6, 0.8]);
        // Squares of these would overflow or vanish in f32.
        let extremes = [f32::MAX, f32::MAX, f32::from_bits(3), f32::from_bits(4)];
        assert_eq!(applied(vec![Transform::L2Normalize], 2, &extremes)[2..], [0.6, 0.8]);
    }

    #[test]
    #[should_panic(expected = "another number of columns")]
    fn a_transform_of_another_dimension_is_refused() {
        applied(vec![Transform::Center { mean: vec![0.0; 3] }], 2, &[]);
    }

    fn transform(kind: u8, d: usize, numbers: &[f32]) -> Transform {
        let take = |from: usize| numbers[from * d..][..d].to_vec();
        let positive = |from: usize| take(from).iter().map(|v| v.abs() + 0.1).collect::<Vec<f32>>();
        match kind {
            0 => Transform::Standardize { mean: take(0), deviation: positive(1) },
            1 => Transform::MinMax { minimum: take(0), range: positive(1) },
            2 => Transform::L2Normalize,
            3 => {
                let mut components = take(1);
                components[0] += 0.5;
                normalize(&mut components);
                Transform::Pca {
                    mean: take(0),
                    components: components.repeat(d),
                    explained_variance: vec![1.0; d],
                    explained_variance_ratio: vec![0.0; d],
                }
            }
            _ => Transform::Center { mean: take(0) },
        }
    }

    proptest! {
        #[test]
        fn no_row_leaves_the_bounds_and_rows_are_independent(
            d in 1usize..7, n in 1usize..20, kinds in prop::collection::vec(0u8..5, 0..4),
            numbers in prop::collection::vec(-100.0f32..100.0, 7 * 23),
        ) {
            let mut pipeline = Pipeline::new(d);
            kinds.iter().for_each(|&kind| pipeline.push(transform(kind, d, &numbers)));
            let rows = &numbers[2 * d..][..n * d];
            let column = |j: usize| rows.iter().skip(j).step_by(d).copied();
            let min: Vec<f32> = (0..d).map(|j| column(j).fold(f32::INFINITY, f32::min)).collect();
            let max: Vec<f32> = (0..d).map(|j| column(j).fold(f32::NEG_INFINITY, f32::max)).collect();
            let (low, high) = pipeline.bounds(&min, &max);
            let mut out = Vec::new();
            pipeline.apply(rows, &mut out);
            prop_assert_eq!(out.len(), n * pipeline.output_dimension());
            for (i, value) in out.iter().enumerate() {
                prop_assert!((low[i % d]..=high[i % d]).contains(value), "{} not in {}..={}", value, low[i % d], high[i % d]);
            }
            let mut single = Vec::new();
            for (row, expected) in rows.chunks_exact(d).zip(out.chunks_exact(d)) {
                pipeline.apply(row, &mut single);
                prop_assert_eq!(single.as_slice(), expected);
            }
            let bytes = postcard::to_allocvec(&pipeline).unwrap();
            prop_assert_eq!(postcard::from_bytes::<Pipeline>(&bytes).unwrap(), pipeline);
        }
    }
}
