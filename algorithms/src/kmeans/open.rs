//! Rows that a shortcut leaves open.

use super::{Centroids, assign, assign_two};

/// Positions of rows to be decided by slower means, and memory that is used again.
#[derive(Debug, Default)]
pub(super) struct Open {
    positions: Vec<u32>,
    values: Vec<f32>,
    labels: [Vec<u32>; 2],
}

impl Open {
    /// How many they are.
    pub(super) fn len(&self) -> usize {
        self.positions.len()
    }

    pub(super) fn clear(&mut self) {
        self.positions.clear();
    }

    pub(super) fn push(&mut self, position: usize) {
        self.positions.push(position as u32);
    }

    /// Decides these rows, put together, by `find`; then they are not open any more. `second` is empty if only the nearest is wanted.
    pub(super) fn close(
        &mut self,
        dimension: usize,
        rows: &[f32],
        best: &mut [u32],
        second: &mut [u32],
        find: impl FnOnce(&[f32], &mut [u32], &mut [u32]),
    ) {
        let Self { positions, values, labels: [nearest, next] } = self;
        values.clear();
        for &position in &*positions {
            values.extend_from_slice(&rows[position as usize * dimension..][..dimension]);
        }
        nearest.resize(positions.len(), 0);
        next.resize(if second.is_empty() { 0 } else { positions.len() }, 0);
        find(values, nearest, next);
        for (&position, &nearest) in positions.iter().zip(&*nearest) {
            best[position as usize] = nearest;
        }
        for (&position, &next) in positions.iter().zip(&*next) {
            second[position as usize] = next;
        }
        positions.clear();
    }
}

/// Looks at all centroids of contiguous rows.
pub(super) fn whole<const WANTED: usize>(centroids: &Centroids, rows: &[f32], best: &mut [u32], second: &mut [u32]) {
    if WANTED == 1 {
        assign(centroids, rows, best);
    } else {
        assign_two(centroids, rows, best, second);
    }
}
