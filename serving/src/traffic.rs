//! What a replica has answered since it started, in few numbers: for whoever decides whether a new version may go on.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Bounds of the histogram: so many per power of ten, from the first on.
const PER_DECADE: i32 = 10;
/// Number of bounds: up to 100 seconds, beyond every deadline.
const BOUNDS: usize = 61;
/// The first bound, in seconds.
const FIRST: f64 = 1e-4;

/// Counts of queries.
#[derive(Debug)]
pub(crate) struct Traffic {
    requests: AtomicU64,
    errors: AtomicU64,
    /// Queries up to each bound and above the one before.
    times: [AtomicU64; BOUNDS],
}

impl Default for Traffic {
    fn default() -> Self {
        Self {
            requests: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            times: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }
}

impl Traffic {
    /// Counts a query that ended with this code, of either protocol.
    pub(crate) fn count(&self, code: &str, time: Duration) {
        if let Some(count) = self.times.get(place(time.as_secs_f64())) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        if is_error(code) {
            self.errors.fetch_add(1, Ordering::Relaxed);
        }
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Queries answered, and those that ended with an error of the server's.
    pub(crate) fn totals(&self) -> (u64, u64) {
        let requests = self.requests.load(Ordering::Relaxed);
        // One that is being counted at this moment must not be an error without being a request.
        (requests, self.errors.load(Ordering::Relaxed).min(requests))
    }

    /// Queries that took at most so many seconds, bound by bound.
    pub(crate) fn times(&self) -> impl Iterator<Item = (f64, u64)> {
        let counts = self.times.iter().scan(0, |sum, count| {
            *sum += count.load(Ordering::Relaxed);
            Some(*sum)
        });
        (0..BOUNDS).map(bound).zip(counts)
    }
}

/// The server's own failures; what a caller can mend is none, nor that a model cannot do something.
fn is_error(code: &str) -> bool {
    let http = code.len() == 3 && code.starts_with('5') && code != "501";
    http || matches!(code, "UNKNOWN" | "INTERNAL" | "UNAVAILABLE" | "DEADLINE_EXCEEDED" | "DATA_LOSS")
}

fn bound(place: usize) -> f64 {
    let exponent = i32::try_from(place).unwrap_or(i32::MAX);
    // From whole powers of ten, so that round bounds are round.
    let (decades, rest) = (exponent / PER_DECADE, exponent % PER_DECADE);
    FIRST * 10f64.powi(decades) * 10f64.powf(f64::from(rest) / f64::from(PER_DECADE))
}

/// Place of the first bound that is not less.
fn place(seconds: f64) -> usize {
    let guess = (seconds.max(FIRST) / FIRST).log10() * f64::from(PER_DECADE);
    // The logarithm may be off by a rounding.
    let guess = (guess.ceil() as usize).saturating_sub(1);
    (guess..BOUNDS).find(|place| bound(*place) >= seconds).unwrap_or(BOUNDS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_lies_between_its_bounds() {
        assert_eq!(place(0.0), 0);
        assert_eq!(place(1e9), BOUNDS - 1);
        for place_of_bound in 0..BOUNDS {
            let at = bound(place_of_bound);
            assert_eq!(place(at), place_of_bound, "{at}");
            assert_eq!(place(at * 0.999), place_of_bound, "{at}");
        }
        assert!((bound(10) - 1e-3).abs() < 1e-15 && (bound(60) - 100.0).abs() < 1e-9);
    }

    #[test]
    fn counts_add_up() {
        let traffic = Traffic::default();
        for (code, millis) in [("200", 1), ("OK", 2), ("503", 2), ("UNAVAILABLE", 40), ("400", 1), ("501", 1)] {
            traffic.count(code, Duration::from_millis(millis));
        }
        assert_eq!(traffic.totals(), (6, 2));
        let up_to = |seconds: f64| {
            traffic.times().filter(|(bound, _)| *bound <= seconds * 1.0001).map(|(_, count)| count).last().unwrap()
        };
        assert_eq!((up_to(0.0005), up_to(0.001), up_to(0.01), up_to(100.0)), (0, 3, 5, 6));
    }
}
