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
    /// The groups that the bounds of a row leave open, a bit each. `near` is the line of its centroid in the table of
    /// distances, `radius` at least its distance to that, and `reach` what a bound must reach.
    pub(crate) fn open_groups(lower: &mut [u16], near: &[[u16; LANES]], radius: u16, reach: u16) -> u64 {
        let mut open = 0;
        for (at, (lower, near)) in lower.as_chunks_mut::<LANES>().0.iter_mut().zip(near).enumerate() {
            let others: [u16; LANES] = from_fn(|lane| near[lane].saturating_sub(radius));
            *lower = from_fn(|lane| lower[lane].max(others[lane]));
            let short: [u16; LANES] = from_fn(|lane| reach.saturating_sub(lower[lane]));
            if short != [0; LANES] {
                for (lane, &short) in short.iter().enumerate() {
                    open |= u64::from(short != 0) << (at * LANES + lane);
                }
            }
        }
        open
    }
}

widened! {
    /// The lower bounds of rows, in units, from the best score of each group.
    ///
    /// Row `i` is at `positions[i]` in `lower`, and the square of its distance to a centroid of score `s` is at least
    /// `bases[i] - 2 s`. Groups whose score is not a number keep their bound.
    ///
    /// # Panics
    /// If a position is out of range.
    pub(crate) fn exclude(
        positions: &[u32],
        bases: &[f64],
        scores: &[f32],
        stride: usize,
        per_unit: f64,
        lower: &mut [u16],
    ) {
        for ((&position, &base), scores) in positions.iter().zip(bases).zip(scores.chunks_exact(stride)) {
            let lower = &mut lower[position as usize * stride..][..stride];
            for (lower, scores) in lower.as_chunks_mut::<LANES>().0.iter_mut().zip(scores.as_chunks::<LANES>().0) {
                let squares: [f64; LANES] = from_fn(|lane| base - 2.0 * f64::from(scores[lane]));
                // Zero also where it is not a number.
                let squares = squares.map(|square| if square > 0.0 { square } else { 0.0 });
                let units = squares.map(|square| square.sqrt() * per_unit);
                let units = units.map(|units| if units < f64::from(MOST_UNITS) { units } else { f64::from(MOST_UNITS) });
                // The nearest integer to half a unit less is at most as many.
                let bounds = units.map(|units| integer(units - 0.5) as u16);
                *lower = from_fn(|lane| if scores[lane].is_nan() { lower[lane] } else { bounds[lane] });
            }
        }
    }
}
