//! Drawing indices in proportion to mass.

use rand::Rng;

use crate::random::unit;

/// Cumulated masses, for drawing indices in proportion to mass.
pub(super) struct Masses(Vec<f64>);

impl Masses {
    pub(super) fn new(masses: impl Iterator<Item = f64>) -> Self {
        let mut total = 0.0;
        Self(
            masses
                .map(|mass| {
                    total += mass;
                    total
                })
                .collect(),
        )
    }

    /// The sum of all masses.
    pub(super) fn total(&self) -> f64 {
        self.0.last().copied().unwrap_or(0.0)
    }

    /// An index with positive mass; any index, uniformly, if all masses are zero.
    pub(super) fn pick(&self, rng: &mut impl Rng) -> usize {
        let n = self.0.len();
        let u = unit(rng.next_u64());
        let total = self.total();
        if total > 0.0 {
            let target = u * total;
            // Rounding may lift the target to the total: then the last index with mass.
            let past = self.0.partition_point(|&sum| sum <= target);
            if past < n { past } else { self.0.partition_point(|&sum| sum < total) }
        } else {
            ((u * n as f64) as usize).min(n - 1)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, rng};

    #[test]
    fn picks_follow_the_masses() {
        let mut rng = rng(1, Purpose::Seeding, 0);
        let masses = Masses::new([0.0, 1.0, 0.0, 3.0, 0.0].into_iter());
        let mut counts = [0; 5];
        for _ in 0..4000 {
            counts[masses.pick(&mut rng)] += 1;
        }
        assert_eq!(counts[0] + counts[2] + counts[4], 0);
        // Five standard deviations: sqrt(4000 * 3 / 16) = 27.
        assert!((counts[1] - 1000i32).abs() < 140, "{counts:?}");
    }
}
