//! A model of the reduction: pure functions of sizes and speeds.
//!
//! W workers have computed; their partials (`up` bytes each) must be added, and the new centroids (`down` bytes) must reach all of
//! them. Links carry both directions at once but each at most `bandwidth`; a message arrives `latency` after it was sent. Adding is
//! done while the next message arrives, so the slower of the two counts.
//!
//! - **Star**, as it is for small messages: the coordinator receives W partials and sends W steps over its one link. A step costs four
//!   latencies: the answer to the poll, the request for the step and its answer, the contribution.
//! - **Tree**, as it is for large messages (`worker/src/reduction/`): binary, messages flow through it in pieces. Every link carries a
//!   message for or from each of two workers; the last piece passes the tree's other levels besides, one after the other. The height
//!   is the least h with 2 + 4 + ... + 2^h >= W.
//! - **Reduce-scatter** by recursive halving, and gathering the new centroids by recursive doubling: every worker sends and
//!   receives (W-1)/W of a partial, then of the centroids, in log2(W) rounds each. Where W is not a power of two, the workers beyond
//!   the largest one first send all they have to a partner and get all centroids from it at the end. The coordinator's four
//!   latencies stay: it is still the one that begins and ends an iteration. It gets the centroids for its checkpoint from one worker
//!   while they are gathered.

/// Bytes on the wire per byte of a message: Ethernet, IP and TCP headers (1,538 bytes carry 1,448), and per 16 KiB of those a TLS
/// record's and an HTTP/2 frame's (22 and 9).
const OVERHEAD: f64 = 1538.0 / 1448.0 * (1.0 + 31.0 / 16384.0);

/// Latencies of one exchange with whoever is above.
const EXCHANGE: f64 = 4.0;

/// Workers right below another one or the coordinator (`worker/src/reduction/tree.rs`).
const FAN_IN: u64 = 2;
/// Bytes of a piece of a step (`worker/src/coordinator/service.rs`), and about those of a partial (`worker/src/kmeans/step.rs`).
const PIECE: f64 = 65536.0;

/// Speeds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Network {
    /// Bytes per second of each link and direction.
    pub(crate) bandwidth: f64,
    /// Seconds from sending to receiving.
    pub(crate) latency: f64,
    /// Numbers that one process decodes and adds per second.
    pub(crate) merge_rate: f64,
}

/// What is sent in an iteration.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Messages {
    /// Bytes of a step.
    pub(crate) down: f64,
    /// Bytes of a partial.
    pub(crate) up: f64,
    /// Numbers in a partial.
    pub(crate) values: f64,
}

impl Network {
    /// Seconds to send so many bytes over one link.
    fn transfer(&self, bytes: f64) -> f64 {
        bytes * OVERHEAD / self.bandwidth
    }

    /// Seconds until partials of so many bytes are received and added.
    fn collect(&self, bytes: f64, values: f64) -> f64 {
        self.transfer(bytes).max(values / self.merge_rate)
    }

    /// Seconds per iteration with the coordinator alone.
    pub(crate) fn star(&self, messages: &Messages, workers: u64) -> f64 {
        let workers = workers as f64;
        EXCHANGE * self.latency
            + self.transfer(workers * messages.down)
            + self.collect(workers * messages.up, workers * messages.values)
    }

    /// Seconds per iteration with a tree.
    pub(crate) fn tree(&self, messages: &Messages, workers: u64) -> f64 {
        let height = f64::from(height(workers));
        let below = FAN_IN.min(workers) as f64;
        let through = |bytes: f64| (height - 1.0).max(0.0) * self.transfer(below * bytes.min(PIECE));
        // The answers to the poll and the request for the step reach all workers at once.
        (EXCHANGE - 2.0 + 2.0 * height) * self.latency
            + self.transfer(below * messages.down)
            + self.collect(below * messages.up, below * messages.values)
            + through(messages.down)
            + through(messages.up)
    }

    /// Seconds per iteration with reduce-scatter.
    pub(crate) fn reduce_scatter(&self, messages: &Messages, workers: u64) -> f64 {
        let rounds = f64::from(workers.max(1).ilog2());
        let even = 1u64 << workers.max(1).ilog2();
        let share = (even - 1) as f64 / even as f64;
        let halving = 2.0 * rounds * self.latency
            + self.collect(share * messages.up, share * messages.values)
            + self.transfer(share * messages.down);
        let odd = if even == workers {
            0.0
        } else {
            2.0 * self.latency + self.collect(messages.up, messages.values) + self.transfer(messages.down)
        };
        EXCHANGE * self.latency + halving + odd
    }
}

/// Levels of the tree below the coordinator.
fn height(workers: u64) -> u32 {
    let (mut level, mut held, mut height) = (1u64, 0u64, 0);
    while held < workers {
        level = level.saturating_mul(FAN_IN);
        held = held.saturating_add(level);
        height += 1;
    }
    height
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A gigabit per second beside the headers, so that a megabyte takes 8 ms.
    fn network() -> Network {
        Network { bandwidth: 125e6 * OVERHEAD, latency: 1e-3, merge_rate: 1e9 }
    }

    /// A megabyte up (8 ms), half of it down (4 ms); adding is fast.
    const MESSAGES: Messages = Messages { down: 0.5e6, up: 1e6, values: 125e3 };

    fn same(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-9, "{a} is not {b}");
    }

    #[test]
    fn a_star_by_hand() {
        same(network().star(&MESSAGES, 1), 0.004 + 0.004 + 0.008);
        same(network().star(&MESSAGES, 32), 0.004 + 32.0 * 0.012);
        // Slow adding: 32 times 125,000 numbers at a million a second.
        let slow = Network { merge_rate: 1e6, ..network() };
        same(slow.star(&MESSAGES, 32), 0.004 + 32.0 * 0.004 + 4.0);
    }

    #[test]
    fn a_tree_by_hand() {
        // 2 + 4 + 8 + 16 = 30 < 32: five levels. Two messages of 8 and of 4 ms; two pieces of 0.524288 ms each on four levels, twice.
        let through = 4.0 * 2.0 * 0.000_524_288;
        same(network().tree(&MESSAGES, 32), 0.012 + 2.0 * 0.012 + 2.0 * through);
        same(network().tree(&MESSAGES, 2), network().star(&MESSAGES, 2));
        same(network().tree(&MESSAGES, 1), network().star(&MESSAGES, 1));
        // Small messages are one piece.
        let small = Messages { down: 125.0, up: 125.0, values: 1.0 };
        same(network().tree(&small, 6), 0.006 + 2.0 * 2.0 * 1e-6 + 2.0 * 2.0 * 1e-6);
    }

    #[test]
    fn reduce_scatter_by_hand() {
        // Five rounds there and five back; 31/32 of 8 ms and of 4 ms.
        same(network().reduce_scatter(&MESSAGES, 32), 0.004 + 0.010 + 31.0 / 32.0 * 0.012);
        // One more: an exchange with a partner before and after.
        same(network().reduce_scatter(&MESSAGES, 33), 0.004 + 0.010 + 31.0 / 32.0 * 0.012 + 0.002 + 0.012);
        same(network().reduce_scatter(&MESSAGES, 1), 0.004);
    }

    #[test]
    fn headers_take_some_six_per_cent() {
        same(OVERHEAD, 1.062_154_696 * 1.001_892_09);
    }

    #[test]
    fn a_tree_has_as_many_levels_as_it_needs() {
        assert_eq!([0, 1, 2, 3, 6, 7, 14, 15, 4096].map(height), [0, 1, 1, 2, 2, 3, 3, 4, 12]);
    }
}
