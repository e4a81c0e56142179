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
/// More than the relative error of a quotient of two integers in `f64`, with what multiplying by this adds: five roundings.
const QUOTIENT_ERROR: f64 = 1.0 / (1u64 << 50) as f64;

/// The fixed-point format of each column and of distances.
///
/// Value `v` of column `j` is held as `round(v * 2^exponent[j])`, halves to even. Values have at most 40 significant bits,
/// and the sum of `rows` values stays within 2^62: it cannot overflow, whatever the values are, because a value beyond the
/// range given to [`Scale::new`] is brought back to less than twice that range.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "Format", into = "Format")]
pub struct Scale {
    format: Format,
    /// `2^exponent` of each column, so that quantising is one multiplication.
    factors: Vec<f64>,
    /// The largest magnitude of a quantised value.
    limit: f64,
    /// `2^distance2` of the format.
    distance2_factor: f64,
}

/// What defines a [`Scale`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Format {
    /// Power of two by which each column is multiplied.
    columns: Vec<i16>,
    /// Significant bits of a value.
    bits: u8,
    /// Power of two by which squared distances are multiplied.
    distance2: i16,
    /// Power of two by which distances are multiplied.
    distance: i16,
}

impl From<Format> for Scale {
    fn from(format: Format) -> Self {
        Self {
            factors: format.columns.iter().map(|&e| power_of_two(e.into())).collect(),
            limit: power_of_two(i32::from(format.bits).min(VALUE_BITS as i32)),
            distance2_factor: power_of_two(format.distance2.into()),
            format,
        }
    }
}

impl From<Scale> for Format {
    fn from(scale: Scale) -> Self {
        scale.format
    }
}

impl Scale {
    /// The format for `rows` rows whose column `j` lies within `-max_abs[j]..=max_abs[j]`.
    pub fn new(max_abs: &[f32], rows: u64) -> Self {
        let bits = VALUE_BITS.min(SUM_BITS - ceil_log2(rows.max(1)).min(SUM_BITS));
        // Two rows within the range are at most 2 * |max_abs| apart.
        let bound2: f64 = 4.0 * max_abs.iter().map(|&max| f64::from(max) * f64::from(max)).sum::<f64>();
        Self::from(Format {
            columns: max_abs.iter().map(|&max| (bits as i32 - exponent_above(max.into())) as i16).collect(),
            bits: bits as u8,
            distance2: (DISTANCE_BITS - exponent_above(bound2)) as i16,
            distance: (DISTANCE_BITS - exponent_above(bound2.sqrt())) as i16,
        })
    }

    /// Number of columns.
    pub fn dimension(&self) -> usize {
        self.factors.len()
    }

    /// `2^exponent` of each column.
    pub(crate) fn factors(&self) -> &[f64] {
        &self.factors
    }

    /// The largest magnitude of a quantised value.
    pub(crate) fn limit(&self) -> f64 {
        self.limit
    }

    /// The integer that stands for `value` in `column`.
    pub fn quantize(&self, column: usize, value: f32) -> i64 {
        (f64::from(value) * self.factors[column]).clamp(-self.limit, self.limit).round_ties_even() as i64
    }

    /// The mean of `count` values of `column` whose integers add up to `sum`: the exact quotient, rounded once.
    ///
    /// The mean of no values is zero.
    pub fn mean(&self, column: usize, sum: i64, count: u64) -> f32 {
        if count == 0 || sum == 0 {
            return 0.0;
        }
        // Nearly always the quotient in `f64` will do: wherever within its error the exact one is, it rounds to the same.
        let quotient = sum as f64 / count as f64 / self.factors[column];
        let mean = (quotient * (1.0 - QUOTIENT_ERROR)) as f32;
        if mean.to_bits() == ((quotient * (1.0 + QUOTIENT_ERROR)) as f32).to_bits() {
            return mean;
        }
        self.exact_mean(column, sum, count)
    }

    /// [`Scale::mean`] by integers.
    fn exact_mean(&self, column: usize, sum: i64, count: u64) -> f32 {
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
        let exponent = surplus as i32 - shift as i32 - i32::from(self.format.columns[column]);
        let magnitude = (mantissa * power_of_two(exponent)) as f32;
        if sum < 0 { -magnitude } else { magnitude }
    }

    /// The integer that stands for a squared distance.
    ///
    /// Squared distances between rows in range are below `4 * sum(max_abs^2)`; anything far larger (a centroid from
    /// elsewhere) is held as the largest integer.
    #[inline(always)]
    pub fn quantize_distance2(&self, value: f64) -> i64 {
        (value * self.distance2_factor).round_ties_even() as i64
    }

    /// The squared distance that a sum of [`Scale::quantize_distance2`] stands for.
    pub fn distance2(&self, sum: i128) -> f64 {
        sum as f64 * power_of_two(-i32::from(self.format.distance2))
    }

    /// The integer that stands for a distance.
    pub fn quantize_distance(&self, value: f64) -> i64 {
        (value * power_of_two(self.format.distance.into())).round_ties_even() as i64
    }

    /// The distance that a sum of [`Scale::quantize_distance`] stands for.
    pub fn distance(&self, sum: i128) -> f64 {
        sum as f64 * power_of_two(-i32::from(self.format.distance))
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn powers_of_two_are_exact() {
        assert_eq!(exponent_above(0.0), 0);
        assert_eq!(exponent_above(1.0), 0);
        assert_eq!(exponent_above(1.5), 1);
        assert_eq!(exponent_above(2.0), 1);
        assert_eq!(exponent_above(f64::from(f32::MAX)), 128);
        assert_eq!(exponent_above(f64::from(f32::from_bits(1))), -149);
        assert_eq!(exponent_above(f64::from_bits(1)), -1074);
        assert_eq!(exponent_above(f64::from_bits(3)), -1072);
        assert_eq!(power_of_two(-149), f64::from(f32::from_bits(1)));
        assert_eq!((ceil_log2(1), ceil_log2(2), ceil_log2(3), ceil_log2(u64::MAX)), (0, 1, 2, 64));
    }

    #[test]
    fn integers_and_sixteenths_are_held_exactly() {
        let scale = Scale::new(&[16.0, 0.0], 1797);
        for value in 0..=256 {
            let value = value as f32 / 16.0;
            let held = scale.quantize(0, value);
            assert_eq!(scale.mean(0, held, 1), value);
            assert_eq!(scale.mean(0, -held * 1000, 1000), -value);
        }
        assert_eq!(scale.quantize(1, 0.0), 0);
    }

    #[test]
    fn a_mean_is_rounded_once() {
        let scale = Scale::new(&[1.0], 1);
        // One third, to the nearest f32.
        assert_eq!(scale.mean(0, 1 << 40, 3), 1.0 / 3.0);
        // Just above the middle of two f32: rounding to f64 first would land on the middle and then go down.
        let middle = (1 << 40) + (1 << 16);
        assert_eq!(scale.mean(0, middle, 1), 1.0);
        let count = 1u64 << 22;
        assert_eq!(scale.mean(0, middle * count as i64 + 1, count), 1.0 + f32::EPSILON);
        assert_eq!(scale.mean(0, 5, 0), 0.0);
    }

    #[test]
    fn tiny_means_of_many_rows() {
        let scale = Scale::new(&[f32::from_bits(1000)], 1 << 40);
        // Far below the least f32, which is rounded to zero or to it.
        assert_eq!(scale.mean(0, 1, u64::MAX), 0.0);
        assert_eq!(scale.mean(0, scale.quantize(0, f32::from_bits(7)), 1), f32::from_bits(7));
    }

    #[test]
    fn values_out_of_range_are_brought_back() {
        for rows in [1, 3, 1 << 20, (1 << 40) + 1, 1 << 61, u64::MAX] {
            let scale = Scale::new(&[3.0], rows);
            for value in [3.0, 100.0, f32::MAX, f32::INFINITY] {
                let sum = i128::from(scale.quantize(0, value)) * i128::from(rows);
                assert!(sum <= 1 << 62 || rows > 1 << 62, "{rows} rows of {value} sum to {sum}");
                assert_eq!(scale.quantize(0, -value), -scale.quantize(0, value));
            }
        }
    }

    #[test]
    fn a_scale_survives_the_wire() {
        let scale = Scale::new(&[1.0, 0.0, 1e30, 1e-40], 12_345);
        let bytes = postcard::to_allocvec(&scale).unwrap();
        assert_eq!(postcard::from_bytes::<Scale>(&bytes).unwrap(), scale);
    }

    proptest! {
        #[test]
        fn a_value_is_held_to_forty_bits(value: f32, above in 1.0f32..4.0) {
            prop_assume!(value.is_finite());
            let max = (value.abs() * above).min(f32::MAX);
            let scale = Scale::new(&[max], 1000);
            let held = scale.mean(0, scale.quantize(0, value), 1);
            prop_assert!((f64::from(held) - f64::from(value)).abs() <= f64::from(max) * 2f64.powi(-40));
        }

        #[test]
        fn a_mean_is_the_nearest_float(sum in -(1i64 << 62)..(1i64 << 62), count in 1u64..1 << 40) {
            let scale = Scale::new(&[1.0], 1);
            let mean = f64::from(scale.mean(0, sum, count));
            // Compare |mean - quotient| with that of the neighbours, in units of 2^-40 / count, exactly.
            let error = |v: f64| {
                // v = m * 2^e with an integer m; here v is a multiple of 2^-100 at least.
                let scaled = v * 2f64.powi(40);
                let whole = scaled.floor();
                (whole as i128 * i128::from(count) - i128::from(sum)) as f64 + (scaled - whole) * count as f64
            };
            let narrow = mean as f32;
            for neighbour in [narrow.next_up(), narrow.next_down()] {
                prop_assert!(error(mean).abs() <= error(neighbour.into()).abs() * (1.0 + 1e-9));
            }
        }

        /// Near the middle of two `f32` as well, where the quotient in `f64` does not tell.
        #[test]
        fn a_mean_is_the_exact_one(
            bits in 1u32..63, sum: i64, count in 1u64..1 << 40, counts in 0u32..40, near in -2i64..=2, max in prop_oneof![Just(1.0f32), Just(1e-40), Just(3e38)],
        ) {
            let scale = Scale::new(&[max], 1);
            let (sum, count) = (sum >> (64 - bits), count >> counts);
            prop_assume!(count > 0);
            let middle = ((sum >> 38) * 2 + 1).saturating_mul(count as i64).saturating_add(near);
            for sum in [sum, middle].into_iter().filter(|&sum| sum != 0) {
                prop_assert_eq!(scale.mean(0, sum, count).to_bits(), scale.exact_mean(0, sum, count).to_bits());
            }
        }

        #[test]
        fn distances_are_held_closely(values in prop::collection::vec(-1e6f32..1e6, 1..20)) {
            let max: Vec<f32> = values.iter().map(|v| v.abs()).collect();
            let scale = Scale::new(&max, 100);
            let d2: f64 = values.iter().map(|&v| 4.0 * f64::from(v) * f64::from(v)).sum();
            let close = |a: f64, b: f64| (a - b).abs() <= b * 1e-15;
            prop_assert!(close(scale.distance2(scale.quantize_distance2(d2).into()), d2));
            prop_assert!(close(scale.distance(scale.quantize_distance(d2.sqrt()).into()), d2.sqrt()));
        }
    }
}
