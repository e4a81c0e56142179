//! Mean, variance and covariance of columns, independent of the order of the rows.
//!
//! Values are rounded to integers relative to the middle of their column's range and the integers' sums, squares and
//! products are added exactly. A value keeps 30 bits of half its column's range for means and variances, 22 bits for
//! covariances: about what an `f32` holds of the largest values.

use serde::{Deserialize, Serialize};

use crate::fixed::{exponent_above, power_of_two};
use crate::kmeans::kernel::{self, COARSE_BITS, FINE_BITS};

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
    /// Empty moments for rows whose column `j` lies within `min[j]..=max[j]`.
    ///
    /// A value outside the range is taken as less than the range's width away from it. Any number of rows is summed without
    /// overflow, so `_rows`, the number of rows to come, does not matter at present.
    pub fn new(min: &[f32], max: &[f32], _rows: u64, covariance: bool) -> Self {
        assert_eq!(min.len(), max.len(), "bounds of different dimensions");
        let bounds = || min.iter().zip(max).map(|(&a, &b)| (f64::from(a), f64::from(b)));
        let d = min.len();
        Self {
            middle: bounds().map(|(a, b)| (a + b) / 2.0).collect(),
            exponents: bounds().map(|(a, b)| -exponent_above((b - a) / 2.0) as i16).collect(),
            count: 0,
            sums: vec![0; d],
            squares: vec![0; d],
            cross: covariance.then(|| Cross { sums: vec![0; d], products: vec![0; d * (d + 1) / 2] }),
        }
    }

    /// Number of columns.
    pub fn dimension(&self) -> usize {
        self.middle.len()
    }

    /// Takes in rows (row-major).
    ///
    /// # Panics
    /// If `rows` is not a whole number of rows.
    pub fn add_rows(&mut self, rows: &[f32]) {
        let d = self.dimension();
        assert_eq!(rows.len() % d, 0, "rows of another dimension");
        let factors = |bits: i32| self.exponents.iter().map(|&e| power_of_two(bits + i32::from(e))).collect::<Vec<_>>();
        let (fine, coarse) = (factors(FINE_BITS), factors(COARSE_BITS));
        // 2^32 rows of one column are the most that one call of the kernel may sum.
        for rows in rows.chunks(d << 20) {
            self.count += (rows.len() / d) as u64;
            let more = kernel::squares(rows, &self.middle, &fine);
            for (sum, &more) in self.sums.iter_mut().zip(&more.sums) {
                *sum += i128::from(more);
            }
            for (square, more) in self.squares.iter_mut().zip(more.squares()) {
                *square += more;
            }
            if let Some(Cross { sums, products }) = &mut self.cross {
                kernel::cross_products(rows, &self.middle, &coarse, sums, products);
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bounds(rows: &[f32], d: usize) -> (Vec<f32>, Vec<f32>) {
        let column = |j: usize| rows.iter().skip(j).step_by(d).copied();
        let min = (0..d).map(|j| column(j).fold(f32::INFINITY, f32::min)).collect();
        let max = (0..d).map(|j| column(j).fold(f32::NEG_INFINITY, f32::max)).collect();
        (min, max)
    }

    fn of(rows: &[f32], d: usize, covariance: bool) -> Moments {
        let (min, max) = bounds(rows, d);
        let mut moments = Moments::new(&min, &max, (rows.len() / d) as u64, covariance);
        moments.add_rows(rows);
        moments
    }

    /// Means and covariances in two passes, in the obvious way.
    fn naive(rows: &[f32], d: usize) -> (Vec<f64>, Vec<f64>) {
        let n = (rows.len() / d) as f64;
        let mut mean = vec![0.0; d];
        for row in rows.chunks_exact(d) {
            for (mean, &v) in mean.iter_mut().zip(row) {
                *mean += f64::from(v) / n;
            }
        }
        let mut covariance = vec![0.0; d * d];
        for row in rows.chunks_exact(d) {
            for i in 0..d {
                for j in 0..d {
                    covariance[i * d + j] += (f64::from(row[i]) - mean[i]) * (f64::from(row[j]) - mean[j]) / n;
                }
            }
        }
        (mean, covariance)
    }

    /// Column j has middle 10 * j and half range 2^j.
    fn rows(n: usize, d: usize) -> Vec<f32> {
        let stream = crate::random::Stream::new(5, crate::random::Purpose::Generate, 0);
        (0..n * d)
            .map(|i| {
                let j = i % d;
                (10.0 * j as f64 + (2.0 * stream.uniform(i as u64) - 1.0) * 2f64.powi(j as i32)) as f32
            })
            .collect()
    }

    #[test]
    fn agree_with_two_passes() {
        for (n, d) in [(1, 1), (2, 3), (63, 8), (64, 9), (65, 7), (1000, 17), (300, 24)] {
            let rows = rows(n, d);
            let moments = of(&rows, d, true);
            let (mean, covariance) = naive(&rows, d);
            let variance = moments.variance();
            let ours = moments.covariance().unwrap();
            for i in 0..d {
                let range = 2f64.powi(i as i32);
                assert!((moments.mean()[i] - mean[i]).abs() <= 1e-9 * range);
                assert!((variance[i] - covariance[i * d + i]).abs() <= 1e-8 * range * range);
                for j in 0..d {
                    let scale = range * 2f64.powi(j as i32);
                    assert!((ours[i * d + j] - covariance[i * d + j]).abs() <= 1e-6 * scale, "{n} {d} {i} {j}");
                }
            }
        }
    }

    #[test]
    fn whole_numbers_have_exact_moments() {
        let rows = [1.0, 10.0, 2.0, 20.0, 3.0, 30.0, 6.0, 60.0];
        let moments = of(&rows, 2, true);
        assert_eq!(moments.mean(), [3.0, 30.0]);
        assert_eq!(moments.variance(), [3.5, 350.0]);
        assert_eq!(moments.covariance().unwrap(), [3.5, 35.0, 35.0, 350.0]);
    }

    #[test]
    fn a_constant_column_has_no_variance() {
        let moments = of(&[1e30, 0.1, 1e30, 0.1, 1e30, 0.1], 2, true);
        assert_eq!(moments.variance(), [0.0, 0.0]);
        assert_eq!(moments.mean(), [f64::from(1e30f32), f64::from(0.1f32)]);
        assert_eq!(moments.covariance().unwrap(), [0.0; 4]);
    }

    #[test]
    fn no_rows() {
        let moments = Moments::new(&[0.0], &[1.0], 0, true);
        assert_eq!((moments.count(), moments.mean(), moments.variance()), (0, vec![0.0], vec![0.0]));
        assert_eq!(Moments::new(&[0.0], &[1.0], 0, false).covariance(), None);
    }

    #[test]
    fn values_out_of_bounds_do_not_overflow() {
        let mut moments = Moments::new(&[-1.0, 0.0], &[1.0, 0.0], 3, true);
        moments.add_rows(&[f32::MAX, f32::MIN, f32::MIN, f32::MAX, f32::INFINITY, 5.0]);
        assert!(moments.mean().iter().all(|m| m.abs() <= 2.0));
    }

    proptest! {
        #[test]
        fn splits_and_order_do_not_matter(
            rows in prop::collection::vec(-100.0f32..100.0, 3..400), cut: prop::sample::Index, turn: prop::sample::Index,
        ) {
            let d = 3;
            let n = rows.len() / d;
            let rows = &rows[..n * d];
            let (min, max) = bounds(rows, d);
            let empty = Moments::new(&min, &max, n as u64, true);
            let whole = of(rows, d, true);
            let mut turned = rows.to_vec();
            turned.rotate_left(turn.index(n) * d);
            let (left, right) = turned.split_at(cut.index(n) * d);
            let (mut a, mut b) = (empty.clone(), empty);
            a.add_rows(left);
            b.add_rows(right);
            b.merge(&a);
            prop_assert_eq!(&b, &whole);
            let bytes = postcard::to_allocvec(&b).unwrap();
            prop_assert_eq!(postcard::from_bytes::<Moments>(&bytes).unwrap(), whole);
        }
    }
}
