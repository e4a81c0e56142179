//! Sums of rows that do not depend on the order of the rows.
//!
//! Adding floating-point numbers in another order gives another sum, so two runs that split the rows differently would
//! end in different models. Here each value is first rounded to an integer multiple of a power of two, chosen per column
//! from the data's range, and integers are added. The sum then depends on the set of rows only.

use serde::{Deserialize, Serialize};

/// Most significant bits kept of a value; an `f32` has 24, so a value down to 2^-16 of the column's largest keeps them all.
const VALUE_BITS: u32 = 40;
/// A sum of all rows stays below 2^62 in magnitude, half of what an `i64` holds.
const SUM_BITS: u32 = 62;
/// Distances are summed in `i128`, so one distance may use nearly all of an `i64`.
const DISTANCE_BITS: i32 = 61;

/// The fixed-point format of each column and of distances.
///
/// Value `v` of column `j` is held as `round(v * 2^exponent[j])`, halves to even. Values have at most 40 significant bits,
/// and the sum of `rows` values stays within 2^62: it cannot overflow, whatever the values are, because a value beyond the
/// range given to [`Scale::new`] is brought back to twice that range or less.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "Wire", into = "Wire")]
pub struct Scale {
    exponents: Vec<i16>,
    /// `2^exponent`, so that quantising is one multiplication.
    factors: Vec<f64>,
    bits: u8,
    distance2_exponent: i16,
    distance_exponent: i16,
}

/// What is stored of a [`Scale`].
#[derive(Serialize, Deserialize)]
struct Wire {
    exponents: Vec<i16>,
    bits: u8,
    distance2_exponent: i16,
    distance_exponent: i16,
}

impl From<Wire> for Scale {
    fn from(wire: Wire) -> Self {
        let Wire {
            exponents,
            bits,
            distance2_exponent,
            distance_exponent,
        } = wire;
        let factors = exponents
            .iter()
            .map(|&e| power_of_two(i32::from(e)))
            .collect();
        Self {
            exponents,
            factors,
            bits: bits.min(VALUE_BITS as u8),
            distance2_exponent,
            distance_exponent,
        }
    }
}

impl From<Scale> for Wire {
    fn from(scale: Scale) -> Self {
        let Scale {
            exponents,
            factors: _,
            bits,
            distance2_exponent,
            distance_exponent,
        } = scale;
        Self {
            exponents,
            bits,
            distance2_exponent,
            distance_exponent,
        }
    }
}

impl Scale {
    /// The format for `rows` rows whose column `j` lies within `-max_abs[j]..=max_abs[j]`.
    pub fn new(max_abs: &[f32], rows: u64) -> Self {
        let bits = VALUE_BITS.min(SUM_BITS - ceil_log2(rows.max(1)).min(SUM_BITS - 1));
        let exponents: Vec<i16> = max_abs
            .iter()
            .map(|&max| (bits as i32 - exponent_above(f64::from(max))) as i16)
            .collect();
        let factors = exponents
            .iter()
            .map(|&e| power_of_two(i32::from(e)))
            .collect();
        // Two rows within the range are at most 2 * |max_abs| apart.
        let bound2: f64 = 4.0
            * max_abs
                .iter()
                .map(|&max| f64::from(max) * f64::from(max))
                .sum::<f64>();
        Self {
            exponents,
            factors,
            bits: bits as u8,
            distance2_exponent: (DISTANCE_BITS - exponent_above(bound2)) as i16,
            distance_exponent: (DISTANCE_BITS - exponent_above(bound2.sqrt())) as i16,
        }
    }

    /// Number of columns.
    pub fn dimension(&self) -> usize {
        self.exponents.len()
    }

    /// `2^exponent` of each column.
    pub(crate) fn factors(&self) -> &[f64] {
        &self.factors
    }

    /// The largest magnitude of a quantised value.
    pub(crate) fn limit(&self) -> f64 {
        power_of_two(i32::from(self.bits))
    }

    /// The integer that stands for `value` in `column`.
    pub fn quantize(&self, column: usize, value: f32) -> i64 {
        let limit = self.limit();
        (f64::from(value) * self.factors[column])
            .clamp(-limit, limit)
            .round_ties_even() as i64
    }

    /// The mean of `count` values of `column` whose integers add up to `sum`: the exact quotient, rounded once.
    ///
    /// The mean of no values is zero.
    pub fn mean(&self, column: usize, sum: i64, count: u64) -> f32 {
        if count == 0 || sum == 0 {
            return 0.0;
        }
        // The quotient to at least 63 bits; what is cut off is remembered in the last bit ("round to odd"), so that the
        // roundings below act as one.
        let sum_bits = u128::from(sum.unsigned_abs());
        let shift = sum_bits.leading_zeros();
        let numerator = sum_bits << shift;
        let divisor = u128::from(count);
        let quotient = sticky(numerator / divisor, numerator % divisor != 0);
        let surplus = (128 - quotient.leading_zeros()).saturating_sub(53);
        let cut = quotient & ((1u128 << surplus) - 1) != 0;
        let mantissa = sticky(quotient >> surplus, cut) as f64;
        let exponent = surplus as i32 - shift as i32 - i32::from(self.exponents[column]);
        let magnitude = (mantissa * power_of_two(exponent)) as f32;
        if sum < 0 { -magnitude } else { magnitude }
    }

    /// The integer that stands for a squared distance.
    ///
    /// Squared distances between rows in range are below `4 * sum(max_abs^2)`; anything far larger (a centroid from
    /// elsewhere) is held as the largest integer.
    pub fn quantize_distance2(&self, value: f64) -> i64 {
        (value * power_of_two(i32::from(self.distance2_exponent))).round_ties_even() as i64
    }

    /// The squared distance that a sum of [`Scale::quantize_distance2`] stands for.
    pub fn distance2(&self, sum: i128) -> f64 {
        sum as f64 * power_of_two(-i32::from(self.distance2_exponent))
    }

    /// The integer that stands for a distance.
    pub fn quantize_distance(&self, value: f64) -> i64 {
        (value * power_of_two(i32::from(self.distance_exponent))).round_ties_even() as i64
    }

    /// The distance that a sum of [`Scale::quantize_distance`] stands for.
    pub fn distance(&self, sum: i128) -> f64 {
        sum as f64 * power_of_two(-i32::from(self.distance_exponent))
    }
}

/// Remembers in the last bit that something non-zero was cut off.
fn sticky(value: u128, cut: bool) -> u128 {
    value | u128::from(cut)
}

/// The least `e` with `value <= 2^e`; 0 for zero.
pub(crate) fn exponent_above(value: f64) -> i32 {
    if value <= 0.0 || !value.is_finite() {
        return if value > 0.0 { 1024 } else { 0 };
    }
    let bits = value.to_bits();
    let mantissa = bits & ((1 << 52) - 1);
    match (bits >> 52) as i32 {
        0 => -1074 + ceil_log2(mantissa) as i32,
        biased => biased - 1023 + i32::from(mantissa != 0),
    }
}

/// The least `e` with `value <= 2^e`, for `value >= 1`.
fn ceil_log2(value: u64) -> u32 {
    64 - (value - 1).leading_zeros()
}

/// `2^exponent`, exactly, within the normal range of `f64`.
pub(crate) fn power_of_two(exponent: i32) -> f64 {
    f64::from_bits(((exponent.clamp(-1022, 1023) + 1023) as u64) << 52)
}
