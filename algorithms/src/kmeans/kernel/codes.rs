//! Rows in small integers, and the products of one with many: exact, so that every machine gives the same.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{__m256i, __m512i};

use super::widened::{ROUND, widened};
use crate::lanes::{self, LANES, fold};

/// Codes that are multiplied at once: the length of a row of codes is a multiple of it.
pub(crate) const CODE_WIDTH: usize = 16;

widened! {
    /// The largest magnitude of a row less a centroid, in `f32`: off by at most 2^-24 of itself.
    pub(crate) fn largest_offset(row: &[f32], centroid: &[f32]) -> f32 {
        let mut most = 0;
        for (&x, &c) in row.iter().zip(centroid) {
            // Without the sign, bits are in the order of the numbers that they stand for.
            let bits = (x - c).abs().to_bits();
            most = if bits > most { bits } else { most };
        }
        f32::from_bits(most)
    }
}

widened! {
    /// Writes a row less a centroid in whole steps, of at most `most` (below 2^15) in magnitude; gives the squared length of that, in steps, and of what it leaves
    /// out.
    pub(crate) fn offset_code(row: &[f32], centroid: &[f32], step: f64, most: f64, code: &mut [i16]) -> [f64; 2] {
        let inverse = 1.0 / step;
        let (mut squares, mut rest) = ([0.0f64; LANES], [0.0f64; LANES]);
        for ((row, centroid), code) in row.chunks(LANES).zip(centroid.chunks(LANES)).zip(code.chunks_mut(LANES)) {
            let sums = squares.iter_mut().zip(&mut rest);
            for (((&x, &c), code), (square, rest)) in row.iter().zip(centroid).zip(code).zip(sums) {
                let offset = f64::from(x) - f64::from(c);
                let steps = offset * inverse;
                let steps = if steps > most { most } else { steps };
                let steps = if steps < -most { -most } else { steps };
                let rounded = steps + ROUND;
                // The integer is in the low bits.
                *code = rounded.to_bits() as i16;
                let steps = rounded - ROUND;
                *square += steps * steps;
                let left = offset - step * steps;
                *rest += left * left;
            }
        }
        [fold(squares), fold(rest)]
    }
}

widened! {
    /// `direction . code`.
    pub(crate) fn code_product(direction: &[f64], code: &[i16]) -> f64 {
        lanes::dot_code(direction, code)
    }
}

/// `query . code` for each row of codes.
///
/// # Panics
/// If the query is not a whole number of [`CODE_WIDTH`], or there are not `dots.len()` rows of its length.
pub(crate) fn code_dots(query: &[i16], codes: &[i8], dots: &mut [i32]) {
    assert_eq!(query.len() % CODE_WIDTH, 0, "a query without its padding");
    assert_eq!(codes.len(), dots.len() * query.len(), "codes and results disagree");
    #[cfg(target_arch = "x86_64")]
    if super::widened::is_wide() {
        // SAFETY: the machine has what each of them needs, as was just asked.
        return unsafe { if is_widest() { widest(query, codes, dots) } else { wide(query, codes, dots) } };
    }
    plain(query, codes, dots);
}

/// Whether the machine multiplies and adds small integers in one instruction, 32 columns at a time.
#[cfg(target_arch = "x86_64")]
fn is_widest() -> bool {
    is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512vnni")
}

fn plain(query: &[i16], codes: &[i8], dots: &mut [i32]) {
    for (code, dot) in codes.chunks_exact(query.len()).zip(dots) {
        *dot = query.iter().zip(code).fold(0i32, |sum, (&a, &b)| sum.wrapping_add(i32::from(a) * i32::from(b)));
    }
}

/// Four rows at a time, sixteen columns of each.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn wide(query: &[i16], codes: &[i8], dots: &mut [i32]) {
    use std::arch::x86_64::{
        _mm_add_epi32, _mm_loadu_si128, _mm_storeu_si128, _mm256_add_epi32, _mm256_castsi256_si128,
        _mm256_cvtepi8_epi16, _mm256_extracti128_si256, _mm256_hadd_epi32, _mm256_loadu_si256, _mm256_madd_epi16,
        _mm256_setzero_si256,
    };
    const ROWS: usize = 4;
    let d = query.len();
    let (columns, _) = query.as_chunks::<CODE_WIDTH>();
    let (whole, rest) = dots.as_chunks_mut::<ROWS>();
    let (tiles, remainder) = codes.split_at(whole.len() * ROWS * d);
    for (tile, dots) in tiles.chunks_exact(ROWS * d).zip(whole) {
        let rows: [&[[i8; CODE_WIDTH]]; ROWS] =
            std::array::from_fn(|r| &tile[r * d..][..d].as_chunks().0[..columns.len()]);
        let mut sums = [_mm256_setzero_si256(); ROWS];
        for (j, column) in columns.iter().enumerate() {
            // SAFETY: sixteen numbers of 16 bits fill the 32 bytes that are read.
            let column = unsafe { _mm256_loadu_si256(column.as_ptr().cast()) };
            for (row, sum) in rows.iter().zip(&mut sums) {
                // SAFETY: sixteen numbers of 8 bits fill the 16 bytes that are read.
                let code = unsafe { _mm_loadu_si128(row[j].as_ptr().cast()) };
                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(column, _mm256_cvtepi8_epi16(code)));
            }
        }
        let pairs = _mm256_hadd_epi32(_mm256_hadd_epi32(sums[0], sums[1]), _mm256_hadd_epi32(sums[2], sums[3]));
        let sum = _mm_add_epi32(_mm256_castsi256_si128(pairs), _mm256_extracti128_si256::<1>(pairs));
        // SAFETY: four numbers of 32 bits fill the 16 bytes that are written.
        unsafe { _mm_storeu_si128(dots.as_mut_ptr().cast(), sum) };
    }
    plain(query, remainder, rest);
}

/// Asks for codes that are needed soon.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn prefetch(codes: &[i8]) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    for line in codes.chunks(64) {
        // SAFETY: any address may be prefetched.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr()) };
    }
}

/// Adds the products of small integers, in pairs, to sums.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512bw,avx512vnni")]
#[inline]
fn add_products(sums: __m512i, a: __m512i, b: __m512i) -> __m512i {
    use std::arch::x86_64::{_mm512_add_epi32, _mm512_dpwssd_epi32, _mm512_madd_epi16};
    if cfg!(miri) {
        // Miri knows everything else in this file, but not this instruction.
        return _mm512_add_epi32(sums, _mm512_madd_epi16(a, b));
    }
    _mm512_dpwssd_epi32(sums, a, b)
}

/// The same for half as many.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512vl,avx512vnni")]
#[inline]
fn add_half(sums: __m256i, a: __m256i, b: __m256i) -> __m256i {
    use std::arch::x86_64::{_mm256_add_epi32, _mm256_dpwssd_epi32, _mm256_madd_epi16};
    if cfg!(miri) {
        return _mm256_add_epi32(sums, _mm256_madd_epi16(a, b));
    }
    _mm256_dpwssd_epi32(sums, a, b)
}

/// Four rows at a time, 32 columns of each, and the last sixteen where they are left over.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512bw,avx512vl,avx512vnni")]
fn widest(query: &[i16], codes: &[i8], dots: &mut [i32]) {
    use std::arch::x86_64::{
        _mm_add_epi32, _mm_loadu_si128, _mm_storeu_si128, _mm256_add_epi32, _mm256_castsi256_si128,
        _mm256_cvtepi8_epi16, _mm256_extracti128_si256, _mm256_hadd_epi32, _mm256_loadu_si256, _mm512_castsi512_si256,
        _mm512_cvtepi8_epi16, _mm512_extracti64x4_epi64, _mm512_loadu_si512, _mm512_setzero_si512,
    };
    const ROWS: usize = 4;
    const COLUMNS: usize = 2 * CODE_WIDTH;
    /// Codes are asked for so many tiles ahead.
    const AHEAD_TILES: usize = 4;
    let d = query.len();
    let (columns, last) = query.as_chunks::<COLUMNS>();
    let (whole, rest) = dots.as_chunks_mut::<ROWS>();
    let (tiles, remainder) = codes.split_at(whole.len() * ROWS * d);
    for (number, (tile, dots)) in tiles.chunks_exact(ROWS * d).zip(whole).enumerate() {
        let rows: [(&[[i8; COLUMNS]], &[i8]); ROWS] = std::array::from_fn(|r| {
            let (row, last) = tile[r * d..][..d].as_chunks();
            (&row[..columns.len()], last)
        });
        // The machine's own reading ahead ends at each page, which is but a few rows long.
        if let Some(later) = codes.get((AHEAD_TILES + number) * ROWS * d..) {
            prefetch(&later[..later.len().min(ROWS * d)]);
        }
        let mut sums = [_mm512_setzero_si512(); ROWS];
        for (j, column) in columns.iter().enumerate() {
            // SAFETY: 32 numbers of 16 bits fill the 64 bytes that are read.
            let column: __m512i = unsafe { _mm512_loadu_si512(column.as_ptr().cast()) };
            for ((row, _), sum) in rows.iter().zip(&mut sums) {
                // SAFETY: 32 numbers of 8 bits fill the 32 bytes that are read.
                let code: __m256i = unsafe { _mm256_loadu_si256(row[j].as_ptr().cast()) };
                *sum = add_products(*sum, column, _mm512_cvtepi8_epi16(code));
            }
        }
        let mut halves =
            sums.map(|sum| _mm256_add_epi32(_mm512_castsi512_si256(sum), _mm512_extracti64x4_epi64::<1>(sum)));
        if let Some(column) = last.first_chunk::<CODE_WIDTH>() {
            // SAFETY: sixteen numbers of 16 bits fill the 32 bytes that are read.
            let column = unsafe { _mm256_loadu_si256(column.as_ptr().cast()) };
            for ((_, row), sum) in rows.iter().zip(&mut halves) {
                debug_assert_eq!(row.len(), CODE_WIDTH);
                // SAFETY: a row is as long as the query, so these are sixteen numbers of 8 bits too.
                let code = unsafe { _mm_loadu_si128(row.as_ptr().cast()) };
                *sum = add_half(*sum, column, _mm256_cvtepi8_epi16(code));
            }
        }
        let pairs = _mm256_hadd_epi32(_mm256_hadd_epi32(halves[0], halves[1]), _mm256_hadd_epi32(halves[2], halves[3]));
        let sum = _mm_add_epi32(_mm256_castsi256_si128(pairs), _mm256_extracti128_si256::<1>(pairs));
        // SAFETY: four numbers of 32 bits fill the 16 bytes that are written.
        unsafe { _mm_storeu_si128(dots.as_mut_ptr().cast(), sum) };
    }
    plain(query, remainder, rest);
}

widened! {
    /// `(base + excess) - twice * (scale * dot)` for each row of codes, in `f32`.
    pub(crate) fn code_bounds(
        base: f32,
        twice: f32,
        excesses: &[f32],
        scales: &[f32],
        dots: &[i32],
        bounds: &mut [f32],
    ) {
        for (((&excess, &scale), &dot), bound) in excesses.iter().zip(scales).zip(dots).zip(bounds) {
            *bound = (base + excess) - twice * (scale * dot as f32);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::widened::both;
    #[cfg(target_arch = "x86_64")]
    use super::super::widened::is_wide;
    use super::*;

    proptest! {
        #[test]
        #[cfg_attr(miri, ignore = "slow")]
        fn codes_are_rounded_offsets(pairs in prop::collection::vec((-9.0f32..9.0, -9.0f32..9.0), 1..60), most in 1u8..128) {
            let (row, centroid): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
            let offsets: Vec<f64> = row.iter().zip(&centroid).map(|(&x, &c)| f64::from(x) - f64::from(c)).collect();
            let largest = offsets.iter().fold(0.0, |most: f64, offset| most.max(offset.abs()));
            prop_assume!(largest > 0.0);
            let step = largest / f64::from(most);
            for found in both(|| {
                let mut code = vec![7; row.len()];
                let sums = offset_code(&row, &centroid, step, f64::from(most), &mut code);
                (largest_offset(&row, &centroid), sums, code)
            }) {
                let (found_largest, [squares, rest], code) = found;
                prop_assert!((f64::from(found_largest) - largest).abs() <= largest / f64::from(1 << 24));
                let naive: Vec<f64> = offsets.iter().map(|offset| (offset / step).round_ties_even()).collect();
                let left: f64 = offsets.iter().zip(&code).map(|(o, &c)| (o - step * f64::from(c)).powi(2)).sum();
                prop_assert_eq!(squares, code.iter().map(|&c| f64::from(c).powi(2)).sum::<f64>());
                prop_assert!((rest - left).abs() <= 1e-12 * left);
                // Halves may fall to either side, as the step's inverse is rounded.
                let near = |(naive, &code): (&f64, &i16)| (naive - f64::from(code)).abs() <= 1.0 && code.unsigned_abs() <= most.into();
                prop_assert!(naive.iter().zip(&code).all(near));
                prop_assert!(rest <= (0.5000001 * step).powi(2) * code.len() as f64);
            }
        }

        #[test]
        #[cfg_attr(miri, ignore = "slow")]
        fn wide_is_plain(
            (query, codes) in (1usize..6, 0usize..11).prop_flat_map(|(columns, rows)| {
                let d = CODE_WIDTH * columns;
                (prop::collection::vec(any::<i16>(), d), prop::collection::vec(any::<i8>(), d * rows))
            })
        ) {
            check_dots(&query, &codes);
        }
    }

    /// All paths against sums of whole integers.
    fn check_dots(query: &[i16], codes: &[i8]) {
        let expected = |row: &[i8]| row.iter().zip(query).map(|(&a, &b)| i64::from(a) * i64::from(b)).sum::<i64>();
        let expected: Vec<i64> = codes.chunks_exact(query.len()).map(expected).collect();
        let check = |dots: Vec<i32>| assert_eq!(dots.into_iter().map(i64::from).collect::<Vec<_>>(), expected);
        both(|| {
            let mut dots = vec![0; expected.len()];
            code_dots(query, codes, &mut dots);
            check(dots);
        });
        #[cfg(target_arch = "x86_64")]
        if is_wide() {
            let mut dots = vec![0; expected.len()];
            // SAFETY: the machine has AVX2, as was just asked.
            unsafe { wide(query, codes, &mut dots) };
            check(dots);
        }
    }

    /// Whole tiles and rows that are left over, whole pairs of columns and one that is left over.
    #[test]
    fn every_remainder_of_codes() {
        for columns in 1..4 {
            for rows in [1, 4, 7, 8] {
                let d = CODE_WIDTH * columns;
                let query: Vec<i16> = (0..d).map(|j| (j * 4051 % 65521) as i16).collect();
                let codes: Vec<i8> = (0..d * rows).map(|i| (i * 37) as i8).collect();
                check_dots(&query, &codes);
            }
        }
    }
}
