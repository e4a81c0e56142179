//! Blobs as numbers.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::store::Location;
use crate::{DataError, limits};

/// Half the edge of the cube that holds the blobs' centres.
const EXTENT: f64 = 10.0;
/// Streams of random numbers: rows take theirs by number, the centres one that no row has.
const CENTRES: u64 = u64::MAX;

/// Gaussian blobs around centres drawn uniformly, and some uniform noise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Blobs {
    /// Number of rows, n.
    pub rows: u64,
    /// Number of features, d.
    pub dimension: usize,
    /// Number of blobs, k.
    pub clusters: usize,
    /// Share of the rows that belong to no blob, 0 to 1. Their label is -1, and they fill a cube a little larger than
    /// that of the centres.
    pub noise: f64,
    /// Standard deviation of a blob in each feature; the centres lie in -10..10.
    pub deviation: f64,
    /// Seed of all choices.
    pub seed: u64,
}

/// Rows made at once.
pub(super) struct Rows {
    pub(super) values: Vec<f32>,
    pub(super) labels: Vec<i32>,
}

impl Blobs {
    /// The centres, k x d row-major.
    #[must_use]
    pub fn centres(&self) -> Vec<f32> {
        let mut rng = self.rng(CENTRES);
        (0..self.clusters * self.dimension).map(|_| in_cube(&mut rng, EXTENT)).collect()
    }

    /// Some consecutive rows: values, row-major, and labels.
    #[must_use]
    pub fn rows(&self, first: u64, count: usize) -> (Vec<f32>, Vec<i32>) {
        let Rows { values, labels } = self.make(&self.centres(), first, count);
        (values, labels)
    }

    fn rng(&self, stream: u64) -> ChaCha8Rng {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(stream);
        rng
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
    pub(super) fn make(&self, centres: &[f32], first: u64, count: usize) -> Rows {
        // The share of noise as a threshold on 64 random bits.
        let noise = (self.noise * 2f64.powi(64)) as u128;
        let base = self.rng(0);
        let mut rows = Rows { values: Vec::with_capacity(count * self.dimension), labels: Vec::with_capacity(count) };
        for row in first..first + count as u64 {
            let mut rng = base.clone();
            rng.set_stream(row);
            let is_noise = u128::from(rng.next_u64()) < noise;
            // The high half of the product is uniform over the clusters but for a bias below 2^-32.
            let cluster = ((u128::from(rng.next_u64()) * self.clusters as u128) >> 64) as usize;
            if is_noise {
                rows.labels.push(-1);
                rows.values.extend((0..self.dimension).map(|_| in_cube(&mut rng, 1.2 * EXTENT)));
            } else {
                rows.labels.push(i32::try_from(cluster).unwrap_or(i32::MAX));
                let centre = &centres[cluster * self.dimension..(cluster + 1) * self.dimension];
                rows.values.extend(
                    centre.iter().map(|centre| (f64::from(*centre) + self.deviation * normal(&mut rng)) as f32),
                );
            }
        }
        rows
    }

    pub(super) fn check(&self, target: &Location, objects: u32) -> Result<(), DataError> {
        let refuse = |problem: String, remedy: &str| {
            Err(DataError::Settings { uri: target.uri.clone(), problem, remedy: remedy.to_owned() })
        };
        if self.rows == 0 || self.rows > i64::MAX as u64 / 2 {
            return refuse(format!("{} rows cannot be made", self.rows), "ask for at least one row");
        }
        if self.dimension == 0 || self.dimension > limits::DIMENSION {
            return refuse(
                format!("the dimension {} is out of bounds", self.dimension),
                "choose a dimension from 1 to 65536",
            );
        }
        if self.clusters == 0 || self.clusters.saturating_mul(self.dimension) > 1 << 28 {
            return refuse(
                format!("{} clusters cannot be made", self.clusters),
                "ask for at least one cluster, and clusters x dimension of at most 268435456",
            );
        }
        if !(0.0..=1.0).contains(&self.noise) {
            return refuse(format!("the share of noise {} is out of bounds", self.noise), "choose a share from 0 to 1");
        }
        if !(0.0..=1e6).contains(&self.deviation) {
            return refuse(
                format!("the deviation {} is out of bounds", self.deviation),
                "choose a deviation from 0 to 1000000",
            );
        }
        if objects == 0 || u64::from(objects) > self.rows || objects > 100_000 {
            return refuse(
                format!("{} rows cannot be spread over {objects} objects", self.rows),
                "ask for 1 to 100000 objects with at least one row each",
            );
        }
        Ok(())
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
fn in_cube(rng: &mut ChaCha8Rng, extent: f64) -> f32 {
    let unit = (rng.next_u64() >> 11) as f64 / 2f64.powi(53);
    ((2.0 * unit - 1.0) * extent) as f32
}

/// The sum of twelve uniform variates, less its mean.
fn normal(rng: &mut ChaCha8Rng) -> f64 {
    let mut sum = 0_u32;
    for _ in 0..3 {
        let bits = rng.next_u64();
        sum += [0, 16, 32, 48].iter().map(|shift| (bits >> shift) as u32 & 0xffff).sum::<u32>();
    }
    // Each part has the mean 65535/2 and very nearly the variance 65536^2/12.
    (f64::from(sum) - 6.0 * 65_535.0) / 65_536.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blobs() -> Blobs {
        Blobs { rows: 1000, dimension: 3, clusters: 4, noise: 0.1, deviation: 0.5, seed: 7 }
    }

    #[test]
    fn rows_depend_on_nothing_but_their_number() {
        let (all, labels) = blobs().rows(0, 1000);
        let (part, part_labels) = blobs().rows(400, 17);
        assert_eq!(part, all[1200..1251]);
        assert_eq!(part_labels, labels[400..417]);
        assert_ne!(Blobs { seed: 8, ..blobs() }.rows(0, 1000).0, all);
        // Fixed for ever: generated data and everything computed from it must not change with a release.
        assert_eq!(blobs().rows(0, 1), (FIRST.to_vec(), vec![FIRST_LABEL]));
    }

    const FIRST: [f32; 3] = [-3.534_320_6, 4.330_661_3, 1.299_415_8];
    const FIRST_LABEL: i32 = 0;

    #[test]
    fn blobs_have_the_shape_that_was_asked_for() {
        let blobs = Blobs { rows: 20_000, ..blobs() };
        let (values, labels) = blobs.rows(0, 20_000);
        let centres = blobs.centres();
        let noise = labels.iter().filter(|label| **label == -1).count();
        assert!((1800..2200).contains(&noise), "{noise}");
        for cluster in 0..4 {
            let members: Vec<&[f32]> = values
                .chunks(3)
                .zip(&labels)
                .filter(|(_, label)| **label == cluster as i32)
                .map(|(row, _)| row)
                .collect();
            assert!((4000..5000).contains(&members.len()), "{}", members.len());
            for feature in 0..3 {
                let centre = f64::from(centres[cluster * 3 + feature]);
                let differences = members.iter().map(|row| f64::from(row[feature]) - centre);
                let mean = differences.clone().sum::<f64>() / members.len() as f64;
                let deviation =
                    (differences.map(|difference| difference * difference).sum::<f64>() / members.len() as f64).sqrt();
                assert!(mean.abs() < 0.05 && (deviation - 0.5).abs() < 0.02, "{mean} {deviation}");
            }
        }
    }
}
