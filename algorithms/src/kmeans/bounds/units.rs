//! Distances in 16 bits.

use super::{Centroids, squared_distance};
use crate::kmeans::kernel::units_above;

/// Covers the roundings of a product and a root in `f64`.
const SPARE: f64 = 1.0 / (1u64 << 40) as f64;

/// The unit of distances: a power of two.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unit {
    /// Units per distance of 1, with allowance for rounding to either side.
    less: f64,
    more: f64,
}

impl Unit {
    /// A unit that suits rows around these centroids: 2^16 units are at least sixteen times the longest centroid, but for
    /// centroids that are far longer than most.
    pub(super) fn new(centroids: &Centroids) -> Self {
        let d = centroids.dimension();
        let zero = vec![0.0; d];
        let rows = centroids.values().chunks_exact(d);
        let mut lengths: Vec<f64> = rows.map(|centroid| squared_distance(centroid, &zero).sqrt()).collect();
        lengths.sort_unstable_by(f64::total_cmp);
        let (longest, middle) = (lengths[lengths.len() - 1], lengths[lengths.len() / 2]);
        let range = 16.0 * if middle > 0.0 { longest.min(64.0 * middle) } else { longest };
        // Within the normal range of `f64`, also for a range of zero.
        let exponent = (f64::from(u16::MAX) / range.max(1e-300)).log2().floor();
        let per = crate::fixed::power_of_two(exponent.clamp(-1000.0, 1000.0) as i32);
        Self { less: per * (1.0 - SPARE), more: per * (1.0 + SPARE) }
    }

    /// Factor that takes a distance to units, rounded down.
    pub(super) fn factor(self) -> f64 {
        self.less
    }

    /// More units than `distance` is; [`u16::MAX`], which no lower bound reaches, where that is too far or not a number.
    #[inline(always)]
    pub(super) fn above(self, distance: f64) -> u16 {
        units_above(distance * self.more)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_above_and_saturate() {
        let unit = Unit::new(&Centroids::new(1, vec![3.0, -2.0]));
        let step = 1.0 / unit.less;
        assert!(65_536.0 * step >= 48.0 && 65_536.0 * step < 97.0);
        for distance in [0.0, 1e-9, 0.1, 1.0, 2.5, 40.0] {
            assert!(f64::from(unit.above(distance)) * step > distance);
            assert!(f64::from(unit.above(distance)) * step <= distance + 2.0 * step);
        }
        for distance in [1e9, f64::INFINITY, f64::NAN] {
            assert_eq!(unit.above(distance), u16::MAX);
        }
    }

    #[test]
    fn any_centroids_have_a_unit() {
        for values in [vec![0.0], vec![1e-45], vec![f32::MAX; 9], vec![0.0, 0.0, 1e38], vec![1.0, 1.0, 1e38]] {
            let unit = Unit::new(&Centroids::new(1, values));
            assert!(unit.less > 0.0 && unit.more.is_finite());
        }
    }
}
