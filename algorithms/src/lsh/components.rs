//! Which rows hang together.

use serde::{Deserialize, Serialize};

/// Disjoint sets of rows (union-find; Galler and Fischer 1964), each led by its lowest row.
///
/// What is joined may come in any order and from any number of parts: merging the parts gives the same sets as joining
/// everything in one. 4 bytes per row.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Components {
    /// A row of the same set that is not higher; itself for leaders.
    parents: Vec<u32>,
}

/// Why an array is no union-find array.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("row {row} has the parent {parent}, which is a higher row")]
pub struct ParentError {
    /// The row.
    pub row: usize,
    /// What is in the array.
    pub parent: u32,
}

impl Components {
    /// `n` rows, each by itself.
    ///
    /// # Panics
    /// If there are more than 2^32 - 1.
    pub fn new(n: usize) -> Self {
        assert!(u32::try_from(n).is_ok(), "{n} rows: expected at most 4294967295");
        Self { parents: (0..n as u32).collect() }
    }

    /// From an array of unknown origin: for each row a row of the same set that is not higher.
    ///
    /// # Errors
    /// If a parent is higher than its row.
    pub fn from_parents(parents: Vec<u32>) -> Result<Self, ParentError> {
        match parents.iter().enumerate().find(|&(row, &parent)| parent as usize > row) {
            Some((row, &parent)) => Err(ParentError { row, parent }),
            None => Ok(Self { parents }),
        }
    }

    /// For each row a row of the same set that is not higher.
    pub fn parents(&self) -> &[u32] {
        &self.parents
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.parents.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.parents.is_empty()
    }

    /// The lowest row of a row's set. O(log n) amortised.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn find(&mut self, row: u32) -> u32 {
        let mut row = row as usize;
        loop {
            let parent = self.parents[row] as usize;
            if parent == row {
                return row as u32;
            }
            // Halves the path for those who come later.
            self.parents[row] = self.parents[parent];
            row = self.parents[row] as usize;
        }
    }

    /// Joins the sets of two rows.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn join(&mut self, a: u32, b: u32) {
        let (a, b) = (self.find(a), self.find(b));
        self.parents[a.max(b) as usize] = a.min(b);
    }

    /// Joins what the other has joined. O(n log n) at worst.
    ///
    /// # Panics
    /// If the other has another number of rows.
    pub fn merge(&mut self, other: &Self) {
        assert_eq!(self.len(), other.len(), "components of different numbers of rows");
        for (row, &parent) in (0..).zip(&other.parents) {
            if row != parent {
                self.join(row, parent);
            }
        }
    }

    /// The set of each row, and the number of sets. Sets are numbered in the order of their lowest rows. O(n).
    pub fn labels(&self) -> (Vec<u32>, usize) {
        let mut labels: Vec<u32> = Vec::with_capacity(self.len());
        let mut count = 0;
        for (row, &parent) in (0..).zip(&self.parents) {
            // A parent is not higher than its row, so its label is known.
            let label = if parent == row { count } else { labels[parent as usize] };
            count += u32::from(parent == row);
            labels.push(label);
        }
        (labels, count as usize)
    }
}

/// Equal if the same rows hang together.
impl PartialEq for Components {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.labels() == other.labels()
    }
}

impl Eq for Components {}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The slow twin: spreads the lowest label along the edges until nothing changes, and numbers what is left.
    pub(in crate::lsh) fn naive(n: usize, edges: &[(u32, u32)]) -> Vec<u32> {
        let mut lowest: Vec<u32> = (0..n as u32).collect();
        loop {
            let before = lowest.clone();
            for &(a, b) in edges {
                let least = lowest[a as usize].min(lowest[b as usize]);
                (lowest[a as usize], lowest[b as usize]) = (least, least);
            }
            if before == lowest {
                break;
            }
        }
        let mut leaders = lowest.clone();
        leaders.sort_unstable();
        leaders.dedup();
        lowest.iter().map(|row| leaders.binary_search(row).unwrap() as u32).collect()
    }

    proptest! {
        #[test]
        fn same_as_spreading_labels(edges in prop::collection::vec((0u32..40, 0u32..40), 0..60), cut in any::<prop::sample::Index>()) {
            let join = |edges: &[(u32, u32)]| {
                let mut all = Components::new(40);
                edges.iter().for_each(|&(a, b)| all.join(a, b));
                all
            };
            let whole = join(&edges);
            let (labels, count) = whole.labels();
            prop_assert_eq!(&labels, &naive(40, &edges));
            prop_assert_eq!(count, labels.iter().max().unwrap().wrapping_add(1) as usize);
            let (left, right) = edges.split_at(cut.index(edges.len() + 1));
            let (mut a, mut b) = (join(left), join(right));
            let first = a.clone();
            a.merge(&b);
            b.merge(&first);
            prop_assert_eq!(&a, &whole);
            prop_assert_eq!(&b, &whole);
            prop_assert_eq!(Components::from_parents(whole.parents().to_vec()).unwrap(), whole);
        }
    }

    #[test]
    fn parents_are_checked() {
        assert_eq!(Components::from_parents(vec![0, 0, 1]).unwrap().labels(), (vec![0; 3], 1));
        assert_eq!(Components::from_parents(vec![0, 2, 2]).unwrap_err(), ParentError { row: 1, parent: 2 });
    }
}
