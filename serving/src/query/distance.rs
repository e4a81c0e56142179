//! The distance that answers carry.

use coterie_algorithms::kmeans::squared_distance;
use coterie_algorithms::metric::Metric;

/// Distance between a row and a centroid, both in feature space.
pub(crate) fn distance(metric: Metric, row: &[f32], centroid: &[f32]) -> f64 {
    match metric {
        Metric::Euclidean => squared_distance(row, centroid).sqrt(),
        Metric::Cosine => {
            let (mut dot, mut a, mut b) = (0.0, 0.0, 0.0);
            for (&x, &y) in row.iter().zip(centroid) {
                let (x, y) = (f64::from(x), f64::from(y));
                dot += x * y;
                a += x * x;
                b += y * y;
            }
            let lengths = (a * b).sqrt();
            if lengths == 0.0 { 1.0 } else { (1.0 - dot / lengths).clamp(0.0, 2.0) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn euclidean_is_the_straight_line_and_cosine_the_angle() {
        assert_eq!(distance(Metric::Euclidean, &[0.0, 3.0], &[4.0, 0.0]), 5.0);
        assert_eq!(distance(Metric::Cosine, &[0.0, 3.0], &[4.0, 0.0]), 1.0);
        assert_eq!(distance(Metric::Cosine, &[2.0, 0.0], &[5.0, 0.0]), 0.0);
        assert_eq!(distance(Metric::Cosine, &[2.0, 0.0], &[-5.0, 0.0]), 2.0);
        assert_eq!(distance(Metric::Cosine, &[0.0, 0.0], &[1.0, 0.0]), 1.0);
    }
}
