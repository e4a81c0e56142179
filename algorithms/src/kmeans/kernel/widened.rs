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
            if $crate::kmeans::kernel::widened::is_wide() {
                // SAFETY: the machine has AVX2, as was just asked.
                return unsafe { wide($($arg),*) };
            }
            plain($($arg),*)
        }
    };
}

pub(super) use widened;

/// Whether the machine has AVX2.
#[cfg(target_arch = "x86_64")]
#[inline]
pub(super) fn is_wide() -> bool {
    #[cfg(test)]
    if NARROW.get() {
        return false;
    }
    is_x86_feature_detected!("avx2")
}

#[cfg(test)]
thread_local! {
    static NARROW: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// What `work` gives as compiled for any machine, and as compiled for this one.
#[cfg(test)]
pub(super) fn both<T>(work: impl Fn() -> T) -> [T; 2] {
    NARROW.set(true);
    let plain = work();
    NARROW.set(false);
    [plain, work()]
}

/// Adding this to a number of magnitude below 2^51 rounds it to an integer, halves to even, in the low bits of the sum.
pub(super) const ROUND: f64 = 1.5 * (1u64 << 52) as f64;

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
