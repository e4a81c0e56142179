//! What names a bucket.

use std::fmt::Debug;
use std::hash::Hash;

/// A packed name of a bucket: `u32` or `u64`.
pub trait Key: Copy + Ord + Hash + Debug + Default + Send + Sync + sealed::Sealed + 'static {
    /// Number of bits.
    const BITS: u32;

    /// The bits from bit `shift` on.
    fn upper(self, shift: u32) -> usize;

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
    ($($key:ty),*) => {$(
        impl Key for $key {
            const BITS: u32 = <$key>::BITS;

            #[inline]
            fn upper(self, shift: u32) -> usize {
                (self >> shift) as usize
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

keys!(u32, u64);
