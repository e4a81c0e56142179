//! How much farther than its label another centroid must be to lose in the kernel, and outward rounding.

use super::units::Unit;
use super::{Centroids, squared_distance};

/// Distances and lengths from here on are given up, as their products could overflow an `f32`.
const LIMIT: f32 = (1u64 << 62) as f32;
/// Makes up for the roundings of a few `f64` operations, with much to spare.
const SPARE: f64 = 1.0 + 1.0 / (1u64 << 20) as f64;

/// The margin of squared distances, `4 E` of the [module's documentation](super), as a function of label and upper bound.
#[derive(Clone, Debug)]
pub(crate) struct Margin {
    unit: Unit,
    /// `4 g C`.
    slope: f64,
    /// `4 g (C |c| + C^2 / 2) + 4 (d + 2) 2^-149` of each centroid c.
    offsets: Vec<f64>,
}

impl Margin {
    pub(super) fn new(centroids: &Centroids, unit: Unit) -> Self {
        let d = centroids.dimension();
        let g = rounding(d);
        let zero = vec![0.0; d];
        let lengths: Vec<f64> = centroids
            .values()
            .chunks_exact(d)
            .map(|centroid| f64::from(upper_from_square(squared_distance(centroid, &zero), d)))
            .collect();
        let longest = lengths.iter().copied().fold(0.0, f64::max);
        let least = 4.0 * (d + 2) as f64 * f64::from(f32::from_bits(1));
        let offset = |length: &f64| SPARE * (4.0 * g * longest * (length + 0.5 * longest) + least);
        Self { unit, slope: SPARE * 4.0 * g * longest, offsets: lengths.iter().map(offset).collect() }
    }

    /// By how much the square of another distance must exceed that of the label's.
    #[inline(always)]
    pub(super) fn width(&self, label: u32, upper: f32) -> f64 {
        self.slope * f64::from(upper) + self.offsets[label as usize]
    }

    /// In units: at least the upper bound, and what a lower bound must reach for its centroids to lose.
    #[inline(always)]
    pub(crate) fn units(&self, label: u32, upper: f32) -> (u16, u16) {
        let distance = f64::from(upper);
        // The square is exact; the sum is off by 2^-53 of itself, which the margin makes up for.
        let reach = (distance * distance + self.width(label, upper)).sqrt();
        (self.unit.above(distance), self.unit.above(reach))
    }
}

/// `g` of the [module's documentation](super): how far a score of `d` columns can be off, relative to its terms.
pub(crate) fn rounding(d: usize) -> f64 {
    let roundings = (d + 2) as f64 / (1u64 << 24) as f64;
    if roundings < 0.5 { SPARE * roundings / (1.0 - roundings) } else { f64::INFINITY }
}

/// `value`, or infinity if it is too large to be trusted.
#[inline(always)]
pub(super) fn limited(value: f32) -> f32 {
    if value < LIMIT { value } else { f32::INFINITY }
}

/// The least `f32` that is not below `value`, which is not negative. There is no branch, as nobody could guess it.
#[inline(always)]
fn up(value: f64) -> f32 {
    let near = value as f32;
    f32::from_bits(near.to_bits() + u32::from(f64::from(near) < value))
}

/// How far a sum of `d` squares in `f64`, and a few operations more, can be off, relative to itself.
#[inline(always)]
pub(crate) fn slack(d: usize) -> f64 {
    (d + 16) as f64 * f64::EPSILON
}

/// An upper bound of a distance, from its computed square.
#[inline(always)]
pub(super) fn upper_from_square(square: f64, d: usize) -> f32 {
    limited(up((square * (1.0 + slack(d))).sqrt() * (1.0 + f64::EPSILON)))
}

/// At most the square whose computed value is `square`.
#[inline(always)]
pub(super) fn least_square(square: f64, d: usize) -> f64 {
    square * (1.0 - slack(d))
}
