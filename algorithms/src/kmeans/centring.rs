//! Rows about their mean, where the assignment step is most precise: squared lengths do not hide the differences between rows.

use rayon::prelude::*;

/// Rows per unit of parallel work. The mean depends on it, by rounding, but not on the number of threads.
const CHUNK: usize = 4096;

/// The mean of each column of rows (row-major); zeros without rows. O(n d).
///
/// # Panics
/// If `dimension` is 0.
pub fn means(rows: &[f32], dimension: usize) -> Vec<f64> {
    let add = |mut sums: Vec<f64>, row: &[f32]| {
        sums.iter_mut().zip(row).for_each(|(sum, &value)| *sum += f64::from(value));
        sums
    };
    let of_chunk = |rows: &[f32]| rows.chunks_exact(dimension).fold(vec![0.0; dimension], add);
    let parts: Vec<Vec<f64>> = rows.par_chunks(CHUNK * dimension).map(of_chunk).collect();
    let mut means = vec![0.0; dimension];
    for part in &parts {
        means.iter_mut().zip(part).for_each(|(mean, sum)| *mean += sum);
    }
    let count = (rows.len() / dimension).max(1) as f64;
    means.iter_mut().for_each(|mean| *mean /= count);
    means
}

/// Takes the means of the columns from every row.
pub fn subtract(rows: &mut [f32], means: &[f64]) {
    each(rows, means, |value, mean| value - mean);
}

/// Gives the means of the columns back to every row.
pub fn add(rows: &mut [f32], means: &[f64]) {
    each(rows, means, |value, mean| value + mean);
}

fn each(rows: &mut [f32], means: &[f64], shift: impl Fn(f64, f64) -> f64 + Sync) {
    rows.par_chunks_mut(CHUNK * means.len().max(1)).for_each(|rows| {
        for row in rows.chunks_exact_mut(means.len()) {
            row.iter_mut().zip(means).for_each(|(value, &mean)| *value = shift(f64::from(*value), mean) as f32);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_are_those_of_the_columns() {
        let rows: Vec<f32> = (0..3 * 10_000).map(|i| if i % 3 == 0 { 1.5 } else { (i / 3) as f32 }).collect();
        assert_eq!(means(&rows, 3), [1.5, 4999.5, 4999.5]);
        assert_eq!(means(&[], 2), [0.0, 0.0]);
    }

    #[test]
    fn rows_come_back() {
        let rows: Vec<f32> = (0..2 * 5000).map(|i| (i % 17) as f32).collect();
        let means = means(&rows, 2);
        let mut centred = rows.clone();
        subtract(&mut centred, &means);
        assert_eq!(centred[5], (f64::from(rows[5]) - means[1]) as f32);
        assert!(super::means(&centred, 2).iter().all(|mean| mean.abs() < 1e-6));
        add(&mut centred, &means);
        assert!(centred.iter().zip(&rows).all(|(a, b)| (a - b).abs() < 1e-5));
    }
}
