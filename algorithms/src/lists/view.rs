//! The lists as flat arrays.

use super::{Guide, Terms, code_length};
use crate::kmeans::Centroids;

/// Rows in order of their cluster, with their codes if they have any. The arrays lie in memory or in a mapped file; this only looks at them.
///
/// | array | length | contents |
/// |---|---|---|
/// | `starts` | k + 1 | where each cluster's rows begin; from 0 to n |
/// | `rows` | n x d | the rows |
#[derive(Clone, Copy, Debug)]
pub struct Lists<'a> {
    pub(super) centroids: &'a Centroids,
    pub(super) starts: &'a [u64],
    pub(super) rows: &'a [f32],
    pub(super) codes: Option<Codes<'a>>,
    pub(super) guide: Option<&'a Guide>,
}

/// Codes of the rows of [`Lists`], which tell how far away a row is at least. They tell of straight-line distances only, so rows that are
/// compared in other ways do without: all rows of a list are looked at then.
///
/// | array | length | contents |
/// |---|---|---|
/// | `bytes` | n x [`code_length`] | a byte per column |
/// | `terms` | 3 n | what the codes mean: all scales, then all excesses, then all errors of [`Terms`] |
/// | `radii` | k | the largest distance of a row of the list to the centroid, never too small; 0 for no rows |
#[derive(Clone, Copy, Debug)]
pub struct Codes<'a> {
    /// The codes.
    pub bytes: &'a [i8],
    /// What they mean.
    pub terms: &'a [f32],
    /// How far the lists reach.
    pub radii: &'a [f32],
}

/// Why arrays are no lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListsError {
    /// An array is of another length than the others say.
    #[error("the array of {array} has length {found}, expected {expected}")]
    Length {
        /// Its name.
        array: &'static str,
        /// Its length.
        found: usize,
        /// What its length must be.
        expected: usize,
    },
    /// The starts do not ascend from 0 to the number of rows.
    #[error("starts do not ascend from 0 to the number of rows at cluster {0}")]
    Starts(usize),
}

impl<'a> Lists<'a> {
    /// Looks at arrays, of unknown origin: every search in accepted lists stays in range. O(k).
    ///
    /// # Errors
    /// If the arrays do not fit each other.
    pub fn new(
        centroids: &'a Centroids,
        starts: &'a [u64],
        rows: &'a [f32],
        codes: Option<Codes<'a>>,
    ) -> Result<Self, ListsError> {
        let (k, d) = (centroids.len(), centroids.dimension());
        let n = rows.len() / d;
        let arrays = [("starts", starts.len(), k + 1), ("rows", rows.len(), n * d)];
        let of_codes = codes.map(|Codes { bytes, terms, radii }| {
            [("codes", bytes.len(), n * code_length(d)), ("terms", terms.len(), 3 * n), ("radii", radii.len(), k)]
        });
        for (array, found, expected) in arrays.into_iter().chain(of_codes.into_iter().flatten()) {
            if found != expected {
                return Err(ListsError::Length { array, found, expected });
            }
        }
        let ends = (starts[0], starts[k]);
        if let Some(cluster) = (0..k).find(|&c| starts[c] > starts[c + 1]) {
            return Err(ListsError::Starts(cluster));
        }
        if ends != (0, n as u64) || u32::try_from(n).is_err() {
            return Err(ListsError::Starts(k));
        }
        Ok(Self::of(centroids, starts, rows, codes))
    }

    /// Looks at arrays that are known to fit.
    pub(super) fn of(centroids: &'a Centroids, starts: &'a [u64], rows: &'a [f32], codes: Option<Codes<'a>>) -> Self {
        Self { centroids, starts, rows, codes, guide: None }
    }

    /// With a guide to the centroids.
    ///
    /// # Panics
    /// If it is to others.
    #[must_use]
    pub fn guided(self, guide: &'a Guide) -> Self {
        assert_eq!(guide.len(), self.count(), "a guide to other centroids");
        Self { guide: Some(guide), ..self }
    }

    /// Number of rows, n.
    pub fn len(&self) -> usize {
        self.rows.len() / self.centroids.dimension()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of lists, k.
    pub fn count(&self) -> usize {
        self.centroids.len()
    }

    /// All rows, n x d.
    pub fn rows(&self) -> &'a [f32] {
        self.rows
    }

    /// One row.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn row(&self, i: usize) -> &'a [f32] {
        let d = self.centroids.dimension();
        &self.rows[i * d..][..d]
    }

    /// The cluster that a row belongs to. O(log k).
    pub fn cluster_of(&self, row: usize) -> usize {
        self.starts.partition_point(|&start| start <= row as u64).saturating_sub(1)
    }

    /// The rows of a cluster.
    ///
    /// # Panics
    /// If there is no such cluster.
    pub fn range(&self, cluster: usize) -> std::ops::Range<usize> {
        self.starts[cluster] as usize..self.starts[cluster + 1] as usize
    }
}

impl<'a> Codes<'a> {
    /// The scales of all rows.
    pub(super) fn scales(&self) -> &'a [f32] {
        &self.terms[..self.terms.len() / 3]
    }

    /// The excesses of all rows.
    pub(super) fn excesses(&self) -> &'a [f32] {
        let n = self.terms.len() / 3;
        &self.terms[n..2 * n]
    }

    /// The errors of all rows.
    pub(super) fn errors(&self) -> &'a [f32] {
        &self.terms[self.terms.len() / 3 * 2..]
    }
}

impl Terms {
    /// Writes the terms of all rows, in order, as all scales, then all excesses, then all errors.
    ///
    /// # Panics
    /// If `out` has not three places for each row.
    pub fn write<'t>(all: impl IntoIterator<Item = &'t Self>, out: &mut [f32]) {
        let n = out.len() / 3;
        let mut count = 0;
        for (i, terms) in all.into_iter().enumerate() {
            out[i] = terms.scale;
            out[n + i] = terms.excess;
            out[2 * n + i] = terms.error;
            count += 1;
        }
        assert_eq!(3 * count, out.len(), "terms of other rows");
    }
}
