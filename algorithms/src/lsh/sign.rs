//! Signed random projections, for angles.

use super::projections::Projections;
use super::{Family, Move, Moves};

/// Rows whose projections are held at once: a multiple of what the kernel takes together.
const BLOCK: usize = 60;

/// Signs of random projections (Charikar, "Similarity estimation techniques from rounding algorithms", STOC 2002).
///
/// A hash is the side of a random plane through the origin on which a row lies. Two rows at an angle of `a` share a hash
/// with probability `1 - a / pi`. A table's key holds one bit per hash, hash 0 in the lowest.
#[derive(Clone, Debug)]
pub struct SignFamily {
    bits: u32,
    projections: Projections,
}

impl SignFamily {
    /// `tables` tables of `bits` planes each, in `dimension` columns.
    ///
    /// # Panics
    /// If any is zero, or there are more than 32 bits.
    pub fn new(dimension: usize, tables: usize, bits: u32, seed: u64) -> Self {
        assert!((1..=32).contains(&bits), "{bits} bits per table: expected 1 to 32");
        Self { bits, projections: Projections::new(dimension, tables * bits as usize, seed, 1.0, |_| 0.0) }
    }

    /// Bits per table.
    pub fn bits(&self) -> u32 {
        self.bits
    }

    /// The probability that one hash is the same for two rows at this angle, in radians.
    pub fn collision(angle: f64) -> f64 {
        1.0 - angle / std::f64::consts::PI
    }
}

/// The bits of a table.
#[inline]
fn pack(dots: &[f32]) -> u32 {
    (0..).zip(dots).fold(0, |key, (bit, &dot)| key | u32::from(dot >= 0.0) << bit)
}

impl Family for SignFamily {
    type Key = u32;

    fn dimension(&self) -> usize {
        self.projections.dimension()
    }

    fn tables(&self) -> usize {
        self.projections.len() / self.bits as usize
    }

    fn keys(&self, rows: &[f32], keys: &mut [u32]) {
        let (d, tables, bits) = (self.dimension(), self.tables(), self.bits as usize);
        assert_eq!(rows.len() * tables, keys.len() * d, "rows and keys disagree");
        let mut dots = Vec::new();
        for (rows, keys) in rows.chunks(BLOCK * d).zip(keys.chunks_mut(BLOCK * tables)) {
            self.projections.dots(rows, &mut dots);
            for (dots, keys) in dots.chunks_exact(self.projections.stride()).zip(keys.chunks_exact_mut(tables)) {
                for (dots, key) in dots.chunks_exact(bits).zip(keys) {
                    *key = pack(dots);
                }
            }
        }
    }

    fn moves(&self, row: &[f32], tables: usize, moves: &mut Moves<u32>) {
        assert_eq!(row.len(), self.dimension(), "a row of another dimension");
        assert!(tables <= self.tables(), "{tables} tables asked for: there are {}", self.tables());
        self.projections.dots(row, &mut moves.dots);
        moves.home.clear();
        moves.steps.clear();
        for dots in moves.dots.chunks_exact(self.bits as usize).take(tables) {
            let key = pack(dots);
            moves.home.push(key);
            for (hash, &dot) in (0..).zip(dots) {
                let bit = 1u32 << hash;
                let delta = if key & bit == 0 { bit } else { bit.wrapping_neg() };
                moves.steps.push(Move { cost: f64::from(dot) * f64::from(dot), hash, delta });
            }
        }
        moves.sort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collisions_follow_the_angle() {
        let (tables, bits) = (1000, 32);
        let family = SignFamily::new(7, tables, bits, 11);
        let n = f64::from(bits) * tables as f64;
        for angle in [0.1f64, 0.5, 1.0, 2.0, 3.0] {
            let mut rows = vec![0.0f32; 14];
            (rows[2], rows[9], rows[12]) = (3.0, 2.0 * angle.cos() as f32, 2.0 * angle.sin() as f32);
            let mut keys = vec![0; 2 * tables];
            family.keys(&rows, &mut keys);
            let (a, b) = keys.split_at(tables);
            let same = n - a.iter().zip(b).map(|(a, b)| f64::from((a ^ b).count_ones())).sum::<f64>();
            let p = SignFamily::collision(angle);
            assert!((same / n - p).abs() < 5.0 * (p * (1.0 - p) / n).sqrt(), "{angle}: {} for {p}", same / n);
        }
    }

    #[test]
    fn moves_flip_one_bit_and_fewer_tables_are_a_prefix() {
        let (few, many) = (SignFamily::new(3, 2, 5, 1), SignFamily::new(3, 9, 5, 1));
        let row = [0.3, -0.7, 0.2];
        let (mut a, mut b) = (Moves::default(), Moves::default());
        few.moves(&row, 2, &mut a);
        many.moves(&row, 2, &mut b);
        assert_eq!((&a.home, &a.steps), (&b.home, &b.steps));
        let mut keys = [0; 9];
        many.keys(&row, &mut keys);
        assert_eq!(a.home, keys[..2]);
        for table in 0..2 {
            for step in a.of(table) {
                assert_eq!(a.home[table].wrapping_add(step.delta), a.home[table] ^ 1 << step.hash);
            }
        }
    }
}
