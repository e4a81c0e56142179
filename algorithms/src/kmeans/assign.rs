//! The assignment step.

use super::Centroids;
use super::kernel;

/// Labels each row with its nearest centroid; the lowest index wins ties.
///
/// `rows` is row-major, `labels.len()` x d. A row's label depends on the row and the centroids only: not on its place in
/// the block, nor on the machine. "Nearest" is decided by `x . c - |c|^2 / 2` in `f32`, summed over the columns in order
/// with fused multiply-adds; values should be centred and below 1e18 in magnitude, so that squares do not overflow.
///
/// # Panics
/// If `rows` is not `labels.len()` rows of the centroids' dimension.
pub fn assign(centroids: &Centroids, rows: &[f32], labels: &mut [u32]) {
    kernel::assign(centroids.panels(), rows, labels);
}

/// As [`assign`], with the second nearest centroid too; `u32::MAX` where there is only one centroid.
///
/// # Panics
/// If `rows` is not `best.len()` rows of the centroids' dimension, or `second` is of another length than `best`.
pub fn assign_two(centroids: &Centroids, rows: &[f32], best: &mut [u32], second: &mut [u32]) {
    kernel::assign_two(centroids.panels(), rows, best, second);
}

/// The `count` nearest centroids and their squared distances, ordered by (distance, index).
///
/// Distances are in `f64`; where two centroids are equally far to within the rounding of `f32`, the first of them may
/// differ from [`assign`]'s label.
///
/// # Panics
/// If `row` is of another dimension.
pub fn nearest(centroids: &Centroids, row: &[f32], count: usize) -> Vec<(u32, f64)> {
    let mut all: Vec<(u32, f64)> =
        (0..centroids.len()).map(|i| (i as u32, squared_distance(row, centroids.row(i)))).collect();
    let order = |a: &(u32, f64), b: &(u32, f64)| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0));
    if count < all.len() {
        if count > 0 {
            all.select_nth_unstable_by(count - 1, order);
        }
        all.truncate(count);
    }
    all.sort_unstable_by(order);
    all
}

/// Squared Euclidean distance in `f64`, summed in a fixed order.
///
/// # Panics
/// If the rows are of different dimensions.
pub fn squared_distance(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len(), "rows of different dimensions");
    kernel::squared_distance(a, b)
}
