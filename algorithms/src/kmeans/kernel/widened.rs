//! Functions compiled twice: for any machine and for 256-bit vectors.
//!
//! The source is one, without fused operations and with a fixed order of additions, so both give the same bits.

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

pub(super) use widened;

/// Adding this to a number of magnitude below 2^51 rounds it to an integer, halves to even, in the low bits of the sum.
const ROUND: f64 = 1.5 * (1u64 << 52) as f64;

/// The integer nearest to `scaled`, brought back to at most `limit` (below 2^51) in magnitude.
#[inline(always)]
pub(super) fn quantize(scaled: f64, limit: f64) -> i64 {
    let scaled = if scaled > limit { limit } else { scaled };
    let scaled = if scaled < -limit { -limit } else { scaled };
    integer(scaled)
}

/// The integer nearest to a number of magnitude below 2^51, halves to even.
#[inline(always)]
pub(super) fn integer(value: f64) -> i64 {
    ((value + ROUND).to_bits() as i64).wrapping_sub(ROUND.to_bits() as i64)
}
