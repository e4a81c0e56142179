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

/// Squared Euclidean distance in `f64`, summed in a fixed order.
///
/// # Panics
/// If the rows are of different dimensions.
pub fn squared_distance(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len(), "rows of different dimensions");
    kernel::squared_distance(a, b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_nearest() {
        let centroids = Centroids::new(1, vec![4.0, 0.0, -2.0]);
        let (mut best, mut second) = ([0; 3], [0; 3]);
        assign_two(&centroids, &[3.0, -1.0, -1.5], &mut best, &mut second);
        assert_eq!((best, second), ([0, 1, 2], [1, 2, 1]));
        let (mut best, mut second) = ([5], [5]);
        assign_two(&Centroids::new(1, vec![4.0]), &[3.0], &mut best, &mut second);
        assert_eq!((best, second), ([0], [u32::MAX]));
    }

    #[test]
    #[should_panic(expected = "rows and labels disagree")]
    fn shapes_are_checked() {
        assign(&Centroids::new(2, vec![0.0; 4]), &[1.0; 5], &mut [0; 2]);
    }
}
