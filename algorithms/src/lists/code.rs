//! Rows as one byte per column, and what the bytes leave out.

use crate::kmeans::Centroids;
use crate::kmeans::kernel::{CODE_WIDTH, code_product, largest_offset, offset_code, squared_distance};

/// Largest magnitude of a code.
const MOST: f64 = 127.0;

/// Steps below this are not taken: products of them would lose digits at the lower end of `f32`.
const SMALLEST: f64 = 1e-30;

/// `f32` values are rounded away from the truth by less than this share.
const ROUNDING: f64 = 1.0 / (1u64 << 22) as f64;

/// Length of a row of codes: `dimension`, filled up with zeros to whole vectors.
pub fn code_length(dimension: usize) -> usize {
    dimension.next_multiple_of(CODE_WIDTH)
}

/// The point that queries are seen from: any one among the rows will do, so that columns which lie far from zero cost no digits.
pub(super) fn origin(centroids: &Centroids) -> &[f32] {
    centroids.row(0)
}

/// What a code means: its row less the centroid is `scale * code`, give or take a vector of length `error`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Terms {
    /// Size of a step of the code.
    pub scale: f32,
    /// Squared distance from the [`origin`] of what the code stands for, less that of the centroid.
    pub excess: f32,
    /// Length of what the code leaves out, never too small.
    pub error: f32,
}

/// Writes codes of rows that belong to one cluster.
struct Encoder<'a> {
    centroid: &'a [f32],
    /// From the origin to the centroid.
    away: Vec<f64>,
    steps: Vec<i16>,
}

impl<'a> Encoder<'a> {
    fn new(centroids: &'a Centroids, cluster: usize) -> Self {
        let centroid = centroids.row(cluster);
        let away = centroid.iter().zip(origin(centroids)).map(|(&c, &o)| f64::from(c) - f64::from(o)).collect();
        Self { centroid, away, steps: vec![0; centroid.len()] }
    }

    /// Writes the code of a row.
    ///
    /// # Panics
    /// If the shapes do not agree: `code` has [`code_length`] places.
    fn encode(&mut self, row: &[f32], code: &mut [i8]) -> Terms {
        let Self { centroid, away, steps } = self;
        let d = row.len();
        assert!(d == centroid.len() && code.len() == code_length(d), "row and code disagree");
        code.fill(0);
        let scale = (f64::from(largest_offset(row, centroid)) / MOST) as f32;
        if f64::from(scale) < SMALLEST || !scale.is_finite() {
            // A row that is its centroid, or nearly, or too far for a code.
            return Terms { scale: 0.0, excess: 0.0, error: above(squared_distance(row, centroid).sqrt()) };
        }
        let step = f64::from(scale);
        let [squares, left] = offset_code(row, centroid, step, MOST, steps);
        code.iter_mut().zip(&*steps).for_each(|(code, steps)| *code = *steps as i8);
        let excess = step * (step * squares + 2.0 * code_product(away, steps));
        Terms { scale, excess: excess as f32, error: above(left.sqrt()) }
    }
}

/// Writes the codes of a cluster's rows, row-major, and gives what they mean, and the largest distance of a row to the
/// centroid, never too small.
///
/// # Panics
/// If the shapes do not agree, or there is no such cluster.
pub fn encode_list(centroids: &Centroids, cluster: usize, rows: &[f32], codes: &mut [i8]) -> (Vec<Terms>, f32) {
    let (d, length) = (centroids.dimension(), code_length(centroids.dimension()));
    assert!(rows.len().is_multiple_of(d) && codes.len() == rows.len() / d * length, "rows and codes disagree");
    let mut encoder = Encoder::new(centroids, cluster);
    let mut radius = 0.0f32;
    let pairs = rows.chunks_exact(d).zip(codes.chunks_exact_mut(length));
    let terms = pairs
        .map(|(row, code)| {
            radius = radius.max(above(squared_distance(row, encoder.centroid).sqrt()));
            encoder.encode(row, code)
        })
        .collect();
    (terms, radius)
}

/// A query as seen from the [`origin`]: `step * code`, give or take a vector of length `error`.
#[derive(Clone, Debug, Default)]
pub(super) struct Query {
    pub(super) code: Vec<i16>,
    pub(super) step: f64,
    /// Length of `step * code`.
    pub(super) length: f64,
    pub(super) error: f64,
}

impl Query {
    /// Takes the query's place.
    pub(super) fn set(&mut self, query: &[f32], origin: &[f32]) {
        let d = query.len();
        let length = code_length(d);
        self.code.clear();
        self.code.resize(length, 0);
        // The products of all columns must fit into 32 bits.
        let most = (f64::from(i32::MAX) / (MOST * length as f64)).min(f64::from(i16::MAX)).floor();
        let step = f64::from(largest_offset(query, origin)) / most;
        let squares;
        let left = if step < SMALLEST || !step.is_finite() {
            // Nearly the origin itself, or too far for a code: all of it is left out.
            (self.step, squares) = (0.0, 0.0);
            squared_distance(query, origin)
        } else {
            let [sum, left] = offset_code(query, origin, step, most, &mut self.code[..d]);
            (self.step, squares) = (step, sum);
            left
        };
        self.length = self.step * squares.sqrt();
        self.error = left.sqrt() * (1.0 + ROUNDING);
    }
}

/// An `f32` no smaller than `length`.
pub(super) fn above(length: f64) -> f32 {
    (length * (1.0 + ROUNDING)) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_its_row_but_for_the_error() {
        let stream = crate::random::Stream::new(1, crate::random::Purpose::Generate, 0);
        for d in [1, 5, 16, 33] {
            let number = |i: usize| (stream.uniform(i as u64) - 0.5) as f32 * 9.0;
            let row: Vec<f32> = (0..d).map(number).collect();
            let centroids = Centroids::new(d, (100..100 + 2 * d).map(number).collect());
            let (origin, centroid) = (centroids.row(0), centroids.row(1));
            let mut code = vec![1; code_length(d)];
            let terms = Encoder::new(&centroids, 1).encode(&row, &mut code);
            let place = |j: usize| f64::from(centroid[j]) + f64::from(terms.scale) * f64::from(code[j]);
            let from_origin =
                |place: &dyn Fn(usize) -> f64| (0..d).map(|j| (place(j) - f64::from(origin[j])).powi(2)).sum::<f64>();
            let excess = from_origin(&place) - from_origin(&|j| f64::from(centroid[j]));
            assert!((excess - f64::from(terms.excess)).abs() <= 1e-6 * from_origin(&place), "{d}: {excess}, {terms:?}");
            let left = (0..d).map(|j| (f64::from(row[j]) - place(j)).powi(2)).sum::<f64>().sqrt();
            assert!(left <= f64::from(terms.error) && f64::from(terms.error) <= left * 1.000_001, "{d}: {left}");
            assert!(code[d..].iter().all(|&c| c == 0) && code.iter().any(|c| c.unsigned_abs() == 127));
            assert!(f64::from(terms.error) <= f64::from(terms.scale) / 2.0 * (d as f64).sqrt() * 1.000_001);
        }
        let mut code = vec![1; 16];
        let centroids = Centroids::new(2, vec![2.0, 3.0]);
        assert_eq!(Encoder::new(&centroids, 0).encode(&[2.0, 3.0], &mut code), Terms::default());
        assert_eq!(code, [0; 16]);
    }
}
