//! Rows of zeros and ones, a bit per column: pairs of sets at 64 columns a step.

/// The sets that rows stand for.
pub(super) struct Bits {
    words: usize,
    bits: Vec<u64>,
    sizes: Vec<u32>,
}

impl Bits {
    /// Takes rows (row-major); what is not 0 is a member.
    pub(super) fn new(rows: &[f32], dimension: usize) -> Self {
        let words = dimension.div_ceil(64);
        let pack = |columns: &[f32]| (0..).zip(columns).fold(0, |word, (bit, &v)| word | u64::from(v != 0.0) << bit);
        let bits: Vec<u64> = rows.chunks_exact(dimension.max(1)).flat_map(|row| row.chunks(64).map(pack)).collect();
        let sizes = bits.chunks_exact(words.max(1)).map(|row| row.iter().map(|word| word.count_ones()).sum()).collect();
        Self { words, bits, sizes }
    }

    fn row(&self, i: usize) -> &[u64] {
        &self.bits[i * self.words..][..self.words]
    }

    /// Leaves in `sums` the sum of the Jaccard distances of row `i` to the rows of each label, added in their order.
    pub(super) fn distance_sums(&self, i: usize, labels: &[u32], sums: &mut [f64]) {
        sums.fill(0.0);
        let (row, size) = (self.row(i), self.sizes[i]);
        for (j, &label) in labels.iter().enumerate() {
            let both: u32 = row.iter().zip(self.row(j)).map(|(a, b)| (a & b).count_ones()).sum();
            let either = size + self.sizes[j] - both;
            if either > 0 {
                sums[label as usize] += f64::from(either - both) / f64::from(either);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jaccard::distance;
    use crate::random::{Purpose, Stream};

    #[test]
    fn sums_are_those_of_all_distances() {
        let (n, k) = (40, 3);
        for d in [1, 63, 64, 65, 200] {
            let stream = Stream::new(d as u64, Purpose::Generate, 0);
            let member = |i: usize| f32::from(u8::from(stream.hash(i as u64).is_multiple_of(3) && i / d != 7));
            let rows: Vec<f32> = (0..n * d).map(member).collect();
            let labels: Vec<u32> = (0..n as u32).map(|i| i % k).collect();
            let bits = Bits::new(&rows, d);
            let mut sums = vec![0.0; k as usize];
            for (i, row) in rows.chunks_exact(d).enumerate() {
                bits.distance_sums(i, &labels, &mut sums);
                for label in 0..k {
                    let of = rows.chunks_exact(d).zip(&labels).filter(|(_, of)| **of == label);
                    let expected: f64 = of.map(|(other, _)| distance(row, other)).sum();
                    assert_eq!(sums[label as usize], expected, "row {i} of {d} columns");
                }
            }
        }
    }
}
