//! Slow, obvious versions of the building blocks. The tests compare the fast ones with them, bit for bit.

use crate::fixed::Scale;

/// The score of a row for a centroid: minus half the centroid's squared length, then one fused multiply-add per column.
pub fn score(row: &[f32], centroid: &[f32]) -> f32 {
    let bias = super::centroids::bias(centroid);
    row.iter().zip(centroid).fold(bias, |sum, (&x, &c)| x.mul_add(c, sum))
}

/// The centroids of a row by descending score, ties by ascending index.
pub fn ranking(row: &[f32], dimension: usize, centroids: &[f32]) -> Vec<u32> {
    let scores: Vec<f32> = centroids.chunks_exact(dimension).map(|centroid| score(row, centroid)).collect();
    let mut order: Vec<u32> = (0..scores.len() as u32).collect();
    // A stable sort keeps equal scores in the order of their indices; adding zero makes -0.0 equal to 0.0.
    order.sort_by(|&a, &b| (scores[b as usize] + 0.0).total_cmp(&(scores[a as usize] + 0.0)));
    order
}

/// The label of each row.
pub fn assign(rows: &[f32], dimension: usize, centroids: &[f32]) -> Vec<u32> {
    rows.chunks_exact(dimension).map(|row| ranking(row, dimension, centroids)[0]).collect()
}

/// Squared distance, summed as [`squared_distance`](super::squared_distance) does: column j to partial sum j mod 8, then
/// pairwise.
pub fn squared_distance(a: &[f32], b: &[f32]) -> f64 {
    let mut s = [0.0; 8];
    for j in 0..a.len() {
        let difference = f64::from(a[j]) - f64::from(b[j]);
        s[j % 8] += difference * difference;
    }
    ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]))
}

/// Sums, counts and inertia of labelled rows, one value at a time.
pub fn sums(
    centroids: &[f32],
    dimension: usize,
    scale: &Scale,
    rows: &[f32],
    labels: &[u32],
) -> (Vec<i64>, Vec<u64>, i128) {
    let k = centroids.len() / dimension;
    let (mut sums, mut counts, mut inertia) = (vec![0; k * dimension], vec![0; k], 0);
    for (row, &label) in rows.chunks_exact(dimension).zip(labels) {
        let label = label as usize;
        counts[label] += 1;
        for (column, &value) in row.iter().enumerate() {
            sums[label * dimension + column] += scale.quantize(column, value);
        }
        let centroid = &centroids[label * dimension..][..dimension];
        inertia += i128::from(scale.quantize_distance2(squared_distance(row, centroid)));
    }
    (sums, counts, inertia)
}
