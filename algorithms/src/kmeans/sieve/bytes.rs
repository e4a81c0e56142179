//! Centroids and rows in bytes, and what is known of their errors.

use super::super::bounds::rounding;
use super::super::kernel::{
    self, ByteCentroid, BytePanels, Factors, LIMIT_CENTROID, LIMIT_ROW, MOST_CENTROID, MOST_ROW, SEGMENT, half,
};
use super::super::{Centroids, squared_distance};

/// Rounding to integers moves each number by at most a half, and so a half of a segment by at most this.
const ROUNDED: f64 = 4.0;
/// Lengths are divided by a little less than they may be, so that roundings do not matter.
const SAFE: f64 = 0.5;
/// Lengths that are looked at, squared: within them, no square that counts over- or underflows in `f32`.
const SQUARES: std::ops::RangeInclusive<f64> = 1e-20..=1e30;
/// The greatest error in units; with the products, which are less than 2^14, bounds stay below 2^15.
const MOST_ERROR: f64 = 8000.0;
/// More units than roundings make of a bound.
const UNITS: f64 = 2.0;

/// By how much [`RowBytes::window`] is more than the greatest error.
const WINDOW: f64 = 1.2;

/// Centroids in bytes.
#[derive(Debug)]
pub(super) struct Packed {
    len: usize,
    middle: Vec<f32>,
    panels: BytePanels,
    /// A unit of bounds, by a row's step.
    unit: f64,
    /// At least the length of a centroid from the middle.
    longest: f64,
    /// At least what bytes miss of a centroid, by its length.
    missed: f64,
    margin: Margin,
}

/// A row in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct RowBytes {
    pub(super) factors: Factors,
    /// The unit of its bounds.
    unit: f64,
    /// At most the square of its distance to the middle.
    square: f64,
    /// How far below the greatest bounds those of centroids lie that have to be measured, by experience: not much farther than
    /// the greatest error of a bound.
    pub(super) window: i16,
    /// Squared distances must differ by more for the kernel to see it, whatever it rounds.
    pub(super) gap: f64,
}

/// The error of the kernel's scores, E of [`bounds`](super::super::bounds).
#[derive(Debug)]
struct Margin {
    /// At least the length of the middle.
    middle: f64,
    slope: f64,
    offset: f64,
}

impl Packed {
    /// `None` where numbers are so large, small or uneven that bytes say nothing of them.
    pub(super) fn new(centroids: &Centroids) -> Option<Self> {
        let (k, d) = (centroids.len(), centroids.dimension());
        let zero = vec![0.0; d];
        let length = |row: &[f32]| squared_distance(row, &zero).sqrt() * (1.0 + 1e-9);
        let mut middle = vec![0.0; d];
        for centroid in centroids.values().chunks_exact(d) {
            for (middle, &value) in middle.iter_mut().zip(centroid) {
                *middle += f64::from(value);
            }
        }
        let middle: Vec<f32> = middle.into_iter().map(|sum| (sum / k as f64) as f32).collect();
        let rows = centroids.values().chunks_exact(d);
        let longest = rows.clone().map(|row| squared_distance(row, &middle).sqrt() * (1.0 + 1e-9)).fold(0.0, f64::max);
        let farthest = rows.clone().map(length).fold(0.0, f64::max);
        // Not a number where the middle overflowed.
        if !(SQUARES.contains(&(longest * longest)) && farthest < 1e15) {
            return None;
        }
        let segments = d.div_ceil(SEGMENT);
        let quantised: Vec<Quantised> = rows.map(|row| Quantised::new(row, &middle)).collect();
        let step = quantised.iter().map(|centroid| centroid.step).fold(0.0, f32::max);
        let unit = 4.0 * segments as f64 * f64::from(step);
        let missed = quantised.iter().map(|centroid| centroid.missed).fold(0.0, f64::max);
        let pack = |centroid: Quantised| ByteCentroid {
            scale: (f64::from(centroid.step) / unit) as f32,
            bias: (-0.5 * centroid.square) as f32,
            error: (centroid.square.sqrt() * (1.0 + 1e-6)) as f32,
            bytes: centroid.bytes,
        };
        let packed: Vec<ByteCentroid> = quantised.into_iter().map(pack).collect();
        let panels = BytePanels::new(d, &packed);
        let g = rounding(d);
        let margin = Margin {
            middle: length(&middle),
            slope: g * farthest,
            offset: 0.5 * g * farthest * farthest + (d + 2) as f64 * f64::from(f32::from_bits(1)),
        };
        g.is_finite().then_some(Self { len: k, middle, panels, unit, longest, missed, margin })
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn dimension(&self) -> usize {
        self.middle.len()
    }

    pub(super) fn panels(&self) -> &BytePanels {
        &self.panels
    }

    /// A row in bytes; `None` if they would say nothing.
    pub(super) fn row(&self, row: &[f32], centred: &mut [f32], bytes: &mut [u8]) -> Option<RowBytes> {
        let d = self.dimension();
        let (mut square, mut longest, mut largest) = (0.0, 0.0f32, 0.0f32);
        let segments = row.chunks(SEGMENT).zip(self.middle.chunks(SEGMENT)).zip(centred.chunks_mut(SEGMENT));
        for ((row, middle), centred) in segments {
            let extent = kernel::centre(row, middle, centred);
            square += f64::from(extent.squares[0]) + f64::from(extent.squares[1]);
            longest = longest.max(extent.squares[0]).max(extent.squares[1]);
            largest = largest.max(extent.largest);
        }
        // Not so if it is not a number.
        if !SQUARES.contains(&square) {
            return None;
        }
        let step = step(largest.into(), f64::from(longest).sqrt(), LIMIT_ROW, MOST_ROW);
        let lost = kernel::quantise(centred, step, 1.0 / step, &mut bytes[..d]);
        // The roundings of sums of squares in `f32`.
        let slack = (d + 16) as f64 / (1u64 << 23) as f64;
        let length = square.sqrt() * (1.0 + slack);
        let tiny = d as f64 * f64::from(f32::MIN_POSITIVE);
        // Subtractions have been rounded too, each by less than 2^-23 of a number.
        let lost = (f64::from(lost) + tiny).sqrt() * (1.0 + slack) + length / (1u64 << 22) as f64;
        let error = lost + (length + lost) * self.missed;
        let unit = f64::from(step) * self.unit;
        let factors = Factors { bias: (1.0 / unit) as f32, error: (error / unit) as f32 };
        let most = error / unit * self.longest;
        let within = most < MOST_ERROR && factors.bias.is_normal();
        let margin = self.margin.slope * (length + self.margin.middle) + self.margin.offset;
        let window = (WINDOW * most + 2.0 * UNITS) as i16;
        within.then_some(RowBytes { factors, unit, square: square * (1.0 - slack), window, gap: 4.0 * margin })
    }
}

impl RowBytes {
    /// What the bound of a centroid must reach so that it may be as near as one whose squared distance is `square`.
    pub(super) fn least(&self, square: f64) -> i16 {
        let score = 0.5 * (self.square - square - self.gap);
        // The conversion goes to the nearest number there is.
        ((score / self.unit).floor() - UNITS) as i16
    }
}

/// The step in which bytes fit, for numbers of at most `largest` and halves of segments of at most `longest`.
fn step(largest: f64, longest: f64, limit: f64, most: f64) -> f32 {
    let step = (largest / (limit - 2.0 * SAFE)).max(longest / (most - ROUNDED - SAFE));
    step as f32
}

/// A centroid in bytes, with what was lost.
struct Quantised {
    bytes: Vec<i8>,
    step: f32,
    /// The square of its distance to the middle.
    square: f64,
    /// At least the length of what bytes miss, by its own length.
    missed: f64,
}

impl Quantised {
    fn new(centroid: &[f32], middle: &[f32]) -> Self {
        let centred: Vec<f64> = centroid.iter().zip(middle).map(|(&c, &m)| f64::from(c) - f64::from(m)).collect();
        let (mut longest, mut largest) = (0.0f64, 0.0f64);
        for segment in centred.chunks(SEGMENT) {
            let mut squares = [0.0; 2];
            for (j, &value) in segment.iter().enumerate() {
                squares[half(j)] += value * value;
                largest = largest.max(value.abs());
            }
            longest = longest.max(squares[0]).max(squares[1]);
        }
        let square: f64 = centred.iter().map(|value| value * value).sum();
        let step = step(largest, longest.sqrt(), LIMIT_CENTROID, MOST_CENTROID);
        if step == 0.0 {
            return Self { bytes: vec![0; centred.len()], step, square, missed: if square > 0.0 { 1.0 } else { 0.0 } };
        }
        let bytes: Vec<i8> = centred.iter().map(|value| (value / f64::from(step)).round() as i8).collect();
        let miss = |(value, &byte): (&f64, &i8)| (value - f64::from(step) * f64::from(byte)).powi(2);
        let missed: f64 = centred.iter().zip(&bytes).map(miss).sum();
        Self { bytes, step, square, missed: (missed / square).sqrt() * (1.0 + 1e-6) }
    }
}
