//! Which lists are near.

use super::{Codes, Lists, Terms, code_length, encode_list};
use crate::kmeans::Centroids;

/// Finds the nearest centroids by looking at codes of them first, as if they were rows of one list: a quarter of the memory that
/// would have to be read otherwise.
#[derive(Clone, Debug)]
pub struct Guide {
    /// The mean of the centroids.
    middle: Centroids,
    starts: [u64; 2],
    codes: Vec<i8>,
    terms: Vec<f32>,
    radius: [f32; 1],
}

impl Guide {
    /// To these centroids. O(k d).
    pub fn new(centroids: &Centroids) -> Self {
        let (k, d) = (centroids.len(), centroids.dimension());
        let mut sums = vec![0.0; d];
        for row in centroids.values().chunks_exact(d) {
            sums.iter_mut().zip(row).for_each(|(sum, &value)| *sum += f64::from(value));
        }
        let middle = Centroids::new(d, sums.into_iter().map(|sum| (sum / k as f64) as f32).collect());
        let mut codes = vec![0; k * code_length(d)];
        let (all, radius) = encode_list(&middle, 0, centroids.values(), &mut codes);
        let mut terms = vec![0.0; 3 * k];
        Terms::write(&all, &mut terms);
        Self { middle, starts: [0, k as u64], codes, terms, radius: [radius] }
    }

    /// Number of centroids.
    pub(super) fn len(&self) -> usize {
        self.terms.len() / 3
    }

    /// The centroids that it was made for, as a list.
    pub(super) fn list<'a>(&'a self, centroids: &'a Centroids) -> Lists<'a> {
        let Self { middle, starts, codes, terms, radius } = self;
        Lists::of(middle, starts, centroids.values(), Some(Codes { bytes: codes, terms, radii: radius }))
    }
}
