//! First centroids.
//!
//! - [`Sample`] draws rows uniformly, in one pass over any split of the data;
//! - [`k_means_plus_plus`] spreads centroids over a sample or over candidates;
//! - [`draw`] is one row's decision in a round of k-means||, which collects candidates from all rows;
//! - [`lower`] keeps each row's nearest candidate from round to round;
//! - [`refine`] polishes centroids on weighted candidates before the full data is scanned again.

mod candidates;
mod exchange;
mod masses;
mod near;
mod plus_plus;
mod refine;
mod sample;

pub use candidates::lower;
pub use plus_plus::k_means_plus_plus;
pub use refine::refine;
pub use sample::Sample;

use crate::random::{Purpose, uniform};

/// One row's decision in a round of k-means||: it joins the candidates with probability
/// `oversampling * distance2 / total`, where `distance2` is its squared distance to the nearest candidate so far and
/// `total` the sum of these over all rows.
pub fn draw(seed: u64, round: u64, row: u64, distance2: f32, total: f64, oversampling: f64) -> bool {
    total > 0.0 && uniform(seed, Purpose::Draw, round, row) < oversampling * f64::from(distance2) / total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_join_in_proportion_to_their_distance() {
        let joined = |distance2: f32| (0..10_000).filter(|&row| draw(1, 2, row, distance2, 1000.0, 100.0)).count();
        // Probabilities 0.1 and 0.5, give or take five standard deviations.
        assert!(joined(1.0).abs_diff(1000) < 150 && joined(5.0).abs_diff(5000) < 250);
        assert_eq!((joined(0.0), joined(10.0)), (0, 10_000));
        assert!(!draw(1, 2, 3, 0.0, 0.0, 10.0));
        // Who joins at a small distance joins at a larger one.
        assert!((0..1000).all(|row| !draw(4, 0, row, 1.0, 100.0, 10.0) || draw(4, 0, row, 2.0, 100.0, 10.0)));
    }
}
