//! Loops over the 16-bit lower bounds of rows. See [`crate::kmeans::bounds`] for what they mean.

use std::array::from_fn;

use super::widened::{integer, widened};
use crate::kmeans::bounds::{LANES, Margin, Movement};

/// The largest lower bound, in units.
const MOST_UNITS: u16 = u16::MAX - 1;

/// More than `units`, by less than two; [`u16::MAX`] where that is too many or not a number, which no lower bound reaches.
#[inline(always)]
pub(crate) fn units_above(units: f64) -> u16 {
    let units = if units < f64::from(MOST_UNITS) { units } else { f64::from(MOST_UNITS) };
    (integer(units) + 1) as u16
}

/// Rows taken together through each of two loops.
const TOGETHER: usize = 256;

widened! {
    /// Lets upper and lower bounds follow the centroids' movement; appends the positions of rows that they leave open.
    ///
    /// # Panics
    /// If a label is out of range.
    pub(crate) fn drift(
        movement: &Movement,
        margin: &Margin,
        labels: &[u32],
        upper: &mut [f32],
        lower: &mut [u16],
        open: &mut Vec<u32>,
    ) {
        let drift = movement.groups.as_chunks::<LANES>().0;
        let stride = movement.groups.len();
        let first = open.len();
        open.resize(first + labels.len(), 0);
        let mut end = first;
        let (mut radius, mut reach) = ([0; TOGETHER], [0; TOGETHER]);
        let mut position = 0;
        let blocks = labels.chunks(TOGETHER).zip(upper.chunks_mut(TOGETHER)).zip(lower.chunks_mut(TOGETHER * stride));
        for ((labels, upper), lower) in blocks {
            let units = radius.iter_mut().zip(&mut reach);
            for ((&label, upper), (radius, reach)) in labels.iter().zip(upper).zip(units) {
                *upper = movement.upper(label, *upper);
                (*radius, *reach) = margin.units(label, *upper);
            }
            let rows = labels.iter().zip(lower.chunks_exact_mut(stride)).zip(radius.iter().zip(&reach));
            for ((&label, lower), (&radius, &reach)) in rows {
                let mut missing = [0; LANES];
                let lower = lower.as_chunks_mut::<LANES>().0;
                for ((lower, drift), near) in lower.iter_mut().zip(drift).zip(movement.near(label)) {
                    // One simple operation at a time, so that each becomes a vector instruction.
                    let moved: [u16; LANES] = from_fn(|lane| lower[lane].saturating_sub(drift[lane]));
                    let others: [u16; LANES] = from_fn(|lane| near[lane].saturating_sub(radius));
                    *lower = from_fn(|lane| moved[lane].max(others[lane]));
                    let short: [u16; LANES] = from_fn(|lane| reach.saturating_sub(lower[lane]));
                    missing = from_fn(|lane| missing[lane] | short[lane]);
                }
                // Written in any case and kept if the row is open: there is no branch to guess.
                open[end] = position;
                end += usize::from(missing != [0; LANES]);
                position += 1;
            }
        }
        open.truncate(end);
    }
}

widened! {
    /// The lower bounds of a row, in units, from the best score of each group.
    ///
    /// The square of the distance to a centroid of score `s` is at least `base - 2 s`. Groups whose score is not a number
    /// keep their bound.
    pub(crate) fn excluded(base: f64, scores: &[f32], per_unit: f64, lower: &mut [u16]) {
        for (lower, &score) in lower.iter_mut().zip(scores) {
            let square = base - 2.0 * f64::from(score);
            // Zero also where it is not a number.
            let square = if square > 0.0 { square } else { 0.0 };
            let units = square.sqrt() * per_unit;
            let units = if units < f64::from(MOST_UNITS) { units } else { f64::from(MOST_UNITS) };
            // The nearest integer to half a unit less is at most as many.
            let units = integer(units - 0.5) as u16;
            *lower = if score.is_nan() { *lower } else { units };
        }
    }
}
