//! The lists of rows in memory.

use rayon::prelude::*;

use super::{Codes, Guide, Lists, Terms, code_length, encode_list};
use crate::kmeans::{Centroids, assign};

/// Rows that are labelled together.
const BLOCK: usize = 4096;

/// Arrays of [`Lists`], and which rows are where in them.
#[derive(Clone, Debug)]
pub struct ListsBuf {
    centroids: Centroids,
    ids: Vec<u32>,
    starts: Vec<u64>,
    rows: Vec<f32>,
    codes: Vec<i8>,
    terms: Vec<f32>,
    radii: Vec<f32>,
    guide: Guide,
}

impl ListsBuf {
    /// Puts rows, row-major, in the lists of their nearest centroids. O(n k d), in parallel; the result does not depend on the
    /// number of threads.
    ///
    /// # Panics
    /// If `rows` is not a whole number of rows, or there are more than 2^32 - 1.
    pub fn new(centroids: Centroids, rows: &[f32]) -> Self {
        let (k, d) = (centroids.len(), centroids.dimension());
        let n = rows.len() / d;
        assert!(rows.len() == n * d && u32::try_from(n).is_ok(), "{} numbers in rows of {d}", rows.len());
        let mut labels = vec![0; n];
        let blocks = labels.par_chunks_mut(BLOCK).zip(rows.par_chunks(BLOCK * d));
        blocks.for_each(|(labels, rows)| assign(&centroids, rows, labels));
        let mut ids: Vec<u32> = (0..n as u32).collect();
        ids.sort_by_key(|&row| labels[row as usize]);
        let mut starts = vec![0; k + 1];
        labels.iter().for_each(|&label| starts[label as usize + 1] += 1);
        (0..k).for_each(|cluster| starts[cluster + 1] += starts[cluster]);

        let mut sorted = vec![0.0; n * d];
        let places = sorted.par_chunks_exact_mut(d).zip(&ids);
        places.for_each(|(place, &row)| place.copy_from_slice(&rows[row as usize * d..][..d]));
        let mut codes = vec![0; n * code_length(d)];
        let mut lists = Vec::with_capacity(k);
        let (mut rows_left, mut codes_left) = (&sorted[..], &mut codes[..]);
        for cluster in 0..k {
            let count = (starts[cluster + 1] - starts[cluster]) as usize;
            let (rows, codes);
            (rows, rows_left) = rows_left.split_at(count * d);
            (codes, codes_left) = std::mem::take(&mut codes_left).split_at_mut(count * code_length(d));
            lists.push((cluster, rows, codes));
        }
        let encode = |(cluster, rows, codes)| encode_list(&centroids, cluster, rows, codes);
        let (all, radii): (Vec<Vec<Terms>>, Vec<f32>) = lists.into_par_iter().map(encode).unzip();
        let mut terms = vec![0.0; 3 * n];
        Terms::write(all.iter().flatten(), &mut terms);
        let guide = Guide::new(&centroids);
        Self { centroids, ids, starts, rows: sorted, codes, terms, radii, guide }
    }

    /// The lists.
    pub fn view(&self) -> Lists<'_> {
        let Self { centroids, ids: _, starts, rows, codes, terms, radii, guide } = self;
        Lists::of(centroids, starts, rows, Some(Codes { bytes: codes, terms, radii })).guided(guide)
    }

    /// Which row is at each place.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }
}
