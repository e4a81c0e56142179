//! Rows to bytes, and what to do with the scores of a row.

use std::array::from_fn;

use super::super::widened::widened;
use super::{OFFSET, half};

/// Sums side by side.
const LANES: usize = 16;
/// Adding this to a number of magnitude below 2^21 rounds it to an integer and leaves that, with the offset, in the last byte.
const ROUND: f32 = (3u32 << 22) as f32 + OFFSET as f32;

/// What is needed of a segment to choose a step for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    /// The squares of the lengths of the two halves, in `f32`.
    pub(crate) squares: [f32; 2],
    /// The greatest magnitude; numbers that are none do not count.
    pub(crate) largest: f32,
}

widened! {
    /// Takes the middle from a segment of a row.
    pub(crate) fn centre(row: &[f32], middle: &[f32], out: &mut [f32]) -> Extent {
        let (mut squares, mut largest) = ([0.0f32; LANES], [0.0f32; LANES]);
        let (rows, rest_row) = row.as_chunks::<LANES>();
        let (middles, rest_middle) = middle.as_chunks::<LANES>();
        let (outs, rest_out) = out.as_chunks_mut::<LANES>();
        for ((row, middle), out) in rows.iter().zip(middles).zip(outs) {
            for lane in 0..LANES {
                let x = row[lane] - middle[lane];
                out[lane] = x;
                squares[lane] += x * x;
                let magnitude = x.abs();
                largest[lane] = if magnitude > largest[lane] { magnitude } else { largest[lane] };
            }
        }
        for (lane, ((&x, &middle), out)) in rest_row.iter().zip(rest_middle).zip(rest_out).enumerate() {
            let x = x - middle;
            *out = x;
            squares[lane] += x * x;
            largest[lane] = largest[lane].max(x.abs());
        }
        let mut extent = Extent { squares: [0.0; 2], largest: 0.0 };
        for (lane, (square, largest)) in squares.into_iter().zip(largest).enumerate() {
            extent.squares[half(lane)] += square;
            extent.largest = extent.largest.max(largest);
        }
        extent
    }
}

widened! {
    /// Numbers as bytes, in steps of `step`, with `per_step` its inverse. Gives the square of the length of what is lost.
    ///
    /// No number may exceed 127 steps in magnitude. There must be as many bytes as numbers.
    pub(crate) fn quantise(row: &[f32], step: f32, per_step: f32, out: &mut [u8]) -> f32 {
        let mut squares = [0.0f32; LANES];
        let (rows, rest_row) = row.as_chunks::<LANES>();
        let (outs, rest_out) = out.as_chunks_mut::<LANES>();
        for (row, out) in rows.iter().zip(outs) {
            let rounded: [f32; LANES] = from_fn(|lane| row[lane] * per_step + ROUND);
            *out = rounded.map(|x| x.to_bits() as u8);
            for lane in 0..LANES {
                let lost = row[lane] - (rounded[lane] - ROUND) * step;
                squares[lane] += lost * lost;
            }
        }
        for ((&x, out), square) in rest_row.iter().zip(rest_out).zip(&mut squares) {
            let rounded = x * per_step + ROUND;
            *out = rounded.to_bits() as u8;
            let lost = x - (rounded - ROUND) * step;
            *square += lost * lost;
        }
        squares.into_iter().sum()
    }
}
