//! Which distance a clustering uses.

use serde::{Deserialize, Serialize};

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
}

impl Metric {
    /// The distance between two rows, in `f64`. For [`Metric::Cosine`] of any length; from a row of zeros it is 1.
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
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Models store these names.
    #[test]
    fn names() {
        assert_eq!(serde_json::to_string(&[Metric::Euclidean, Metric::Cosine]).unwrap(), r#"["Euclidean","Cosine"]"#);
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
