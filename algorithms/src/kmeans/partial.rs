//! What a block of rows contributes to the update step.

use serde::{Deserialize, Serialize};

use super::Centroids;
use super::kernel;
use crate::fixed::Scale;

/// Sums, counts and inertia of some rows under one assignment.
///
/// All of it is integers (see [`Scale`]), so merging is exact: any split of the rows merged in any order gives the same
/// partial.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partial {
    /// Number of columns, d.
    pub dimension: u32,
    /// Sum of the rows of each cluster, k x d, in the scale's units.
    pub sums: Vec<i64>,
    /// Number of rows of each cluster.
    pub counts: Vec<u64>,
    /// Sum of the squared distances of rows to their centroid, in the scale's units.
    pub inertia: i128,
}

impl Partial {
    /// The partial of no rows, for `k` clusters of `d` columns.
    pub fn new(k: usize, d: usize) -> Self {
        Self { dimension: d as u32, sums: vec![0; k * d], counts: vec![0; k], inertia: 0 }
    }

    /// Whether the other partial is of as many clusters and columns.
    pub fn has_shape_of(&self, other: &Self) -> bool {
        self.dimension == other.dimension
            && self.sums.len() == other.sums.len()
            && self.counts.len() == other.counts.len()
    }

    /// Cuts the clusters into consecutive groups of about `values` numbers, at least one each. Pieces merge one by one with those of
    /// a partial of the same shape; the first holds the inertia.
    pub fn cut(self, values: usize) -> Vec<Self> {
        let d = self.dimension as usize;
        let clusters = (values / (d + 1).max(1)).max(1);
        if self.counts.len() <= clusters || self.sums.len() != d * self.counts.len() || d == 0 {
            return vec![self];
        }
        let groups = self.sums.chunks(clusters * d).zip(self.counts.chunks(clusters));
        let piece = |(at, (sums, counts)): (usize, (&[i64], &[u64]))| Self {
            dimension: self.dimension,
            sums: sums.to_vec(),
            counts: counts.to_vec(),
            inertia: if at == 0 { self.inertia } else { 0 },
        };
        groups.enumerate().map(piece).collect()
    }

    /// Puts pieces together again, in their order. `None` when there are none or they have different numbers of columns.
    pub fn join(pieces: Vec<Self>) -> Option<Self> {
        let mut pieces = pieces.into_iter();
        let mut whole = pieces.next()?;
        for piece in pieces {
            if piece.dimension != whole.dimension {
                return None;
            }
            whole.sums.extend(piece.sums);
            whole.counts.extend(piece.counts);
            whole.inertia += piece.inertia;
        }
        Some(whole)
    }

    /// Adds another partial of the same shape.
    ///
    /// # Panics
    /// If it is of another shape.
    pub fn merge(&mut self, other: &Self) {
        assert!(self.has_shape_of(other), "partials of different shapes");
        let Self { sums, counts, inertia, .. } = other;
        for (ours, theirs) in self.sums.iter_mut().zip(sums) {
            *ours += theirs;
        }
        for (ours, theirs) in self.counts.iter_mut().zip(counts) {
            *ours += theirs;
        }
        self.inertia += inertia;
    }

    /// Adds rows (row-major) with their labels.
    ///
    /// # Panics
    /// If the shapes do not agree, or a label is k or more.
    pub fn add_rows(&mut self, centroids: &Centroids, scale: &Scale, rows: &[f32], labels: &[u32]) {
        let d = self.dimension as usize;
        assert_eq!(centroids.dimension(), d, "centroids of another dimension");
        assert_eq!(centroids.len(), self.counts.len(), "another number of centroids");
        assert_eq!(scale.dimension(), d, "scale of another dimension");
        assert_eq!(rows.len(), labels.len() * d, "rows and labels disagree");
        for &label in labels {
            self.counts[label as usize] += 1;
        }
        self.inertia += kernel::accumulate(centroids, scale, rows, labels, &mut self.sums);
    }

    /// Adds the sums and counts of rows (row-major) with their labels, for passes that need no inertia.
    ///
    /// # Panics
    /// If the shapes do not agree, or a label is k or more.
    pub fn add_rows_only(&mut self, scale: &Scale, rows: &[f32], labels: &[u32]) {
        let d = self.dimension as usize;
        assert_eq!(scale.dimension(), d, "scale of another dimension");
        assert_eq!(rows.len(), labels.len() * d, "rows and labels disagree");
        for &label in labels {
            self.counts[label as usize] += 1;
        }
        kernel::add(scale, rows, labels, &mut self.sums);
    }

    /// Takes a row that was added with label `from` out of that cluster's sum and count, and adds it to those of `to`.
    ///
    /// This leaves the sums and counts of all rows under the new labels, exactly. The inertia is not touched.
    ///
    /// # Panics
    /// If the shapes do not agree, a label is k or more, or cluster `from` has no rows.
    pub fn move_row(&mut self, scale: &Scale, row: &[f32], from: u32, to: u32) {
        let d = self.dimension as usize;
        assert_eq!(scale.dimension(), d, "scale of another dimension");
        assert_eq!(row.len(), d, "row of another dimension");
        assert!(self.counts[from as usize] > 0, "no row in cluster {from}");
        self.counts[from as usize] -= 1;
        self.counts[to as usize] += 1;
        kernel::move_row(scale, row, from, to, &mut self.sums);
    }

    /// Number of rows seen.
    pub fn rows(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Clusters without rows, ascending.
    pub fn empty(&self) -> Vec<u32> {
        (0u32..).zip(&self.counts).filter(|&(_, &count)| count == 0).map(|(cluster, _)| cluster).collect()
    }
}

/// The sum of the squared distances of all rows to `centroids`, from sums and counts alone.
///
/// `total_squares` is the sum of the squared lengths of the rows that are in `partial`; its inertia is not looked at. The
/// result is `total - 2 sum c_k . S_k + sum n_k |c_k|^2` in `f64`, clusters and columns in order, at least zero. Rows should
/// be centred: the absolute error is some 2^-40 of the total (the sums' precision, and the terms cancel), where
/// [`Partial::add_rows`] is precise relative to the inertia itself.
///
/// # Panics
/// If the shapes do not agree.
pub fn inertia_of(centroids: &Centroids, partial: &Partial, scale: &Scale, total_squares: f64) -> f64 {
    let d = centroids.dimension();
    assert_eq!(partial.dimension as usize, d, "partial of another dimension");
    assert_eq!(partial.counts.len(), centroids.len(), "another number of clusters");
    assert_eq!(scale.dimension(), d, "scale of another dimension");
    let mut change = 0.0;
    let clusters = centroids.values().chunks_exact(d).zip(partial.sums.chunks_exact(d)).zip(&partial.counts);
    for ((centroid, sums), &count) in clusters {
        let (mut product, mut square) = (0.0, 0.0);
        for ((&c, &sum), factor) in centroid.iter().zip(sums).zip(scale.factors()) {
            let c = f64::from(c);
            product += c * (sum as f64 / factor);
            square += c * c;
        }
        change += count as f64 * square - 2.0 * product;
    }
    (total_squares + change).max(0.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn partial(k: usize, d: usize, salt: i64) -> Partial {
        let sums = (0..k * d).map(|at| (at as i64 - 7) * salt).collect();
        let counts = (0..k).map(|at| at as u64 + salt.unsigned_abs()).collect();
        Partial { dimension: d as u32, sums, counts, inertia: i128::from(salt) << 70 }
    }

    proptest! {
        #[test]
        fn merging_by_pieces_is_merging(k in 0usize..40, d in 0usize..9, values in 0usize..60, a in -9i64..9, b in -9i64..9) {
            let (one, other) = (partial(k, d, a), partial(k, d, b));
            let mut whole = one.clone();
            whole.merge(&other);
            let mut pieces = one.cut(values);
            let others = other.cut(values);
            prop_assert_eq!(pieces.len(), others.len());
            prop_assert!(pieces.len() == 1 || pieces.iter().all(|piece| piece.sums.len() <= values.max(d)));
            for (piece, other) in pieces.iter_mut().zip(&others) {
                piece.merge(other);
            }
            prop_assert_eq!(Partial::join(pieces), Some(whole));
        }
    }

    #[test]
    fn strange_pieces_do_not_join() {
        assert_eq!(Partial::join(Vec::new()), None);
        assert_eq!(Partial::join(vec![partial(2, 3, 1), partial(2, 4, 1)]), None);
    }
}
