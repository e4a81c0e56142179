//! Products of one row with many, all in small integers: exact, so that every machine gives the same.

/// Codes that are multiplied at once: the length of a row of codes is a multiple of it.
pub(crate) const CODE_WIDTH: usize = 16;

/// `query . code` for each row of codes.
///
/// # Panics
/// If the query is not a whole number of [`CODE_WIDTH`], or there are not `dots.len()` rows of its length.
pub(crate) fn code_dots(query: &[i16], codes: &[i8], dots: &mut [i32]) {
    assert_eq!(query.len() % CODE_WIDTH, 0, "a query without its padding");
    assert_eq!(codes.len(), dots.len() * query.len(), "codes and results disagree");
    #[cfg(target_arch = "x86_64")]
    if super::widened::is_wide() {
        // SAFETY: the machine has AVX2, as was just asked.
        return unsafe { wide(query, codes, dots) };
    }
    plain(query, codes, dots);
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::widened::both;
    use super::*;

    proptest! {
        #[test]
        fn wide_is_plain(
            (query, codes) in (1usize..6, 0usize..11).prop_flat_map(|(columns, rows)| {
                let d = CODE_WIDTH * columns;
                (prop::collection::vec(any::<i16>(), d), prop::collection::vec(any::<i8>(), d * rows))
            })
        ) {
            let dots = || {
                let mut dots = vec![0; codes.len() / query.len()];
                code_dots(&query, &codes, &mut dots);
                dots
            };
            let [plain, wide] = both(dots);
            prop_assert_eq!(&plain, &wide);
            for (row, dot) in codes.chunks_exact(query.len()).zip(plain) {
                let sum: i64 = row.iter().zip(&query).map(|(&a, &b)| i64::from(a) * i64::from(b)).sum();
                prop_assert_eq!(i64::from(dot), sum);
            }
        }
    }
}
