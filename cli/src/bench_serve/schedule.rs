//! When each request is due, and which one it is. Both are known before the first is sent: what the server does changes neither.

use std::time::Duration;

/// Requests that are due at even distances.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    rate: f64,
    count: u64,
}

/// A seeded order in which prepared requests are sent, without end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Order {
    seed: u64,
    choices: u64,
}

// === impl Schedule ===

impl Schedule {
    /// `rate` requests a second for so long, at least one.
    pub(super) fn new(rate: f64, duration: Duration) -> Self {
        Self { rate, count: ((rate * duration.as_secs_f64()).round() as u64).max(1) }
    }

    /// When request `number` is due, counted from the start; nothing when there are no more.
    pub(super) fn due(&self, number: u64) -> Option<Duration> {
        (number < self.count).then(|| Duration::from_secs_f64(number as f64 / self.rate))
    }
}

// === impl Order ===

impl Order {
    /// An order over so many choices, of which there is at least one.
    pub(super) fn new(seed: u64, choices: usize) -> Self {
        Self { seed, choices: choices.max(1) as u64 }
    }

    /// Which of them the request of this number is.
    pub(super) fn choice(&self, number: u64) -> usize {
        (mixed(self.seed, number) % self.choices) as usize
    }
}

/// SplitMix64: the bits of `number` in disorder.
fn mixed(seed: u64, number: u64) -> u64 {
    let mut bits = seed.wrapping_add(number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_due_at_even_distances() {
        let schedule = Schedule::new(4.0, Duration::from_millis(1500));
        let dues: Vec<_> = (0..).map_while(|number| schedule.due(number)).collect();
        assert_eq!(dues, [0, 250, 500, 750, 1000, 1250].map(Duration::from_millis));
        assert_eq!(Schedule::new(0.1, Duration::from_secs(1)).due(0), Some(Duration::ZERO));
    }

    #[test]
    fn late_requests_do_not_drift() {
        let schedule = Schedule::new(10_000.0, Duration::from_secs(3600));
        assert_eq!(schedule.due(35_999_999), Some(Duration::from_micros(3_599_999_900)));
        assert_eq!(schedule.due(36_000_000), None);
    }

    #[test]
    fn the_order_is_seeded_and_uses_everything() {
        let choices = |seed| (0..1000).map(|number| Order::new(seed, 10).choice(number)).collect::<Vec<_>>();
        assert_eq!(choices(1), choices(1));
        assert_ne!(choices(1), choices(2));
        for choice in 0..10 {
            let times = choices(1).iter().filter(|&&chosen| chosen == choice).count();
            assert!((60..140).contains(&times), "{choice} came {times} times");
        }
        assert_eq!(Order::new(1, 0).choice(5), 0);
    }
}
