//! Points to which one of a few drawn points may be nearer than what they have.

use crate::kmeans::bounds::rounding;
use crate::kmeans::kernel::{self, Panels, Top, Trials};
use crate::kmeans::squared_distance;

/// Drawn points, at most sixteen, packed for distances and for scores.
///
/// Scores take a third of the time that distances take, but lose all digits where points coincide. So scores tell which
/// points are out of question, by more than their rounding, and only the others get distances.
pub(super) struct Drawn {
    pub(super) trials: Trials,
    panels: Panels,
    /// At least the length of the longest.
    longest: f64,
    /// Relative error of a score.
    rounding: f64,
}

impl Drawn {
    pub(super) fn new(dimension: usize, rows: &[f32]) -> Self {
        let zero = vec![0.0; dimension];
        let longest = rows.chunks_exact(dimension).map(|row| squared_distance(row, &zero)).fold(0.0, f64::max).sqrt();
        Self {
            trials: Trials::new(dimension, rows.chunks_exact(dimension)),
            panels: Panels::new(dimension, rows),
            longest: longest * (1.0 + 1e-9),
            rounding: rounding(dimension),
        }
    }

    /// Keeps the listed points for which a drawn one may be nearer than `limit`, a squared distance as computed. `squares` are the
    /// squared lengths of all points.
    pub(super) fn keep(
        &self,
        points: &[f32],
        squares: &[f64],
        limit: impl Fn(usize) -> f32,
        listed: &mut Vec<u32>,
        tops: &mut Vec<Top>,
    ) {
        tops.resize(listed.len(), Top::NONE);
        kernel::tops(&self.panels, 0, points, listed, tops);
        let mut tops = tops.iter();
        listed.retain(|&i| {
            let best = tops.next().map_or(f32::INFINITY, |top| top.best);
            let (square, limit) = (squares[i as usize], f64::from(limit(i as usize)));
            // As in the margin of the bounds; the distance as computed has as many roundings as the score.
            let error = self.rounding * self.longest * (2.0 * square.sqrt() + self.longest) + 1e-36;
            let out = square * (1.0 - 1e-9) - 2.0 * f64::from(best) - error > limit * (1.0 + 2.0 * self.rounding);
            !(out && best > f32::NEG_INFINITY)
        });
    }
}

/// The squared length of each point.
pub(super) fn squares(points: &[f32], dimension: usize) -> Vec<f64> {
    let zero = vec![0.0; dimension];
    points.chunks_exact(dimension).map(|point| squared_distance(point, &zero)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::random::{Purpose, Stream};

    proptest! {
        /// Whoever is left out has no smaller distance, as computed.
        #[test]
        #[cfg_attr(miri, ignore = "slow")]
        fn nobody_near_is_left_out(
            d in 1usize..80, n in 1usize..60, m in 1usize..=16, seed: u64, offset in prop_oneof![Just(0.0f32), -100.0f32..100.0],
            size in prop_oneof![Just(1.0f32), Just(1e-20), Just(1e-38), Just(1e15)], close in 0.0f32..2.0,
        ) {
            let stream = Stream::new(seed, Purpose::Generate, 0);
            let points: Vec<f32> = (0..n * d).map(|i| (stream.uniform(i as u64) as f32 - 0.5 + offset) * size).collect();
            let rows: Vec<f32> = (0..m * d).map(|i| points[i % points.len()] * if i % 3 == 0 { close } else { 1.0 }).collect();
            let drawn = Drawn::new(d, &rows);
            let mut distances = Vec::new();
            let all: Vec<u32> = (0..n as u32).collect();
            kernel::trial_distances(&drawn.trials, &points, &all, &mut distances);
            let least = |i: usize| distances[i].iter().copied().fold(f32::INFINITY, f32::min);
            // At the limit nobody is nearer; just above it, somebody is.
            let mut kept = all.clone();
            drawn.keep(&points, &squares(&points, d), |i| least(i).next_up(), &mut kept, &mut Vec::new());
            prop_assert_eq!(&kept, &all);
            let mut kept = all.clone();
            drawn.keep(&points, &squares(&points, d), |i| least(i) / 8.0, &mut kept, &mut Vec::new());
            if offset == 0.0 && size == 1.0 && close > 1.5 && d < 20 {
                prop_assert!(kept.iter().all(|&i| least(i as usize) < 0.01), "{kept:?}");
            }
        }
    }
}
