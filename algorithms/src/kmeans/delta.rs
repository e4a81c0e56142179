//! What a pass changed: rows that moved from one cluster to another, as exact differences of sums and counts.

use super::{Partial, kernel};
use crate::fixed::Scale;

/// Differences to a [`Partial`]: sums (k x d, fixed point) and counts, of rows that changed their cluster.
///
/// Merging and applying are exact, so a partial that follows the changes equals one made from all rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delta {
    dimension: usize,
    sums: Vec<i64>,
    counts: Vec<i64>,
}

impl Delta {
    /// No change, for `k` clusters of dimension `d`.
    pub fn new(k: usize, d: usize) -> Self {
        Self { dimension: d, sums: vec![0; k * d], counts: vec![0; k] }
    }

    /// Rows (row-major) join the clusters of their labels.
    ///
    /// # Panics
    /// If the shapes do not agree, or a label is k or more.
    pub fn add_rows(&mut self, scale: &Scale, rows: &[f32], labels: &[u32]) {
        assert_eq!(scale.dimension(), self.dimension, "scale of another dimension");
        assert_eq!(rows.len(), labels.len() * self.dimension, "rows and labels disagree");
        for &label in labels {
            self.counts[label as usize] += 1;
        }
        kernel::add(scale, rows, labels, &mut self.sums);
    }

    /// A row leaves cluster `from` for cluster `to`.
    ///
    /// # Panics
    /// If a cluster does not exist or the row is of another dimension.
    pub fn move_row(&mut self, scale: &Scale, row: &[f32], from: u32, to: u32) {
        assert_eq!(scale.dimension(), self.dimension, "scale of another dimension");
        assert_eq!(row.len(), self.dimension, "a row of another dimension");
        kernel::move_row(scale, row, from, to, &mut self.sums);
        self.counts[from as usize] -= 1;
        self.counts[to as usize] += 1;
    }

    /// Some of the rows, given by their positions and the clusters they leave, go to the clusters of their labels.
    ///
    /// # Panics
    /// If a position or cluster does not exist, or the shapes do not agree.
    pub fn move_rows(&mut self, scale: &Scale, rows: &[f32], changes: &[(u32, u32)], labels: &[u32]) {
        for &(position, from) in changes {
            let i = position as usize;
            self.move_row(scale, &rows[i * self.dimension..][..self.dimension], from, labels[i]);
        }
    }

    /// Back to no change.
    pub fn clear(&mut self) {
        self.sums.fill(0);
        self.counts.fill(0);
    }

    /// Adds another thread's changes.
    pub fn merge(&mut self, other: &Self) {
        self.sums.iter_mut().zip(&other.sums).for_each(|(mine, theirs)| *mine += theirs);
        self.counts.iter_mut().zip(&other.counts).for_each(|(mine, theirs)| *mine += theirs);
    }

    /// Changes a partial accordingly; its inertia is left as it is.
    pub fn apply(&self, partial: &mut Partial) {
        partial.sums.iter_mut().zip(&self.sums).for_each(|(sum, change)| *sum += change);
        for (count, change) in partial.counts.iter_mut().zip(&self.counts) {
            *count = count.saturating_add_signed(*change);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kmeans::Centroids;

    #[test]
    fn following_the_changes_equals_starting_afresh() {
        let rows = [1.0f32, 2.0, -3.5, 0.25, 7.0, -1.0];
        let scale = Scale::new(&[7.0, 2.0], 3);
        let centroids = Centroids::new(2, vec![0.0; 6]);
        let of = |labels: &[u32]| {
            let mut partial = Partial::new(3, 2);
            partial.add_rows(&centroids, &scale, &rows, labels);
            partial
        };
        let (mut one, mut other) = (Delta::new(3, 2), Delta::new(3, 2));
        one.move_row(&scale, &rows[0..2], 0, 2);
        other.move_row(&scale, &rows[4..6], 2, 0);
        one.merge(&other);
        let mut followed = of(&[0, 1, 2]);
        one.apply(&mut followed);
        assert_eq!(followed, of(&[2, 1, 0]));
        one.clear();
        assert_eq!(one, Delta::new(3, 2));
    }
}
