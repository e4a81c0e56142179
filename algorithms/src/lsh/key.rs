//! What names a bucket.

use std::fmt::Debug;
use std::hash::Hash;

/// A packed name of a bucket: `u32` or `u64`.
pub trait Key: Copy + Ord + Hash + Debug + Default + Send + Sync + sealed::Sealed + 'static {
    /// Number of bits.
    const BITS: u32;

    /// The key as words of 32 bits, the upper one first: beside a row it takes no room for alignment.
    type Words: Copy + Ord + Debug + Default + Send + Sync;

    /// The words of the key.
    fn words(self) -> Self::Words;

    /// The key of these words.
    fn of_words(words: Self::Words) -> Self;

    /// The bits from bit `shift` on.
    fn upper(self, shift: u32) -> usize;

    /// The upper 32 bits, if there are more than 32, and the lower ones.
    fn halves(self) -> (u32, u32);

    /// The key of these halves.
    fn of_halves(upper: u32, lower: u32) -> Self;

    /// Number of bits without leading zeros.
    fn width(self) -> u32;

    /// The sum modulo 2^BITS.
    #[must_use]
    fn step(self, by: Self) -> Self;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for u32 {}
    impl Sealed for u64 {}
}

macro_rules! keys {
    ($($key:ty, $words:ty, $to:expr, $from:expr;)*) => {$(
        impl Key for $key {
            const BITS: u32 = <$key>::BITS;

            type Words = $words;

            #[inline]
            fn words(self) -> $words {
                $to(self)
            }

            #[inline]
            fn of_words(words: $words) -> Self {
                $from(words)
            }

            #[inline]
            fn upper(self, shift: u32) -> usize {
                (self >> shift) as usize
            }

            #[inline]
            fn halves(self) -> (u32, u32) {
                let wide = u64::from(self);
                ((wide >> 32) as u32, wide as u32)
            }

            #[inline]
            fn of_halves(upper: u32, lower: u32) -> Self {
                (u64::from(upper) << 32 | u64::from(lower)) as $key
            }

            #[inline]
            fn width(self) -> u32 {
                <Self as Key>::BITS - self.leading_zeros()
            }

            #[inline]
            fn step(self, by: Self) -> Self {
                self.wrapping_add(by)
            }
        }
    )*};
}

keys! {
    u32, u32, |key| key, |word| word;
    u64, [u32; 2], |key| [(key >> 32) as u32, key as u32], |[upper, lower]: [u32; 2]| u64::from(upper) << 32 | u64::from(lower);
}
