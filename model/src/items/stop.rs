//! Giving up making an index: it takes minutes, and whoever asked for it may not need it any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use coterie_algorithms::lsh::{Family, Moves};

use super::ItemsError;

/// Asks whoever makes an index to give up. That is looked at between pieces of work which take a second at most or so.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Asks.
    pub fn ask(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it was asked.
    pub(super) fn asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Fails once it was asked.
    pub(super) fn check(&self) -> Result<(), ItemsError> {
        if self.asked() { Err(ItemsError::Interrupted) } else { Ok(()) }
    }
}

/// A family that hashes no more once it is asked to stop, and whose searches end in the bucket that they begin in; what was made
/// with it is to be thrown away then.
pub(super) struct Stoppable<'a, F>(pub(super) F, pub(super) &'a Stop);

impl<F: Family> Family for Stoppable<'_, F> {
    type Key = F::Key;

    fn dimension(&self) -> usize {
        self.0.dimension()
    }

    fn tables(&self) -> usize {
        self.0.tables()
    }

    fn keys(&self, rows: &[f32], keys: &mut [F::Key]) {
        if !self.1.asked() {
            self.0.keys(rows, keys);
        }
    }

    fn moves(&self, row: &[f32], tables: usize, moves: &mut Moves<F::Key>) {
        self.0.moves(row, tables, moves);
        if self.1.asked() {
            moves.steps.clear();
        }
    }

    fn has_moves(&self) -> bool {
        !self.1.asked() && self.0.has_moves()
    }
}
