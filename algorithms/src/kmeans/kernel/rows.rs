//! Loops over the columns of single rows, compiled twice: for any machine and for 256-bit vectors.
//!
//! The source is one, without fused operations and with a fixed order of additions, so both give the same bits.

use crate::fixed::Scale;
use crate::kmeans::Centroids;
use crate::lanes::{self, LANES};

/// Defines a function whose body is compiled for AVX2 as well, and chosen at run time.
macro_rules! widened {
    ($(#[$doc:meta])* $vis:vis fn $name:ident($($arg:ident: $type:ty),* $(,)?) $(-> $result:ty)? $body:block) => {
        $(#[$doc])*
        #[inline]
        $vis fn $name($($arg: $type),*) $(-> $result)? {
            #[inline(always)]
            fn plain($($arg: $type),*) $(-> $result)? $body

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2")]
            fn wide($($arg: $type),*) $(-> $result)? {
                plain($($arg),*)
            }

            #[cfg(target_arch = "x86_64")]
            if is_x86_feature_detected!("avx2") {
                // SAFETY: the machine has AVX2.
                return unsafe { wide($($arg),*) };
            }
            plain($($arg),*)
        }
    };
}

/// Adding this to a number of magnitude below 2^51 rounds it to an integer, halves to even, in the low bits of the sum.
const ROUND: f64 = 1.5 * (1u64 << 52) as f64;

widened! {
    /// Adds quantised rows to their clusters' sums; gives the quantised sum of their squared distances.
    ///
    /// # Panics
    /// If a label is out of range.
    pub(crate) fn accumulate(
        centroids: &Centroids,
        scale: &Scale,
        rows: &[f32],
        labels: &[u32],
        sums: &mut [i64],
    ) -> i128 {
        let d = centroids.dimension();
        let limit = scale.limit();
        let factors = scale.factors();
        let (whole_factors, rest_factors) = factors.as_chunks::<LANES>();
        let quantize = |value: f64, factor: f64| {
            let scaled = value * factor;
            let scaled = if scaled > limit { limit } else { scaled };
            let scaled = if scaled < -limit { -limit } else { scaled };
            ((scaled + ROUND).to_bits() as i64).wrapping_sub(ROUND.to_bits() as i64)
        };
        let mut inertia = 0i128;
        for (row, &label) in rows.chunks_exact(d).zip(labels) {
            let centroid = centroids.row(label as usize);
            let sums = &mut sums[label as usize * d..][..d];
            let (whole_row, rest_row) = row.as_chunks::<LANES>();
            let (whole_centroid, rest_centroid) = centroid.as_chunks::<LANES>();
            let (whole_sums, rest_sums) = sums.as_chunks_mut::<LANES>();
            let mut squares = [0.0f64; LANES];
            for (((x, c), f), s) in whole_row.iter().zip(whole_centroid).zip(whole_factors).zip(whole_sums) {
                for lane in 0..LANES {
                    let value = f64::from(x[lane]);
                    let difference = value - f64::from(c[lane]);
                    squares[lane] += difference * difference;
                    s[lane] = s[lane].wrapping_add(quantize(value, f[lane]));
                }
            }
            let rest = rest_row.iter().zip(rest_centroid).zip(rest_factors).zip(rest_sums).zip(&mut squares);
            for ((((&x, &c), &f), s), square) in rest {
                let value = f64::from(x);
                let difference = value - f64::from(c);
                *square += difference * difference;
                *s = s.wrapping_add(quantize(value, f));
            }
            inertia += i128::from(scale.quantize_distance2(lanes::fold(squares)));
        }
        inertia
    }
}

widened! {
    /// Squared distance of two rows.
    pub(crate) fn squared_distance(a: &[f32], b: &[f32]) -> f64 {
        lanes::squared_distance(a, b)
    }
}

widened! {
    /// The principal components of rows: `components * (row - mean)`.
    pub(crate) fn project(rows: &[f32], mean: &[f32], components: &[f32], out: &mut Vec<f32>) {
        let d = mean.len();
        out.clear();
        out.reserve(rows.len() / d * (components.len() / d));
        let mut centred = vec![0.0f64; d];
        for row in rows.chunks_exact(d) {
            for ((c, &x), &m) in centred.iter_mut().zip(row).zip(mean) {
                *c = f64::from(x) - f64::from(m);
            }
            out.extend(components.chunks_exact(d).map(|component| lanes::dot(&centred, component) as f32));
        }
    }
}
