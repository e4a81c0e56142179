//! Mean, variance and covariance of columns, independent of the order of the rows.
//!
//! Values are rounded to integers relative to the middle of their column's range and the integers' sums, squares and
//! products are added exactly. Rounding is finer than any later use of the moments: 31 bits of half a range for means and
//! variances, 24 bits for covariances.

use serde::{Deserialize, Serialize};

use crate::fixed::{exponent_above, power_of_two};

/// Bits of a quantised value in sums and squares.
const FINE_BITS: i32 = 31;
/// Bits of a quantised value in cross products: two of them and 32 rows fit the 53 bits of an `f64`.
const COARSE_BITS: i32 = 24;

/// Exact sums over rows from which [`fit`](super::fit) derives a transform.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Moments {
    /// Middle of each column's range.
    middle: Vec<f64>,
    /// `2^exponent` holds a column's half range below 1.
    exponents: Vec<i16>,
    count: u64,
    sums: Vec<i128>,
    squares: Vec<i128>,
    cross: Option<Cross>,
}

/// Sums of the coarser integers and of their products.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Cross {
    sums: Vec<i128>,
    /// Upper triangle by rows: (0,0), (0,1) ... (0,d-1), (1,1) ...
    products: Vec<i128>,
}

impl Moments {
    /// Empty moments for `rows` rows whose column `j` lies within `min[j]..=max[j]`.
    ///
    /// Values outside the range are taken as if they lay on the nearer bound of twice the range.
    pub fn new(min: &[f32], max: &[f32], _rows: u64, covariance: bool) -> Self {
        let middle: Vec<f64> = min.iter().zip(max).map(|(&a, &b)| (f64::from(a) + f64::from(b)) / 2.0).collect();
        let exponents =
            min.iter().zip(max).map(|(&a, &b)| -exponent_above((f64::from(b) - f64::from(a)) / 2.0) as i16).collect();
        let d = middle.len();
        let cross = covariance.then(|| Cross { sums: vec![0; d], products: vec![0; d * (d + 1) / 2] });
        Self { middle, exponents, count: 0, sums: vec![0; d], squares: vec![0; d], cross }
    }

    /// Number of columns.
    pub fn dimension(&self) -> usize {
        self.middle.len()
    }

    /// Takes in rows (row-major).
    pub fn add_rows(&mut self, rows: &[f32]) {
        let d = self.dimension();
        assert_eq!(rows.len() % d, 0, "rows of another dimension");
        self.count += (rows.len() / d) as u64;
        let quantize = |bits: i32, j: usize, value: f32| {
            let limit = power_of_two(bits);
            ((f64::from(value) - self.middle[j]) * power_of_two(bits + i32::from(self.exponents[j])))
                .clamp(-limit, limit)
                .round_ties_even() as i64
        };
        for row in rows.chunks_exact(d) {
            for (j, &value) in row.iter().enumerate() {
                let q = i128::from(quantize(FINE_BITS, j, value));
                self.sums[j] += q;
                self.squares[j] += q * q;
            }
            if let Some(cross) = &mut self.cross {
                let coarse: Vec<i64> = row.iter().enumerate().map(|(j, &v)| quantize(COARSE_BITS, j, v)).collect();
                let mut place = 0;
                for i in 0..d {
                    cross.sums[i] += i128::from(coarse[i]);
                    for &other in &coarse[i..] {
                        cross.products[place] += i128::from(coarse[i] * other);
                        place += 1;
                    }
                }
            }
        }
    }

    /// Adds the rows that `other` saw.
    ///
    /// # Panics
    /// If `other` was made for other ranges.
    pub fn merge(&mut self, other: &Self) {
        assert!(
            self.middle == other.middle
                && self.exponents == other.exponents
                && self.cross.is_some() == other.cross.is_some(),
            "moments of another layout"
        );
        self.count += other.count;
        add(&mut self.sums, &other.sums);
        add(&mut self.squares, &other.squares);
        if let (Some(ours), Some(theirs)) = (&mut self.cross, &other.cross) {
            add(&mut ours.sums, &theirs.sums);
            add(&mut ours.products, &theirs.products);
        }
    }

    /// Number of rows.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Mean of each column; 0 if there are no rows.
    pub fn mean(&self) -> Vec<f64> {
        let rows = self.count.max(1) as f64;
        (0..self.dimension())
            .map(|j| {
                let step = power_of_two(-FINE_BITS - i32::from(self.exponents[j]));
                if self.count == 0 { 0.0 } else { self.middle[j] + self.sums[j] as f64 / rows * step }
            })
            .collect()
    }

    /// Variance of each column over all rows (divided by n).
    pub fn variance(&self) -> Vec<f64> {
        (0..self.dimension())
            .map(|j| {
                let step = power_of_two(-FINE_BITS - i32::from(self.exponents[j]));
                self.central(self.squares[j], self.sums[j], self.sums[j]) * step * step
            })
            .collect()
    }

    /// Covariances (divided by n) as a full row-major d x d matrix, if they were asked for.
    pub fn covariance(&self) -> Option<Vec<f64>> {
        let cross = self.cross.as_ref()?;
        let d = self.dimension();
        let mut matrix = vec![0.0; d * d];
        let mut place = 0;
        for i in 0..d {
            for j in i..d {
                let step = power_of_two(-2 * COARSE_BITS - i32::from(self.exponents[i]) - i32::from(self.exponents[j]));
                let value = self.central(cross.products[place], cross.sums[i], cross.sums[j]) * step;
                matrix[i * d + j] = value;
                matrix[j * d + i] = value;
                place += 1;
            }
        }
        Some(matrix)
    }

    /// `(n * product - a * b) / n^2`: the numerator is exact while it fits, so nothing cancels.
    fn central(&self, product: i128, a: i128, b: i128) -> f64 {
        if self.count == 0 {
            return 0.0;
        }
        let n = self.count as f64;
        let exact =
            i128::from(self.count).checked_mul(product).zip(a.checked_mul(b)).and_then(|(x, y)| x.checked_sub(y));
        match exact {
            Some(numerator) => numerator as f64 / n / n,
            None => (product as f64 - a as f64 / n * b as f64) / n,
        }
    }
}

fn add(sums: &mut [i128], others: &[i128]) {
    for (sum, other) in sums.iter_mut().zip(others) {
        *sum += other;
    }
}
