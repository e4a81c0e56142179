//! Which cluster each row belongs to.

use std::ops::Range;

use coterie_algorithms::{kmeans::Centroids, lsh::NOISE};
use serde::{Deserialize, Serialize};

use crate::{error::RunError, kmeans::compute::label};

/// How rows come to their labels.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Labels {
    /// A row belongs to the nearest centroid.
    #[default]
    Nearest,
    /// The algorithm has labelled every row.
    Given(Given),
}

/// Labels by ordinal. Each is kept as one more than it is and noise as 0, which takes the fewest bytes in a message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Given(Vec<u32>);

impl Given {
    /// Takes the labels of all rows, where [`NOISE`] stands for none.
    #[must_use]
    pub fn new(mut labels: Vec<u32>) -> Self {
        labels.iter_mut().for_each(|label| *label = label.wrapping_add(1));
        Self(labels)
    }

    /// Appends the labels of `count` rows from ordinal `first` on.
    ///
    /// # Errors
    /// When there are fewer rows: then the data has changed since the run began.
    pub fn read(&self, first: u64, count: usize, labels: &mut Vec<u32>) -> Result<(), RunError> {
        let start = usize::try_from(first).unwrap_or(usize::MAX);
        let given = self.0.get(start..start.saturating_add(count)).ok_or_else(|| {
            RunError::transient(format!(
                "there are labels of {} rows, none of row {}; the data has changed while the run went on: start it again",
                self.0.len(),
                first + count as u64
            ))
        })?;
        labels.extend(given.iter().map(|label| label.wrapping_sub(1)));
        Ok(())
    }
}

impl Labels {
    /// Leaves in `labels` those of `rows`, the first of which has the ordinal `first`.
    ///
    /// # Errors
    /// As of [`Given::read`].
    pub fn of(&self, centroids: &Centroids, first: u64, rows: &[f32], labels: &mut Vec<u32>) -> Result<(), RunError> {
        let count = rows.len() / centroids.dimension();
        match self {
            Self::Nearest => label(centroids, rows, count, labels),
            Self::Given(given) => {
                labels.clear();
                given.read(first, count, labels)?;
            }
        }
        Ok(())
    }
}

/// The stretches of rows that belong to clusters.
pub fn stretches(labels: &[u32]) -> impl Iterator<Item = Range<usize>> {
    let mut end = 0;
    labels.chunk_by(|a, b| (*a == NOISE) == (*b == NOISE)).filter_map(move |run| {
        let start = end;
        end += run.len();
        (!run.contains(&NOISE)).then_some(start..end)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_left_out_of_stretches() {
        let found = |labels: &[u32]| stretches(labels).collect::<Vec<_>>();
        assert!(found(&[]).is_empty());
        assert!(found(&[NOISE, NOISE]).is_empty());
        assert_eq!(found(&[3, 1, NOISE, NOISE, 2]), [0..2, 4..5]);
        assert_eq!(found(&[NOISE, 0, 5, NOISE, 1]), [1..3, 4..5]);
    }

    #[test]
    fn given_labels_are_read_by_ordinal() {
        let given = Given::new(vec![0, NOISE, 7]);
        let mut labels = Vec::new();
        given.read(1, 2, &mut labels).unwrap();
        assert_eq!(labels, [NOISE, 7]);
        assert!(given.read(2, 2, &mut labels).unwrap_err().is_transient());
        assert_eq!(postcard::to_stdvec(&given).unwrap(), [3, 1, 0, 8]);
    }
}
