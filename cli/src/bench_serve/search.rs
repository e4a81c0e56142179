//! The highest rate that a server holds: up in steps until it does not, then halving what is left.

/// Factor between steps.
const STEP: f64 = 1.5;
/// The search ends when what held and what did not are this close.
const CLOSE: f64 = 1.05;
/// A server that does not hold this rate holds none.
const LEAST: f64 = 1.0;

/// What is known of the rates so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct Search {
    first: f64,
    held: Option<f64>,
    failed: Option<f64>,
}

impl Search {
    /// A search that begins at this rate.
    pub(super) fn from(first: f64) -> Self {
        Self { first, held: None, failed: None }
    }

    /// The rate to try; nothing when the answer is known.
    pub(super) fn next(&self) -> Option<f64> {
        match (self.held, self.failed) {
            (None, None) => Some(self.first),
            (Some(held), None) => Some(held * STEP),
            (None, Some(failed)) => (failed > LEAST).then(|| (failed / STEP).max(LEAST)),
            (Some(held), Some(failed)) => (failed > held * CLOSE).then(|| (held * failed).sqrt()),
        }
    }

    /// Notes whether this rate held.
    pub(super) fn note(&mut self, rate: f64, held: bool) {
        if held {
            self.held = Some(rate);
        } else {
            self.failed = Some(rate);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The answer for a server that holds `capacity`, and how many steps it took.
    fn search(first: f64, capacity: f64) -> (Option<f64>, usize) {
        let mut search = Search::from(first);
        let mut steps = 0;
        while let Some(rate) = search.next() {
            search.note(rate, rate <= capacity);
            steps += 1;
            assert!(steps < 100, "{search:?}");
        }
        (search.held, steps)
    }

    #[test]
    fn finds_what_is_held_to_five_per_cent() {
        for capacity in [1.0, 3.3, 900.0, 1000.0, 10_000.0, 123_456.0] {
            let (held, steps) = search(1000.0, capacity);
            let held = held.unwrap();
            assert!(held <= capacity && held * CLOSE >= capacity, "{held} of {capacity}");
            assert!(steps <= 25, "{steps} steps to {capacity}");
        }
    }

    #[test]
    fn a_server_that_holds_nothing_ends_the_search() {
        assert_eq!(search(1000.0, 0.0).0, None);
        assert_eq!(search(0.5, 0.0), (None, 1));
    }
}
