//! Normally distributed numbers that are the same on every machine.
//!
//! The polar method (Marsaglia and Bray 1964) needs a logarithm, which libraries round differently; this one is made of
//! operations that IEEE 754 defines to the last bit.

use std::f64::consts::{LN_2, SQRT_2};

use crate::random::Stream;

/// Pairs of hashes set aside for a number; more than 31 refusals have a probability of 1e-21.
const TRIES: u64 = 32;

/// Number `index` of a stream, from the normal distribution with mean 0 and variance 1. O(1).
pub(super) fn gaussian(stream: Stream, index: u64) -> f64 {
    for attempt in 0..TRIES {
        let at = 2 * (index.wrapping_mul(TRIES).wrapping_add(attempt));
        let (u, v) = (2.0 * stream.uniform(at) - 1.0, 2.0 * stream.uniform(at + 1) - 1.0);
        let square = u * u + v * v;
        if square > 0.0 && square < 1.0 {
            return u * (-2.0 * ln(square) / square).sqrt();
        }
    }
    0.0
}

/// The natural logarithm of a positive normal number, by the series of the inverse hyperbolic tangent.
fn ln(x: f64) -> f64 {
    let bits = x.to_bits();
    let mut exponent = (bits >> 52) as i64 - 1023;
    let mut mantissa = f64::from_bits(bits & ((1 << 52) - 1) | 1023 << 52);
    if mantissa > SQRT_2 {
        mantissa *= 0.5;
        exponent += 1;
    }
    // |s| < 0.172, so the twelfth term is below 2^-60 of the first.
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let s2 = s * s;
    let series = (0..12).rev().fold(0.0, |sum, i| sum * s2 + 1.0 / f64::from(2 * i + 1));
    2.0 * s * series + exponent as f64 * LN_2
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Purpose;

    #[test]
    fn logarithm() {
        for i in 1..2000 {
            let x = f64::from(i) * f64::from(i) / 1e6;
            assert!((ln(x) - x.ln()).abs() <= 4e-16 * x.ln().abs().max(1e-2), "{x}");
        }
    }

    /// These values are written into models by their seeds: they may never change.
    #[test]
    fn test_vectors() {
        let stream = Stream::new(42, Purpose::Hashing, 0);
        assert_eq!(gaussian(stream, 0).to_bits(), 0xbfa1_6ee2_3a47_8240);
        assert_eq!(gaussian(stream, 1_000_000).to_bits(), 0xbf8a_1ace_c7f1_2016);
    }

    #[test]
    fn moments_and_quantiles() {
        let stream = Stream::new(5, Purpose::Hashing, 0);
        let n = 200_000u64;
        let values: Vec<f64> = (0..n).map(|i| gaussian(stream, i)).collect();
        let moment = |p: i32| values.iter().map(|v| v.powi(p)).sum::<f64>() / n as f64;
        // Five standard errors: sqrt(1/n), sqrt(2/n), sqrt(15/n), sqrt(96/n).
        assert!(moment(1).abs() < 0.0112 && (moment(2) - 1.0).abs() < 0.0159);
        assert!(moment(3).abs() < 0.0434 && (moment(4) - 3.0).abs() < 0.1096);
        for (at, share) in [(-2.0, 0.022_750), (-1.0, 0.158_655), (0.5, 0.691_462), (1.5, 0.933_193)] {
            let below = values.iter().filter(|&&v| v < at).count() as f64 / n as f64;
            assert!((below - share).abs() < 5.0 * (share * (1.0 - share) / n as f64).sqrt(), "{at}: {below}");
        }
    }
}
