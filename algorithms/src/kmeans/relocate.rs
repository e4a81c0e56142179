//! What to do with clusters that lost all their rows.

use std::cmp::Reverse;

use serde::{Deserialize, Serialize};

use super::Partial;
use crate::fixed::Scale;
use crate::keep::Smallest;

/// A row that is far from its centroid.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Far {
    /// Squared distance to its centroid.
    pub distance2: f64,
    /// Ordinal of the row in the data set.
    pub row: u64,
    /// Its cluster.
    pub label: u32,
    /// Its columns.
    pub values: Vec<f32>,
}

/// Order of the kept rows: farthest first, then lowest ordinal. Bits of non-negative floats order like the floats.
type Key = (Reverse<u64>, u64, u32);

/// The m rows farthest from their centroids, in the order (distance descending, row ascending).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Farthest(Smallest<Key>);

impl Farthest {
    /// Keeps `m` rows of `dimension` columns.
    pub fn new(m: usize, dimension: usize) -> Self {
        Self(Smallest::new(m, dimension))
    }

    /// Whether a row would be kept. Cheap: most rows are turned away here.
    pub fn admits(&self, distance2: f64, row: u64) -> bool {
        self.0.admits(&(Reverse(distance2.to_bits()), row, 0))
    }

    /// Keeps the row if it is among the farthest.
    ///
    /// # Panics
    /// If `values` is of another dimension.
    pub fn offer(&mut self, distance2: f64, row: u64, label: u32, values: &[f32]) {
        self.0.offer((Reverse(distance2.to_bits()), row, label), values);
    }

    /// Takes in what another set kept.
    ///
    /// # Panics
    /// If it is of another dimension.
    pub fn merge(&mut self, other: &Self) {
        self.0.merge(&other.0);
    }

    /// Number of rows held.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no row is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The rows, farthest first.
    pub fn into_sorted(self) -> Vec<Far> {
        self.0
            .sorted()
            .map(|((Reverse(bits), row, label), values)| Far {
                distance2: f64::from_bits(bits),
                row,
                label,
                values: values.to_vec(),
            })
            .collect()
    }
}

/// Gives rows to empty clusters as scikit-learn does: the i-th empty cluster takes the i-th farthest row, which leaves the
/// sum of its old cluster. Returns how many clusters got a row.
///
/// Beyond scikit-learn, a row that lies on its centroid or is the only one of its cluster is passed over: moving it
/// would change nothing or empty another cluster. Give more rows than empty clusters if such rows are to be made up for.
/// `partial.inertia` is left as it is.
///
/// # Panics
/// If the shapes do not agree.
pub fn relocate(partial: &mut Partial, empty: &[u32], far: &[Far], scale: &Scale) -> usize {
    let d = partial.dimension as usize;
    let mut waiting = empty.iter();
    let mut moved = 0;
    let movable = |partial: &Partial, row: &Far| row.distance2 > 0.0 && partial.counts[row.label as usize] > 1;
    for row in far {
        if !movable(partial, row) {
            continue;
        }
        let Some(&cluster) = waiting.next() else {
            break;
        };
        for (column, &value) in row.values.iter().enumerate() {
            let quantized = scale.quantize(column, value);
            partial.sums[row.label as usize * d + column] -= quantized;
            partial.sums[cluster as usize * d + column] += quantized;
        }
        partial.counts[row.label as usize] -= 1;
        partial.counts[cluster as usize] += 1;
        moved += 1;
    }
    moved
}

#[cfg(test)]
mod tests {
    use super::*;

    fn far(distance2: f64, row: u64, label: u32, value: f32) -> Far {
        Far { distance2, row, label, values: vec![value] }
    }

    /// Cluster 0 holds 1, 2 and 9; cluster 1 holds 5; clusters 2 and 3 are empty.
    fn partial(scale: &Scale) -> Partial {
        let sum = [1.0, 2.0, 9.0].iter().map(|&v| scale.quantize(0, v)).sum();
        Partial { dimension: 1, sums: vec![sum, scale.quantize(0, 5.0), 0, 0], counts: vec![3, 1, 0, 0], inertia: 7 }
    }

    #[test]
    fn empty_clusters_take_the_farthest_rows() {
        let scale = Scale::new(&[9.0], 4);
        let mut partial = partial(&scale);
        let moved = relocate(&mut partial, &[2, 3], &[far(25.0, 2, 0, 9.0), far(9.0, 0, 0, 1.0)], &scale);
        assert_eq!(moved, 2);
        assert_eq!(partial.counts, [1, 1, 1, 1]);
        let means: Vec<f32> = (0..4).map(|c| scale.mean(0, partial.sums[c], partial.counts[c])).collect();
        assert_eq!(means, [2.0, 5.0, 9.0, 1.0]);
        assert_eq!(partial.inertia, 7);
    }

    #[test]
    fn lone_rows_and_rows_on_their_centroid_stay() {
        let scale = Scale::new(&[9.0], 4);
        let mut partial = partial(&scale);
        let rows = [far(50.0, 3, 1, 5.0), far(25.0, 2, 0, 9.0), far(0.0, 1, 0, 2.0)];
        assert_eq!(relocate(&mut partial, &[2, 3], &rows, &scale), 1);
        assert_eq!(partial.counts, [2, 1, 1, 0]);
        assert_eq!(partial.empty(), [3]);
    }

    #[test]
    fn a_bounded_set_admits_only_what_it_would_keep() {
        let mut set = Farthest::new(2, 1);
        assert!(set.is_empty() && set.admits(0.0, 9));
        for (distance2, row) in [(1.0, 5), (3.0, 8), (2.0, 1), (3.0, 2)] {
            set.offer(distance2, row, 0, &[row as f32]);
        }
        assert!(!set.admits(3.0, 9) && set.admits(3.0, 7) && !set.admits(2.9, 0) && set.admits(3.1, 99));
        assert_eq!(set.len(), 2);
        let rows: Vec<u64> = set.into_sorted().iter().map(|far| far.row).collect();
        assert_eq!(rows, [2, 8]);
        assert!(!Farthest::new(0, 1).admits(1e9, 0));
    }
}
