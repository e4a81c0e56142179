//! Random choices that do not depend on who makes them.
//!
//! A generator that is advanced row by row gives another answer when the rows are split differently. Here every choice is
//! a pure function of *(seed, purpose, round, row)*: any worker, thread or restart that looks at a row draws the same
//! number for it. The functions are fixed for ever by test vectors, because models record their seed.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// What a random number is for. The numeric ids are part of the definition of a model and never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u64)]
pub enum Purpose {
    /// Choosing a uniform sample of the rows.
    Sample = 1,
    /// Choosing the first centroids.
    Seeding = 2,
    /// Deciding whether a row joins the candidates in a round of k-means||.
    Draw = 3,
    /// Reducing the candidates of k-means|| to k centroids.
    Candidates = 4,
    /// Choosing the rows on which a clustering is judged.
    Evaluation = 5,
    /// Making up data.
    Generate = 6,
    /// Choosing the functions of locality-sensitive hashing.
    Hashing = 7,
}

/// The golden ratio times 2^64, odd: the step of splitmix64's sequence.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// The finaliser of splitmix64: a bijection in which every input bit moves every output bit.
const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The numbers of one *(seed, purpose, round)*, addressed by row.
///
/// Holding a stream saves the mixing of the three shared parts when many rows are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream(u64);

impl Stream {
    /// The stream of a seed, purpose and round.
    pub const fn new(seed: u64, purpose: Purpose, round: u64) -> Self {
        let seeded = mix(seed.wrapping_add(STEP));
        let purposed = mix((seeded ^ purpose as u64).wrapping_add(STEP));
        Self(mix((purposed ^ round).wrapping_add(STEP)))
    }

    /// 64 well mixed bits for `row`. Two rows of one stream never share a hash.
    pub const fn hash(self, row: u64) -> u64 {
        mix(self.0.wrapping_add(row.wrapping_add(1).wrapping_mul(STEP)))
    }

    /// A number for `row`, uniform in `[0, 1)` with a resolution of 2^-53.
    pub const fn uniform(self, row: u64) -> f64 {
        unit(self.hash(row))
    }
}

/// The upper 53 bits as a number in `[0, 1)`.
pub(crate) const fn unit(bits: u64) -> f64 {
    (bits >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
}

/// 64 well mixed bits for a row. Two rows never share a hash under the same seed, purpose and round.
pub const fn hash(seed: u64, purpose: Purpose, round: u64, row: u64) -> u64 {
    Stream::new(seed, purpose, round).hash(row)
}

/// A number for a row, uniform in `[0, 1)`.
pub const fn uniform(seed: u64, purpose: Purpose, round: u64, row: u64) -> f64 {
    Stream::new(seed, purpose, round).uniform(row)
}

/// A sequential generator for choices that a single process makes.
pub fn rng(seed: u64, purpose: Purpose, round: u64) -> ChaCha8Rng {
    let stream = Stream::new(seed, purpose, round);
    let mut key = [0u8; 32];
    for (word, bytes) in (0u64..).zip(key.chunks_exact_mut(8)) {
        bytes.copy_from_slice(&stream.hash(word).to_le_bytes());
    }
    ChaCha8Rng::from_seed(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::Rng;

    /// These values are written into models by their seeds: they may never change.
    #[test]
    fn test_vectors() {
        assert_eq!(hash(0, Purpose::Sample, 0, 0), 0xd1c0_2706_8798_4b37);
        assert_eq!(hash(42, Purpose::Sample, 0, 1), 0x3899_8fd8_3908_5b30);
        assert_eq!(hash(42, Purpose::Seeding, 3, u64::MAX), 0xf7f2_0159_ee56_eac3);
        assert_eq!(hash(u64::MAX, Purpose::Draw, 7, 1_000_000), 0xb1d9_9f70_0701_69fa);
        assert_eq!(hash(1, Purpose::Candidates, 0, 0), 0x3977_2aee_ff8e_924d);
        assert_eq!(hash(1, Purpose::Evaluation, 0, 0), 0xac00_e8f0_2f8c_2ce4);
        assert_eq!(hash(1, Purpose::Generate, 0, 0), 0x7f03_85d2_9e92_2734);
        assert_eq!(hash(1, Purpose::Hashing, 0, 0), 0x0b77_1e28_40ce_d8db);
        assert_eq!(uniform(42, Purpose::Draw, 0, 0), 0.085_755_717_754_494_98);
        assert_eq!(rng(42, Purpose::Seeding, 0).next_u64(), 0x5379_958c_e1ae_f84f);
    }

    #[test]
    fn purposes_rounds_seeds_and_rows_differ() {
        let mut all = std::collections::BTreeSet::new();
        for seed in 0..4 {
            for purpose in [Purpose::Sample, Purpose::Seeding, Purpose::Draw] {
                for round in 0..4 {
                    for row in 0..64 {
                        assert!(all.insert(hash(seed, purpose, round, row)));
                    }
                }
            }
        }
    }

    #[test]
    fn uniform_is_uniform() {
        let mut bins = [0u32; 16];
        let mut bits = [0u32; 64];
        let n = 64_000;
        for row in 0..n {
            bins[(uniform(7, Purpose::Draw, 1, row) * 16.0) as usize] += 1;
            let h = hash(7, Purpose::Draw, 1, row);
            for (bit, count) in bits.iter_mut().enumerate() {
                *count += u32::from(h >> bit & 1 == 1);
            }
        }
        // Five standard deviations: sqrt(64000 / 16 * 15 / 16) = 61 and sqrt(64000 / 4) = 126.
        assert!(bins.iter().all(|&b| b.abs_diff(4000) < 310), "{bins:?}");
        assert!(bits.iter().all(|&b| b.abs_diff(32_000) < 640), "{bits:?}");
    }
}
