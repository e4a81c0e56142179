//! Projections onto cells of a line, for Euclidean distances.

use super::projections::Projections;
use super::{Family, Move, Moves};
use crate::random::{Purpose, hash};

/// Rows whose projections are held at once: a multiple of what the kernel takes together.
const BLOCK: usize = 60;

/// Added to a number below `SMALL`, it leaves no bits for a fraction: the sum's last bits are the nearest whole number. 1.5 x 2^23.
const SHIFT: f32 = 12_582_912.0;
/// 2^22.
const SMALL: f32 = 4_194_304.0;

/// Rounds of the seed, far from the numbers of projections.
const OFFSETS: u64 = u64::MAX;
const MULTIPLIERS: u64 = u64::MAX - 1;

/// Cells of random projections (Datar, Immorlica, Indyk and Mirrokni, "Locality-sensitive hashing scheme based on p-stable
/// distributions", SoCG 2004), for p = 2.
///
/// A hash is `floor((a . x + b) / width)` with a normal vector `a` and a uniform offset `b`. A table's key is the sum of
/// its cells times random odd numbers, modulo 2^64: two different tuples of cells share a key with probability about 2^-63
/// or, where cells differ by multiples of 2^i, 2^i times that.
#[derive(Clone, Debug)]
pub struct StableFamily {
    hashes: usize,
    width: f64,
    projections: Projections,
    /// One odd number per projection.
    multipliers: Vec<u64>,
}

impl StableFamily {
    /// `tables` tables of `hashes` hashes each, in `dimension` columns; cells are `width` wide, in units of the data.
    ///
    /// # Panics
    /// If any is zero, there are more than 32 hashes, or the width is not finite and positive.
    pub fn new(dimension: usize, tables: usize, hashes: usize, width: f64, seed: u64) -> Self {
        assert!((1..=32).contains(&hashes), "{hashes} hashes per table: expected 1 to 32");
        assert!(width.is_finite() && width > 0.0, "cells of width {width}");
        let offset = |v| crate::random::uniform(seed, Purpose::Hashing, OFFSETS, v) as f32;
        let projections = Projections::new(dimension, tables * hashes, seed, 1.0 / width, offset);
        let multipliers =
            (0..projections.len() as u64).map(|v| hash(seed, Purpose::Hashing, MULTIPLIERS, v) | 1).collect();
        Self { hashes, width, projections, multipliers }
    }

    /// Hashes per table.
    pub fn hashes(&self) -> usize {
        self.hashes
    }

    /// Width of a cell, in units of the data.
    pub fn width(&self) -> f64 {
        self.width
    }

    /// The probability that one hash is the same for two rows at this distance, with cells of this width.
    ///
    /// The integral of the paper's section 3.2, by Simpson's rule to about 1e-9.
    pub fn collision(distance: f64, width: f64) -> f64 {
        if distance == 0.0 {
            return 1.0;
        }
        // Beyond nine standard deviations nothing is left.
        let end = (width / distance).min(9.0);
        let steps = 200;
        let term = |i: u32| {
            let z = end * f64::from(i) / f64::from(steps);
            (-0.5 * z * z).exp() * (1.0 - z * distance / width)
        };
        let sum: f64 = (0..=steps)
            .map(|i| if i == 0 || i == steps { 1.0 } else if i % 2 == 1 { 4.0 } else { 2.0 } * term(i))
            .sum();
        (2.0 / std::f64::consts::PI).sqrt() * sum * end / f64::from(3 * steps)
    }
}

/// The cell of a product: the whole number below it.
#[inline]
fn cell(dot: f32) -> i32 {
    // The conversion goes towards zero, and is no call of the mathematical library as `floor` is on many machines.
    let whole = dot as i32;
    whole.saturating_sub(i32::from(whole as f32 > dot))
}

/// The cells of products, as [`cell`] says; where all are small, with operations that take many numbers at a time on every machine.
fn cells(dots: &[f32], out: &mut Vec<i32>) {
    out.clear();
    if dots.iter().fold(true, |small, dot| small & (dot.abs() < SMALL)) {
        out.extend(dots.iter().map(|&dot| {
            let shifted = dot + SHIFT;
            let nearest = (shifted.to_bits() as i32).wrapping_sub(SHIFT.to_bits() as i32);
            nearest - i32::from(shifted - SHIFT > dot)
        }));
    } else {
        out.extend(dots.iter().map(|&dot| cell(dot)));
    }
}

/// The key of a table's cells.
#[inline]
fn pack(cells: impl Iterator<Item = i32>, multipliers: &[u64]) -> u64 {
    cells.zip(multipliers).fold(0, |key, (cell, &m)| key.wrapping_add((i64::from(cell) as u64).wrapping_mul(m)))
}

impl Family for StableFamily {
    type Key = u64;

    fn dimension(&self) -> usize {
        self.projections.dimension()
    }

    fn tables(&self) -> usize {
        self.projections.len() / self.hashes
    }

    fn keys(&self, rows: &[f32], keys: &mut [u64]) {
        let (d, tables) = (self.dimension(), self.tables());
        assert_eq!(rows.len() * tables, keys.len() * d, "rows and keys disagree");
        let (mut dots, mut whole) = (Vec::new(), Vec::new());
        for (rows, keys) in rows.chunks(BLOCK * d).zip(keys.chunks_mut(BLOCK * tables)) {
            self.projections.dots(rows, &mut dots);
            cells(&dots, &mut whole);
            for (cells, keys) in whole.chunks_exact(self.projections.stride()).zip(keys.chunks_exact_mut(tables)) {
                let tables = cells.chunks_exact(self.hashes).zip(self.multipliers.chunks_exact(self.hashes));
                for ((cells, multipliers), key) in tables.zip(keys) {
                    *key = pack(cells.iter().copied(), multipliers);
                }
            }
        }
    }

    fn moves(&self, row: &[f32], tables: usize, moves: &mut Moves<u64>) {
        assert_eq!(row.len(), self.dimension(), "a row of another dimension");
        assert!(tables <= self.tables(), "{tables} tables asked for: there are {}", self.tables());
        self.projections.dots(row, &mut moves.dots);
        moves.home.clear();
        moves.steps.clear();
        let all = moves.dots.chunks_exact(self.hashes).zip(self.multipliers.chunks_exact(self.hashes));
        for (dots, multipliers) in all.take(tables) {
            moves.home.push(pack(dots.iter().map(|&dot| cell(dot)), multipliers));
            for (hash, (&dot, &multiplier)) in (0..).zip(dots.iter().zip(multipliers)) {
                let below = f64::from(dot) - f64::from(dot.floor());
                let above = 1.0 - below;
                moves.steps.push(Move { cost: below * below, hash, delta: multiplier.wrapping_neg() });
                moves.steps.push(Move { cost: above * above, hash, delta: multiplier });
            }
        }
        moves.sort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collisions_follow_the_distance() {
        let tables = 20_000;
        for (distance, width) in [(0.5f32, 4.0), (1.0, 2.0), (2.0, 2.0), (5.0, 1.0)] {
            let family = StableFamily::new(5, tables, 1, width, 3);
            let rows = [1.0, 2.0, -1.0, 0.0, 4.0, 1.0, 2.0, -1.0, distance, 4.0];
            let mut keys = vec![0; 2 * tables];
            family.keys(&rows, &mut keys);
            let (a, b) = keys.split_at(tables);
            let share = a.iter().zip(b).filter(|(a, b)| a == b).count() as f64 / tables as f64;
            let p = StableFamily::collision(f64::from(distance), width);
            assert!((share - p).abs() < 5.0 * (p * (1.0 - p) / tables as f64).sqrt(), "{share} for {p}");
        }
    }

    /// Values from the closed form, with the normal distribution function from a table.
    #[test]
    fn probability() {
        let closed = |ratio: f64, tail: f64| {
            1.0 - 2.0 * tail
                - 2.0 / ((2.0 * std::f64::consts::PI).sqrt() * ratio) * (1.0 - (-0.5 * ratio * ratio).exp())
        };
        assert!((StableFamily::collision(1.0, 1.0) - closed(1.0, 0.158_655_253_931)).abs() < 1e-8);
        assert!((StableFamily::collision(1.0, 2.0) - closed(2.0, 0.022_750_131_948)).abs() < 1e-8);
        assert!((StableFamily::collision(2.0, 6.0) - closed(3.0, 0.001_349_898_032)).abs() < 1e-8);
        assert_eq!(StableFamily::collision(0.0, 1.0), 1.0);
    }

    #[test]
    fn many_cells_are_those_of_each_product() {
        let check = |dots: &[f32]| {
            let mut found = vec![7];
            cells(dots, &mut found);
            assert_eq!(found, dots.iter().map(|&dot| cell(dot)).collect::<Vec<_>>());
        };
        let stream = crate::random::Stream::new(6, Purpose::Generate, 0);
        for scale in [1.0, 100.0, 2.0 * f64::from(SMALL), 1e12] {
            let dots: Vec<f32> = (0..5000).map(|i| ((stream.uniform(i) - 0.5) * scale) as f32).collect();
            check(&dots);
            check(&dots.iter().map(|dot| dot.round()).collect::<Vec<_>>());
            check(&dots.iter().map(|dot| dot.round() + 0.5).collect::<Vec<_>>());
        }
        let edge = SMALL.next_down();
        check(&[0.0, -0.0, f32::MIN_POSITIVE, -f32::MIN_POSITIVE, -1e-30, edge, -edge, 1.0 - f32::EPSILON]);
        for odd in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 2e9, -3e9, SMALL, -SMALL] {
            check(&[1.5, odd, -1.5]);
        }
    }

    #[test]
    fn moves_go_to_the_neighbouring_cells() {
        let family = StableFamily::new(2, 3, 4, 1.5, 9);
        let row = [10.0, -3.0];
        let (mut moves, mut keys) = (Moves::default(), [0; 3]);
        family.moves(&row, 3, &mut moves);
        family.keys(&row, &mut keys);
        assert_eq!(moves.home, keys);
        assert_eq!(moves.per_table(), 8);
        for table in 0..3 {
            let dots = &moves.dots[table * 4..][..4];
            for step in moves.of(table) {
                let multipliers = &family.multipliers[table * 4..][..4];
                let mut there = dots.to_vec();
                let up = step.delta == multipliers[step.hash as usize];
                there[step.hash as usize] += if up { 1.0 } else { -1.0 };
                assert_eq!(moves.home[table].wrapping_add(step.delta), pack(there.into_iter().map(cell), multipliers));
            }
        }
    }
}
