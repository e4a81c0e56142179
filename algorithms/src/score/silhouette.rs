//! The silhouette coefficient.

use rayon::prelude::*;

use super::bits::Bits;
use crate::features::normalize;
use crate::fixed::{exponent_above, power_of_two};
use crate::kmeans::kernel::{self, Groups, PAIR_CHUNK};
use crate::metric::Metric;

/// Silhouette coefficients of a clustering.
#[derive(Clone, Debug, PartialEq)]
pub struct Silhouette {
    /// Mean over all rows; 0 without rows.
    pub mean: f64,
    /// Mean over the rows of each cluster; 0 for a cluster without rows.
    pub per_cluster: Vec<f64>,
    /// Coefficient of each row, -1 to 1.
    pub per_sample: Vec<f64>,
}

/// The silhouette of rows (row-major, `labels.len()` x d) in `k` clusters: for each row `(b - a) / max(a, b)`, where `a`
/// is its mean distance to the other rows of its cluster and `b` the least mean distance to the rows of another one.
///
/// A row that is alone in its cluster has coefficient 0; so have all rows if fewer than two clusters have rows. The cosine
/// distance of a row of zeros to any other row is 1, as in scikit-learn. For [`Metric::Jaccard`] a row is the set of its columns
/// that are not 0.
///
/// All pairs are looked at, in O(n^2 d) on all threads; the result does not depend on their number. Distances of pairs are
/// in `f32`, but in `f64` for sets; everything else in `f64`.
///
/// # Panics
/// If the shapes do not agree or a label is k or more.
pub fn silhouette(points: &[f32], dimension: usize, labels: &[u32], k: usize, metric: Metric) -> Silhouette {
    assert_eq!(points.len(), labels.len() * dimension, "points and labels disagree");
    let mut counts = vec![0; k];
    labels.iter().for_each(|&label| counts[label as usize] += 1);
    let per_sample = match metric {
        Metric::Euclidean | Metric::Cosine => of_vectors(points, dimension, labels, k, metric),
        Metric::Jaccard => of_sets(points, dimension, labels, &counts),
    };
    let mut per_cluster = vec![0.0; k];
    for (&label, value) in labels.iter().zip(&per_sample) {
        per_cluster[label as usize] += value;
    }
    for (sum, &count) in per_cluster.iter_mut().zip(&counts) {
        *sum /= count.max(1) as f64;
    }
    let mean = per_sample.iter().sum::<f64>() / labels.len().max(1) as f64;
    Silhouette { mean, per_cluster, per_sample }
}

/// The coefficients of sets.
fn of_sets(points: &[f32], dimension: usize, labels: &[u32], counts: &[u64]) -> Vec<f64> {
    let bits = Bits::new(points, dimension);
    let coefficient_of = |sums: &mut Vec<f64>, i: usize| {
        bits.distance_sums(i, labels, sums);
        coefficient(sums, counts, labels[i] as usize)
    };
    (0..labels.len()).into_par_iter().map_init(|| vec![0.0; counts.len()], coefficient_of).collect()
}

/// The coefficients of vectors.
fn of_vectors(points: &[f32], dimension: usize, labels: &[u32], k: usize, metric: Metric) -> Vec<f64> {
    let points = prepare(points, dimension, metric);
    let groups = Groups::new(&points, dimension, labels, k);
    let tally = Tally::new(&points, dimension, labels, k, metric);
    let mut per_sample = vec![0.0; labels.len()];
    points
        .par_chunks(PAIR_CHUNK * dimension)
        .zip(labels.par_chunks(PAIR_CHUNK))
        .zip(per_sample.par_chunks_mut(PAIR_CHUNK))
        .for_each_init(
            || vec![0.0; PAIR_CHUNK * k],
            |sums, ((rows, labels), out)| {
                let sums = &mut sums[..labels.len() * k];
                kernel::distance_sums(&groups, rows, metric == Metric::Cosine, sums);
                let each = sums.chunks_exact_mut(k).zip(rows.chunks_exact(dimension)).zip(labels).zip(out);
                for (((sums, row), &label), out) in each {
                    if metric == Metric::Cosine {
                        tally.to_cosine(sums, row, label as usize);
                    }
                    *out = coefficient(sums, &tally.counts, label as usize);
                }
            },
        );
    per_sample
}

/// Brings rows to a range in which squares neither overflow nor vanish: the silhouette does not depend on the unit.
fn prepare(points: &[f32], dimension: usize, metric: Metric) -> Vec<f32> {
    let mut points = points.to_vec();
    match metric {
        Metric::Euclidean => {
            let largest = points.iter().fold(0.0f32, |largest, v| largest.max(v.abs()));
            let factor = power_of_two(-exponent_above(largest.into()));
            points.iter_mut().for_each(|v| *v = (f64::from(*v) * factor) as f32);
        }
        Metric::Cosine => points.chunks_exact_mut(dimension).for_each(normalize),
        Metric::Jaccard => {}
    }
    points
}

/// Rows per cluster, and rows of zeros among them.
struct Tally {
    counts: Vec<u64>,
    zeros: Vec<u64>,
}

impl Tally {
    fn new(points: &[f32], dimension: usize, labels: &[u32], k: usize, metric: Metric) -> Self {
        let mut tally = Self { counts: vec![0; k], zeros: vec![0; k] };
        for (row, &label) in points.chunks_exact(dimension).zip(labels) {
            tally.counts[label as usize] += 1;
            tally.zeros[label as usize] += u64::from(metric == Metric::Cosine && is_zero(row));
        }
        tally
    }

    /// Turns sums of squared distances of unit rows into sums of cosine distances.
    ///
    /// Half the squared distance is the cosine distance of unit rows. Half is missing for each row of zeros in a pair.
    fn to_cosine(&self, sums: &mut [f64], row: &[f32], own: usize) {
        let zero = is_zero(row);
        for ((sum, &count), &zeros) in sums.iter_mut().zip(&self.counts).zip(&self.zeros) {
            *sum = (*sum + zeros as f64 + if zero { count as f64 } else { 0.0 }) / 2.0;
        }
        if zero {
            // The row's distance to itself is not 1.
            sums[own] -= 1.0;
        }
    }
}

fn is_zero(row: &[f32]) -> bool {
    row.iter().all(|&v| v == 0.0)
}

/// The coefficient of a row from its summed distances to each cluster.
fn coefficient(sums: &[f64], counts: &[u64], own: usize) -> f64 {
    if counts[own] <= 1 {
        return 0.0;
    }
    let a = sums[own] / (counts[own] - 1) as f64;
    let mut b = f64::INFINITY;
    for (cluster, (&sum, &count)) in sums.iter().zip(counts).enumerate() {
        if cluster != own && count > 0 {
            b = b.min(sum / count as f64);
        }
    }
    let larger = a.max(b);
    if b.is_finite() && larger > 0.0 { (b - a) / larger } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kmeans::squared_distance;
    use proptest::prelude::*;

    /// The definition, pair by pair.
    fn naive(points: &[f32], dimension: usize, labels: &[u32], k: usize, metric: Metric) -> Vec<f64> {
        let row = |i: usize| &points[i * dimension..][..dimension];
        let distance = |i: usize, j: usize| {
            let (a, b) = (row(i), row(j));
            let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum::<f64>();
            match metric {
                Metric::Euclidean => squared_distance(a, b).sqrt(),
                Metric::Cosine if i == j => 0.0,
                Metric::Cosine if dot(a, a) == 0.0 || dot(b, b) == 0.0 => 1.0,
                Metric::Cosine => 1.0 - dot(a, b) / (dot(a, a) * dot(b, b)).sqrt(),
                Metric::Jaccard => crate::jaccard::distance(a, b),
            }
        };
        let n = labels.len();
        (0..n)
            .map(|i| {
                let mean = |cluster: u32| {
                    let others: Vec<usize> = (0..n).filter(|&j| j != i && labels[j] == cluster).collect();
                    (!others.is_empty())
                        .then(|| others.iter().map(|&j| distance(i, j)).sum::<f64>() / others.len() as f64)
                };
                let b = (0..k as u32).filter(|&c| c != labels[i]).filter_map(mean).min_by(f64::total_cmp);
                match (mean(labels[i]), b) {
                    (Some(a), Some(b)) if a.max(b) > 0.0 => (b - a) / a.max(b),
                    _ => 0.0,
                }
            })
            .collect()
    }

    fn agree(points: &[f32], dimension: usize, labels: &[u32], k: usize, metric: Metric) {
        let fast = silhouette(points, dimension, labels, k, metric);
        let slow = naive(points, dimension, labels, k, metric);
        for (i, (fast, slow)) in fast.per_sample.iter().zip(&slow).enumerate() {
            assert!((fast - slow).abs() < 1e-5, "row {i}: {fast} but {slow}");
        }
        let mean = slow.iter().sum::<f64>() / slow.len().max(1) as f64;
        assert!((fast.mean - mean).abs() < 1e-6);
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(
            d in 1usize..20, k in 1usize..6, seed: u64, n in 0usize..120, scale in prop_oneof![Just(1.0f32), Just(1e30), Just(1e-30)],
            cosine: bool,
        ) {
            let stream = crate::random::Stream::new(seed, crate::random::Purpose::Generate, 0);
            let points: Vec<f32> = (0..(n * d) as u64)
                // Every fifth row or so is all zeros.
                .map(|i| if stream.hash(i / d as u64).is_multiple_of(5) { 0.0 } else { (stream.uniform(i) - 0.3) as f32 * scale })
                .collect();
            let labels: Vec<u32> = (0..n as u64).map(|i| (stream.hash(!i) % k as u64) as u32).collect();
            agree(&points, d, &labels, k, if cosine { Metric::Cosine } else { Metric::Euclidean });
            let sets: Vec<f32> = points.iter().map(|&v| f32::from(u8::from(v > 0.0))).collect();
            agree(&sets, d, &labels, k, Metric::Jaccard);
        }
    }

    #[test]
    fn by_hand() {
        let s = silhouette(&[0.0, 1.0, 10.0], 1, &[0, 0, 2], 4, Metric::Euclidean);
        assert!((s.per_sample[0] - 0.9).abs() < 1e-7 && (s.per_sample[1] - 8.0 / 9.0).abs() < 1e-7);
        assert_eq!(s.per_sample[2], 0.0);
        assert_eq!((s.per_cluster[1], s.per_cluster[2], s.per_cluster[3]), (0.0, 0.0, 0.0));
        assert!((s.mean - (0.9 + 8.0 / 9.0) / 3.0).abs() < 1e-7);
    }

    #[test]
    fn degenerate_clusterings_score_zero() {
        for (points, labels) in [(vec![], vec![]), (vec![1.0, 2.0], vec![1, 1]), (vec![3.0, 3.0, 3.0], vec![0, 1, 1])] {
            let s = silhouette(&points, 1, &labels, 2, Metric::Euclidean);
            assert_eq!((s.mean, s.per_cluster), (0.0, vec![0.0, 0.0]));
        }
    }

    #[test]
    fn the_number_of_threads_does_not_matter() {
        let stream = crate::random::Stream::new(3, crate::random::Purpose::Generate, 0);
        let points: Vec<f32> = (0..5000).map(|i| stream.uniform(i) as f32).collect();
        let labels: Vec<u32> = (0..1000).map(|i| i % 7).collect();
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| silhouette(&points, 5, &labels, 7, Metric::Euclidean))
        };
        assert_eq!(run(1), run(4));
    }
}
