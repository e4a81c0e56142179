//! Which distance a clustering uses.

use serde::{Deserialize, Serialize};

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

#[cfg(test)]
mod tests {
    use super::*;

    /// Models store these names.
    #[test]
    fn names() {
        assert_eq!(serde_json::to_string(&[Metric::Euclidean, Metric::Cosine]).unwrap(), r#"["Euclidean","Cosine"]"#);
    }
}
