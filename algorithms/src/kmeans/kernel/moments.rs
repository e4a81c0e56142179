//! Sums of integers for means, variances and covariances.
//!
//! Everything here is exact: integers of few bits, multiplied and added without rounding.

use super::widened::{integer, quantize, widened};
use crate::fixed::power_of_two;

/// Bits of a quantised value in sums and squares: a square fits an `i64`, a value an `i32`.
pub(crate) const FINE_BITS: i32 = 30;
/// Bits of a quantised value in cross products: [`BLOCK`] products of two add up to at most 2^50.
pub(crate) const COARSE_BITS: i32 = 22;
/// Rows whose products are added in `f64` before they go to an `i64`.
const BLOCK: usize = 64;
/// Columns per tile of cross products.
const TILE: usize = 8;

/// Sums over the rows of one call: at most 2^32 of them.
pub(crate) struct Squares {
    /// Sum of each column.
    pub(crate) sums: Vec<i64>,
    /// Sum of the lower 32 bits of each square.
    low: Vec<u64>,
    /// Sum of the upper 32 bits of each square.
    high: Vec<u64>,
}

impl Squares {
    /// The sum of the squares of each column.
    pub(crate) fn squares(&self) -> impl Iterator<Item = i128> {
        self.low.iter().zip(&self.high).map(|(&low, &high)| (i128::from(high) << 32) + i128::from(low))
    }
}

widened! {
    /// Sums and squares of columns, each value taken as `round((value - middle) * factor)` of [`FINE_BITS`] bits.
    pub(crate) fn squares(rows: &[f32], middle: &[f64], factors: &[f64]) -> Squares {
        let d = middle.len();
        let limit = power_of_two(FINE_BITS);
        let mut all = Squares { sums: vec![0; d], low: vec![0; d], high: vec![0; d] };
        let Squares { sums, low, high } = &mut all;
        for row in rows.chunks_exact(d) {
            let columns = row.iter().zip(middle).zip(factors).zip(&mut *sums).zip(&mut *low).zip(&mut *high);
            for (((((&value, &middle), &factor), sum), low), high) in columns {
                let q = i64::from(quantize((f64::from(value) - middle) * factor, limit) as i32);
                let square = (q * q) as u64;
                *sum += q;
                *low += square & 0xffff_ffff;
                *high += square >> 32;
            }
        }
        all
    }
}

widened! {
    /// Adds products of columns, each value taken as `round((value - middle) * factor)` of [`COARSE_BITS`] bits.
    ///
    /// `sums` holds d numbers, `products` the upper triangle of d x d by rows.
    pub(crate) fn cross_products(
        rows: &[f32],
        middle: &[f64],
        factors: &[f64],
        sums: &mut [i128],
        products: &mut [i128],
    ) {
        /// Rows whose products fit an `i64`.
        const FLUSH: usize = 1 << 16;
        let d = middle.len();
        let padded = d.next_multiple_of(TILE);
        let limit = power_of_two(COARSE_BITS);
        let mut block = vec![0.0f64; BLOCK * padded];
        let mut totals = vec![0i64; padded * padded];
        for rows in rows.chunks(FLUSH * d) {
            totals.fill(0);
            for rows in rows.chunks(BLOCK * d) {
                for (row, wide) in rows.chunks_exact(d).zip(block.chunks_exact_mut(padded)) {
                    for (((&value, &middle), &factor), (wide, sum)) in
                        row.iter().zip(middle).zip(factors).zip(wide.iter_mut().zip(&mut *sums))
                    {
                        let q = quantize((f64::from(value) - middle) * factor, limit);
                        *wide = q as f64;
                        *sum += i128::from(q);
                    }
                }
                multiply(&block[..rows.len() / d * padded], padded, &mut totals);
            }
            let mut place = 0;
            for (i, line) in totals.chunks_exact(padded).take(d).enumerate() {
                for &total in &line[i..d] {
                    products[place] += i128::from(total);
                    place += 1;
                }
            }
        }
    }
}

/// Adds the upper triangle of `block^T * block` to `totals`, tile by tile.
#[inline(always)]
fn multiply(block: &[f64], padded: usize, totals: &mut [i64]) {
    /// Rows of a tile; with [`TILE`] columns the sums fill eight vector registers.
    const LINES: usize = 4;
    for i in (0..padded).step_by(LINES) {
        for j in (i / TILE * TILE..padded).step_by(TILE) {
            let mut tile = [[0.0f64; TILE]; LINES];
            for row in block.chunks_exact(padded) {
                let (Some(a), Some(b)) = (row[i..].first_chunk::<LINES>(), row[j..].first_chunk::<TILE>()) else {
                    break;
                };
                for (line, &a) in tile.iter_mut().zip(a) {
                    for (sum, &b) in line.iter_mut().zip(b) {
                        *sum += a * b;
                    }
                }
            }
            for (r, line) in tile.iter().enumerate() {
                for (total, &sum) in totals[(i + r) * padded + j..][..TILE].iter_mut().zip(line) {
                    *total += integer(sum);
                }
            }
        }
    }
}
