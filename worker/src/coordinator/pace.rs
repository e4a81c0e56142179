//! How long a pass takes, for whoever asks how long the run will.

use std::collections::VecDeque;

use crate::{machine::Position, session::Millis};

/// Passes that the mean is taken over.
const WINDOW: usize = 5;

/// The last passes' durations.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Restart and iteration, and when the latter was reached.
    reached: Option<((u32, u32), Millis)>,
    seconds: VecDeque<f64>,
}

impl Pace {
    /// Takes note of where the run stands.
    pub(super) fn observe(&mut self, position: &Position, now: Millis) {
        if !matches!(position.stage, "Iterate" | "Hash") {
            self.reached = None;
            return;
        }
        let at = (position.restart, position.iteration);
        let Some((before, since)) = self.reached else {
            self.reached = Some((at, now));
            return;
        };
        if at == before {
            return;
        }
        self.reached = Some((at, now));
        if at.0 == before.0 && at.1 > before.1 {
            self.seconds.push_back((now.0 - since.0) as f64 / 1e3 / f64::from(at.1 - before.1));
            if self.seconds.len() > WINDOW {
                self.seconds.pop_front();
            }
        }
    }

    /// Mean seconds of the last passes; 0 before the first.
    pub(super) fn seconds(&self) -> f64 {
        self.seconds.iter().sum::<f64>() / self.seconds.len().max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_passes_of_one_restart_count() {
        let mut pace = Pace::default();
        let mut observe = |stage: &'static str, restart: u32, iteration: u32, now: u64| {
            pace.observe(&Position { stage, restart, iteration, ..Position::default() }, Millis(now));
            pace.seconds()
        };
        assert_eq!(observe("Init", 1, 0, 50_000), 0.0);
        assert_eq!(observe("Iterate", 1, 0, 60_000), 0.0);
        assert_eq!(observe("Iterate", 1, 0, 61_000), 0.0);
        assert_eq!(observe("Iterate", 1, 1, 62_000), 2.0);
        assert_eq!(observe("Iterate", 1, 2, 66_000), 3.0);
        assert_eq!(observe("Init", 2, 0, 90_000), 3.0);
        assert_eq!(observe("Iterate", 2, 0, 99_000), 3.0);
        for iteration in 1..=5 {
            observe("Iterate", 2, iteration, 99_000 + 1_000 * u64::from(iteration));
        }
        assert_eq!(observe("Evaluate", 2, 5, 200_000), 1.0);
    }
}
