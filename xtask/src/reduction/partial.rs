//! How large the messages of an iteration are.

/// Significant bits of a value in fixed point (`algorithms/src/fixed.rs`).
const VALUE_BITS: f64 = 40.0;
/// By how many bits a cluster's sum in a column is typically smaller than if all its rows had the column's largest magnitude.
const HEADROOM_BITS: f64 = 3.0;
/// Bits in a byte of a variable-length integer.
const VARINT_BITS: f64 = 7.0;

/// An iteration's problem: what a worker holds and what it sends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Problem {
    pub(crate) clusters: u64,
    pub(crate) dimension: u64,
    /// Rows of one worker.
    pub(crate) rows: u64,
}

impl Problem {
    /// Numbers in a partial: sums and counts.
    pub(crate) fn values(self) -> f64 {
        (self.clusters * self.dimension + self.clusters) as f64
    }

    /// Bytes of a step for the workers: centroids as `f32`, and per column a mean and a scale for workers that are new.
    pub(crate) fn step_bytes(self) -> f64 {
        (4 * self.clusters * self.dimension + 7 * self.dimension) as f64
    }

    /// Estimated bytes of a worker's partial: sums and counts as variable-length integers of seven bits a byte, sums with a bit for
    /// the sign. Integers spread over some sizes, so half a byte is rounded up on average.
    pub(crate) fn partial_bytes(self) -> f64 {
        let rows_per_cluster = (self.rows as f64 / self.clusters as f64).max(1.0).log2();
        let bytes = |bits: f64| (bits / VARINT_BITS + 0.5).clamp(1.0, 10.0);
        let sums = (self.clusters * self.dimension) as f64 * bytes(VALUE_BITS - HEADROOM_BITS + rows_per_cluster + 1.0);
        let counts = self.clusters as f64 * bytes(rows_per_cluster);
        sums + counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_by_hand() {
        let problem = Problem { clusters: 4, dimension: 2, rows: 64 };
        assert_eq!(problem.values(), 12.0);
        assert_eq!(problem.step_bytes(), 46.0);
        // 16 rows per cluster: sums of 40 - 3 + 4 + 1 = 42 bits, 6.5 bytes; counts of 4 bits, 4/7 + 1/2 bytes.
        let expected = 8.0 * 6.5 + 4.0 * (4.0 / 7.0 + 0.5);
        assert!((problem.partial_bytes() - expected).abs() < 1e-9);
    }

    /// Encoded partials of a million rows (`partial_bytes` in the lines of `coterie-every-row`).
    #[test]
    fn the_estimate_is_near_what_is_sent() {
        for (clusters, dimension, measured) in [(64, 16, 8201.0), (256, 128, 240_437.0), (1024, 128, 923_260.0)] {
            let estimate = Problem { clusters, dimension, rows: 1_000_000 }.partial_bytes();
            assert!((estimate / measured - 1.0).abs() < 0.05, "{estimate} for {measured}");
        }
    }
}
