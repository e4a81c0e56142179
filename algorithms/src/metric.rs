//! Which distance a clustering uses.

use serde::{Deserialize, Serialize};

use crate::jaccard;
use crate::kmeans::kernel::inner_products;
use crate::kmeans::squared_distance;

/// Distance between two rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Metric {
    /// Straight-line distance.
    #[default]
    Euclidean,
    /// One minus the cosine of the angle.
    ///
    /// Rows are expected to have unit length, so that the squared Euclidean distance is twice the cosine distance and orders
    /// rows in the same way; k-means then renormalises its centroids (spherical k-means).
    Cosine,
    /// Share of the members of two sets that only one of them has, for rows of zeros and ones: [`jaccard::distance`].
    ///
    /// Straight-line distances do not order rows in this way, so k-means does not know it.
    Jaccard,
}

impl Metric {
    /// The distance between two rows, in `f64`. For [`Metric::Cosine`] of any length; from a row of zeros it is 1. For
    /// [`Metric::Jaccard`] no value may be negative.
    ///
    /// # Panics
    /// If the rows are of different dimensions.
    pub fn distance(self, a: &[f32], b: &[f32]) -> f64 {
        match self {
            Self::Euclidean => squared_distance(a, b).sqrt(),
            Self::Cosine => {
                assert_eq!(a.len(), b.len(), "rows of different dimensions");
                let [dot, a, b] = inner_products(a, b);
                let lengths = (a * b).sqrt();
                if lengths == 0.0 { 1.0 } else { (1.0 - dot / lengths).clamp(0.0, 2.0) }
            }
            Self::Jaccard => jaccard::distance(a, b),
        }
    }

    /// The square of the distance that clusters are measured by: of the straight line, also between rows of unit length for
    /// [`Metric::Cosine`], or of [`jaccard::distance`].
    ///
    /// # Panics
    /// If the rows are of different dimensions.
    pub fn square(self, a: &[f32], b: &[f32]) -> f64 {
        match self {
            Self::Euclidean | Self::Cosine => squared_distance(a, b),
            Self::Jaccard => jaccard::distance(a, b).powi(2),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Models store these names.
    #[test]
    fn names() {
        let all = [Metric::Euclidean, Metric::Cosine, Metric::Jaccard];
        assert_eq!(serde_json::to_string(&all).unwrap(), r#"["Euclidean","Cosine","Jaccard"]"#);
    }

    #[test]
    fn clusters_are_measured_by_straight_lines_or_shares_of_members() {
        let (a, b) = ([1.0, 0.0, 1.0], [1.0, 1.0, 0.0]);
        assert_eq!([Metric::Euclidean, Metric::Cosine].map(|metric| metric.square(&a, &b)), [2.0, 2.0]);
        assert_eq!(Metric::Jaccard.square(&a, &b), (2.0f64 / 3.0).powi(2));
        assert_eq!(Metric::Jaccard.distance(&a, &b), 2.0 / 3.0);
    }

    #[test]
    fn euclidean_is_the_straight_line_and_cosine_the_angle() {
        assert_eq!(Metric::Euclidean.distance(&[0.0, 3.0], &[4.0, 0.0]), 5.0);
        assert_eq!(Metric::Cosine.distance(&[0.0, 3.0], &[4.0, 0.0]), 1.0);
        assert_eq!(Metric::Cosine.distance(&[2.0, 0.0], &[5.0, 0.0]), 0.0);
        assert_eq!(Metric::Cosine.distance(&[2.0, 0.0], &[-5.0, 0.0]), 2.0);
        assert_eq!(Metric::Cosine.distance(&[0.0, 0.0], &[1.0, 0.0]), 1.0);
    }
}
