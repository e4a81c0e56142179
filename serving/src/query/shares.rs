//! How many rows each cluster got of late.

use super::Assignment;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Rows are counted by stretches of time; what counts as recent is the present one and the one before.
const STRETCH: Duration = Duration::from_secs(300);

/// Counts rows by cluster over the last five to ten minutes. Rows that arrive just when a stretch begins may go uncounted.
#[derive(Debug)]
pub(crate) struct Shares {
    begun: Instant,
    windows: [Window; 2],
}

/// One stretch of time.
#[derive(Debug)]
struct Window {
    /// Which one, counted from the beginning.
    stretch: AtomicU64,
    rows: AtomicU64,
    clusters: Vec<AtomicU64>,
}

/// What came of late.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Recent {
    /// Rows assigned to the cluster.
    pub rows: u64,
    /// The same as a share of all rows; 0 when there were none.
    pub share: f64,
}

impl Shares {
    pub(crate) fn new(clusters: usize, now: Instant) -> Self {
        let window = |stretch| Window {
            stretch: AtomicU64::new(stretch),
            rows: AtomicU64::new(0),
            clusters: (0..clusters).map(|_| AtomicU64::new(0)).collect(),
        };
        // The second is that of the stretch before the beginning's next: empty.
        Self { begun: now, windows: [window(0), window(1)] }
    }

    /// Counts rows that were assigned.
    pub(crate) fn count(&self, now: Instant, assignments: &[Assignment]) {
        let stretch = self.stretch(now);
        let window = &self.windows[(stretch % 2) as usize];
        let before = window.stretch.swap(stretch, Ordering::Relaxed);
        if before != stretch {
            window.rows.store(0, Ordering::Relaxed);
            window.clusters.iter().for_each(|count| count.store(0, Ordering::Relaxed));
        }
        window.rows.fetch_add(assignments.len() as u64, Ordering::Relaxed);
        for assignment in assignments {
            if let Some(count) = window.clusters.get(assignment.cluster as usize) {
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// What cluster `cluster` got of late.
    pub(crate) fn of(&self, now: Instant, cluster: u32) -> Recent {
        let stretch = self.stretch(now);
        let windows = self.windows.iter().filter(|window| {
            let counted = window.stretch.load(Ordering::Relaxed);
            counted == stretch || counted + 1 == stretch
        });
        let mut recent = Recent::default();
        let mut all = 0;
        for window in windows {
            all += window.rows.load(Ordering::Relaxed);
            recent.rows += window.clusters.get(cluster as usize).map_or(0, |count| count.load(Ordering::Relaxed));
        }
        recent.share = if all == 0 { 0.0 } else { recent.rows as f64 / all as f64 };
        recent
    }

    fn stretch(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.begun).as_secs() / STRETCH.as_secs()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(clusters: &[u32]) -> Vec<Assignment> {
        clusters.iter().map(|&cluster| Assignment { cluster, distance: 1.0, margin: 1.0, confidence: 0.5 }).collect()
    }

    #[test]
    fn what_is_long_ago_does_not_count() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let shares = Shares::new(3, start);
        assert_eq!(shares.of(start, 0), Recent { rows: 0, share: 0.0 });
        shares.count(at(1), &rows(&[0, 0, 2, 0]));
        assert_eq!(shares.of(at(2), 0), Recent { rows: 3, share: 0.75 });
        assert_eq!(shares.of(at(2), 1), Recent { rows: 0, share: 0.0 });
        shares.count(at(310), &rows(&[1, 1, 1, 2]));
        assert_eq!(shares.of(at(599), 0), Recent { rows: 3, share: 0.375 });
        assert_eq!(shares.of(at(599), 2), Recent { rows: 2, share: 0.25 });
        // The first stretch is over for longer than another.
        assert_eq!(shares.of(at(601), 0), Recent { rows: 0, share: 0.0 });
        assert_eq!(shares.of(at(601), 1), Recent { rows: 3, share: 0.75 });
        shares.count(at(602), &rows(&[0]));
        assert_eq!(shares.of(at(603), 0), Recent { rows: 1, share: 0.2 });
        // After a long silence nothing is recent.
        assert_eq!(shares.of(at(5000), 1), Recent { rows: 0, share: 0.0 });
        shares.count(at(5001), &rows(&[1]));
        assert_eq!(shares.of(at(5002), 1), Recent { rows: 1, share: 1.0 });
    }
}
