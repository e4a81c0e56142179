//! Clustering by shared buckets.
//!
//! Rows that meet in a bucket of any table hang together; clusters are what hangs together. This is single linkage over "shares
//! a key in at least one table" (Haveliwala, Gionis and Indyk, "Scalable techniques for clustering the web", WebDB 2000).

use super::Components;

/// The label of a row that belongs to no cluster.
pub const NOISE: u32 = u32::MAX;

/// Clusters among components.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clusters {
    /// The cluster of each row, or [`NOISE`]. Clusters are numbered in the order of their lowest rows.
    pub labels: Vec<u32>,
    /// Number of clusters.
    pub count: usize,
    /// Rows that belong to none.
    pub noise: u64,
    /// Rows of the largest component, whether it is a cluster or not.
    pub largest: u64,
}

impl Clusters {
    /// Components of at least `least` rows are clusters; rows of smaller ones are noise. O(n).
    pub fn of(components: &Components, least: u64) -> Self {
        let (mut labels, count) = components.labels();
        let mut sizes = vec![0u64; count];
        labels.iter().for_each(|label| sizes[*label as usize] += 1);
        let mut next = 0;
        let numbers: Vec<u32> = sizes
            .iter()
            .map(|size| {
                let number = if *size >= least { next } else { NOISE };
                next += u32::from(*size >= least);
                number
            })
            .collect();
        labels.iter_mut().for_each(|label| *label = numbers[*label as usize]);
        let noise = sizes.iter().filter(|size| **size < least).sum();
        Self { labels, count: next as usize, noise, largest: sizes.iter().copied().max().unwrap_or(0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_small_components_are_noise() {
        let mut components = Components::new(7);
        for (a, b) in [(1, 4), (4, 6), (2, 5)] {
            components.join(a, b);
        }
        let clusters = Clusters::of(&components, 2);
        assert_eq!(clusters.labels, [NOISE, 0, 1, NOISE, 0, 1, 0]);
        assert_eq!((clusters.count, clusters.noise, clusters.largest), (2, 2, 3));
        let none = Clusters::of(&components, 4);
        assert_eq!((none.count, none.noise, none.largest), (0, 7, 3));
        assert_eq!(Clusters::of(&components, 1).count, 4);
    }
}
