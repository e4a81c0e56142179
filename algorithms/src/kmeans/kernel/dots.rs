//! Dot products of rows with many vectors: a small matrix product.

use super::panels::WIDTH;
use super::widened::widened;

/// Rows whose sums stay in registers together.
const ROWS: usize = 4;

/// Rows that go through all panels before the next rows do, so that they stay in the second-level cache.
const CHUNK: usize = 64;

/// The sums of `$n` rows with one panel, each a chain over the columns in order.
macro_rules! tile {
    ($n:literal, $panel:expr, $start:expr, $rows:expr, $d:expr, $out:expr, $stride:expr) => {{
        let mut sums = [$start; $n];
        for (j, column) in $panel.iter().enumerate() {
            for (i, sums) in sums.iter_mut().enumerate() {
                let x = $rows[i * $d + j];
                for (sum, &value) in sums.iter_mut().zip(column) {
                    *sum += x * value;
                }
            }
        }
        for (i, sums) in sums.iter().enumerate() {
            $out[i * $stride..][..WIDTH].copy_from_slice(sums);
        }
    }};
}

widened! {
    /// `start + vectors * row` for each row.
    ///
    /// Vectors are packed sixteen to a panel: `start` has one array per panel, `vectors` one per panel and column. `out`
    /// gets as many numbers per row as there are places in the panels.
    ///
    /// # Panics
    /// If the shapes do not agree.
    pub(crate) fn dots(start: &[[f32; WIDTH]], vectors: &[[f32; WIDTH]], rows: &[f32], out: &mut [f32]) {
        let d = vectors.len() / start.len();
        let stride = start.len() * WIDTH;
        assert_eq!(rows.len() / d, out.len() / stride, "rows and results disagree");
        for (rows, out) in rows.chunks(CHUNK * d).zip(out.chunks_mut(CHUNK * stride)) {
            for (p, (panel, &start)) in vectors.chunks_exact(d).zip(start).enumerate() {
                let out = &mut out[p * WIDTH..];
                let count = rows.len() / d;
                let whole = count / ROWS * ROWS;
                for first in (0..whole).step_by(ROWS) {
                    tile!(4, panel, start, &rows[first * d..][..ROWS * d], d, &mut out[first * stride..], stride);
                }
                for first in whole..count {
                    tile!(1, panel, start, &rows[first * d..][..d], d, &mut out[first * stride..], stride);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::kmeans::kernel::widened::both;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn same_as_one_chain_per_vector(d in 1usize..40, n in 0usize..150, panels in 1usize..4, salt in any::<u64>()) {
            let stream = crate::random::Stream::new(salt, crate::random::Purpose::Generate, 0);
            let number = |i: usize| (stream.uniform(i as u64) - 0.5) as f32;
            let lanes = |from: usize, len: usize| -> Vec<[f32; WIDTH]> {
                (0..len).map(|i| std::array::from_fn(|l| number(from + i * WIDTH + l))).collect()
            };
            let (start, vectors) = (lanes(0, panels), lanes(1000, panels * d));
            let rows: Vec<f32> = (0..n * d).map(|i| number(1_000_000 + i)).collect();
            let naive: Vec<u32> = rows
                .chunks_exact(d)
                .flat_map(|row| (0..panels * WIDTH).map(|v| (row, v / WIDTH, v % WIDTH)).collect::<Vec<_>>())
                .map(|(row, p, l)| {
                    let mut sum = start[p][l];
                    for (j, x) in row.iter().enumerate() {
                        sum += x * vectors[p * d + j][l];
                    }
                    sum.to_bits()
                })
                .collect();
            for bits in both(|| {
                let mut out = vec![0.0; n * panels * WIDTH];
                dots(&start, &vectors, &rows, &mut out);
                out.iter().map(|v| v.to_bits()).collect::<Vec<_>>()
            }) {
                prop_assert_eq!(&bits, &naive);
            }
        }
    }
}
