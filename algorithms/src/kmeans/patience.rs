//! When to stop trying what is of no use.

use std::sync::atomic::{AtomicU32, Ordering};

/// Losses that have not been made up for, beyond which it rests, and the rows for which it does.
const MOST: u32 = 384;
const REST: u32 = 16_384;

/// Weighs the rows for which a shortcut failed against those for which it did not, and rests for a while where it does not pay.
///
/// Several threads may tell it at the same time: what gets lost of their counts does not matter.
#[derive(Debug, Default)]
pub(super) struct Patience {
    /// Losses, less gains.
    losses: AtomicU32,
    /// Rows to come that are not worth trying.
    rest: AtomicU32,
}

impl Patience {
    /// How many rows to come are not worth trying.
    pub(super) fn rest(&self) -> u32 {
        self.rest.load(Ordering::Relaxed)
    }

    /// Takes note of `rows` that were not tried; `rest` is what was left before.
    pub(super) fn rested(&self, rest: u32, rows: u32) {
        self.rest.store(rest.saturating_sub(rows), Ordering::Relaxed);
    }

    /// Takes note of what some rows gained and lost.
    pub(super) fn learn(&self, gain: u32, loss: u32) {
        let losses = self.losses.load(Ordering::Relaxed).saturating_add(loss).saturating_sub(gain);
        if losses > MOST {
            self.rest.store(REST, Ordering::Relaxed);
        }
        self.losses.store(if losses > MOST { 0 } else { losses }, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_rests_after_losses_and_tries_again() {
        let patience = Patience::default();
        patience.learn(0, MOST);
        assert_eq!(patience.rest(), 0);
        patience.learn(10, 5);
        patience.learn(0, 5);
        assert_eq!(patience.rest(), 0);
        patience.learn(0, 1);
        assert_eq!(patience.rest(), REST);
        patience.rested(REST, REST - 1);
        assert_eq!(patience.rest(), 1);
        patience.rested(1, 1);
        assert_eq!(patience.rest(), 0);
        patience.learn(u32::MAX, 7);
        patience.learn(0, MOST);
        assert_eq!(patience.rest(), 0);
    }
}
