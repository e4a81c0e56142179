//! Sums over the columns of one row, in one fixed order that vector units like.
//!
//! Column `j` goes to partial sum `j % 8`, and the eight partial sums are added pairwise. No fused multiply-add is used,
//! so that every machine gives the same bits at full speed.

/// Number of partial sums.
pub(crate) const LANES: usize = 8;

/// Adds the eight partial sums pairwise.
#[inline(always)]
pub(crate) fn fold(sums: [f64; LANES]) -> f64 {
    ((sums[0] + sums[4]) + (sums[2] + sums[6])) + ((sums[1] + sums[5]) + (sums[3] + sums[7]))
}

/// The sum of `term(a[j], b[j])` over all columns.
#[inline(always)]
fn sum<A: Copy, B: Copy>(a: &[A], b: &[B], term: impl Fn(A, B) -> f64) -> f64 {
    debug_assert_eq!(a.len(), b.len());
    let mut sums = [0.0; LANES];
    let (whole_a, rest_a) = a.as_chunks::<LANES>();
    let (whole_b, rest_b) = b.as_chunks::<LANES>();
    for (a, b) in whole_a.iter().zip(whole_b) {
        for lane in 0..LANES {
            sums[lane] += term(a[lane], b[lane]);
        }
    }
    if !rest_a.is_empty() {
        let mut rest = [0.0; LANES];
        // A loop that ends early stays straight-line code; otherwise it would be vectorised with masks.
        for (lane, rest) in rest.iter_mut().enumerate() {
            let (Some(&a), Some(&b)) = (rest_a.get(lane), rest_b.get(lane)) else { break };
            *rest = term(a, b);
        }
        for (sum, rest) in sums.iter_mut().zip(rest) {
            *sum += rest;
        }
    }
    fold(sums)
}

/// Squared distance of two rows.
#[inline(always)]
pub(crate) fn squared_distance(a: &[f32], b: &[f32]) -> f64 {
    sum(a, b, |a, b| {
        let difference = f64::from(a) - f64::from(b);
        difference * difference
    })
}

/// Squared distance of two rows in double precision.
#[inline(always)]
pub(crate) fn squared_distance_wide(a: &[f64], b: &[f64]) -> f64 {
    sum(a, b, |a, b| (a - b) * (a - b))
}

/// Squared length of a row.
#[inline(always)]
pub(crate) fn squared_norm(a: &[f32]) -> f64 {
    sum(a, a, |a, b| f64::from(a) * f64::from(b))
}

/// The products of two rows with each other and with themselves.
#[inline(always)]
pub(crate) fn inner_products(a: &[f32], b: &[f32]) -> [f64; 3] {
    let product = |a, b| f64::from(a) * f64::from(b);
    [sum(a, b, product), sum(a, a, product), sum(b, b, product)]
}

/// The sum of a row.
#[inline(always)]
pub(crate) fn total(a: &[f32]) -> f64 {
    sum(a, a, |a, _| f64::from(a))
}

/// The sum of the lesser value of two rows in each column.
#[inline(always)]
pub(crate) fn overlap(a: &[f32], b: &[f32]) -> f64 {
    // As a comparison and not as `min`, which has to look for NaN.
    sum(a, b, |a, b| f64::from(if a < b { a } else { b }))
}

/// Dot product of two rows, one of them already widened.
#[inline(always)]
pub(crate) fn dot(a: &[f64], b: &[f32]) -> f64 {
    sum(a, b, |a, b| a * f64::from(b))
}

/// Dot product of a row, already widened, with one of small integers.
#[inline(always)]
pub(crate) fn dot_code(a: &[f64], b: &[i16]) -> f64 {
    sum(a, b, |a, b| a * f64::from(b))
}

/// Dot product of two rows in double precision.
#[inline(always)]
pub(crate) fn dot_wide(a: &[f64], b: &[f64]) -> f64 {
    sum(a, b, |a, b| a * b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_right_for_every_length() {
        for length in 0..40usize {
            let a: Vec<f32> = (0..length).map(|j| j as f32).collect();
            let b: Vec<f32> = (0..length).map(|j| 2.0 * j as f32 + 1.0).collect();
            let wide: Vec<f64> = a.iter().map(|&v| f64::from(v)).collect();
            let n = length as f64;
            let squares = (n - 1.0) * n * (2.0 * n - 1.0) / 6.0;
            let linear = n * (n - 1.0) / 2.0;
            assert_eq!(squared_norm(&a), squares);
            assert_eq!(dot(&wide, &b), 2.0 * squares + linear);
            assert_eq!(inner_products(&a, &b), [2.0 * squares + linear, squares, 4.0 * squares + 4.0 * linear + n]);
            assert_eq!(squared_distance(&a, &b), squares + 2.0 * linear + n);
            assert_eq!((total(&a), overlap(&a, &b), overlap(&b, &a)), (linear, linear, linear));
            let other: Vec<f64> = b.iter().map(|&v| f64::from(v)).collect();
            assert_eq!(squared_distance_wide(&wide, &other), squares + 2.0 * linear + n);
            assert_eq!(dot_wide(&wide, &other), 2.0 * squares + linear);
        }
    }
}
