//! Which buckets to try, and in what order.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::{Key, Moves};

/// Moves of a table that are considered: the cheapest.
const MOST: usize = 64;

/// A bucket to be tried: a set of moves from a table's home.
#[derive(Clone, Copy, Debug)]
struct Probe {
    cost: f64,
    table: u32,
    /// The moves taken, by their rank among the table's.
    taken: u64,
}

impl Ord for Probe {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.cost.total_cmp(&other.cost).then(self.table.cmp(&other.table)).then(self.taken.cmp(&other.taken))
    }
}

impl PartialOrd for Probe {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Probe {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Probe {}

/// The order of buckets by multi-probing (Lv, Josephson, Wang, Charikar and Li, "Multi-probe LSH: efficient indexing for
/// high-dimensional similarity search", VLDB 2007).
///
/// First come the homes, table by table; then all other buckets of all tables by the sum of the costs of the moves that
/// lead there, ties by (table, moves). A near row differs from the query by little in every projection, and the probability
/// that it lies in a bucket falls with the sum of the squared distances to the borders between. Of a table's moves the 64
/// cheapest are used. A probe takes O(log probes) time; nothing is allocated once the buffers have grown.
#[derive(Clone, Debug, Default)]
pub struct Probes {
    heap: BinaryHeap<Reverse<Probe>>,
}

impl Probes {
    /// Gives the first `count` buckets to `visit`, fewer if there are no more, as (table, key).
    pub fn each<K: Key>(&mut self, moves: &Moves<K>, count: usize, mut visit: impl FnMut(usize, K)) {
        self.each_costed(moves, count, |table, key, _| visit(table, key));
    }

    fn each_costed<K: Key>(&mut self, moves: &Moves<K>, count: usize, mut visit: impl FnMut(usize, K, f64)) {
        for (table, &home) in moves.home.iter().enumerate().take(count) {
            visit(table, home, 0.0);
        }
        let mut left = count.saturating_sub(moves.home.len());
        self.heap.clear();
        if left == 0 || moves.per_table() == 0 {
            return;
        }
        self.heap.extend((0..moves.home.len()).map(|table| Reverse(probe(moves, table as u32, 1))));
        while let Some(Reverse(Probe { cost, table, taken })) = self.heap.pop() {
            let steps = moves.of(table as usize);
            let last = taken.ilog2();
            let lasts = 1u64 << last;
            let valid = !clashes(moves, table, taken);
            if valid {
                let key = (0..=last)
                    .filter(|&rank| taken >> rank & 1 == 1)
                    .fold(moves.home[table as usize], |key, rank| key.step(steps[rank as usize].delta));
                visit(table as usize, key, cost);
                left -= 1;
                if left == 0 {
                    return;
                }
            }
            // Every set arises once: from the one without its last move, or from the one whose last move is one cheaper.
            if (last as usize) + 1 < steps.len().min(MOST) {
                self.heap.push(Reverse(probe(moves, table, taken ^ lasts | lasts << 1)));
                if valid {
                    self.heap.push(Reverse(probe(moves, table, taken | lasts << 1)));
                }
            }
        }
    }
}

/// The probe of these moves. Costs are added from the cheapest, so that a set never costs less than the one it comes from.
fn probe<K: Key>(moves: &Moves<K>, table: u32, taken: u64) -> Probe {
    let mut cost = 0.0;
    let mut rest = taken;
    let steps = moves.of(table as usize);
    while rest != 0 {
        cost += steps[rest.trailing_zeros() as usize].cost;
        rest &= rest - 1;
    }
    Probe { cost, table, taken }
}

/// Whether two of the moves are of the same hash.
fn clashes<K: Key>(moves: &Moves<K>, table: u32, taken: u64) -> bool {
    let (mut seen, mut rest) = (0u64, taken);
    let steps = moves.of(table as usize);
    while rest != 0 {
        let hash = 1u64 << (steps[rest.trailing_zeros() as usize].hash % 64);
        if seen & hash != 0 {
            return true;
        }
        seen |= hash;
        rest &= rest - 1;
    }
    false
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::lsh::{Family, Move, SignFamily, StableFamily};

    /// All buckets in the order of probing: every set of moves is written down, and the list sorted.
    fn naive<K: Key>(moves: &Moves<K>) -> Vec<(usize, K)> {
        let mut all = Vec::new();
        for table in 0..moves.home.len() {
            let steps = moves.of(table);
            for taken in 1u64..1 << steps.len() {
                let chosen: Vec<&Move<K>> =
                    steps.iter().enumerate().filter(|(i, _)| taken >> i & 1 == 1).map(|(_, step)| step).collect();
                let mut hashes: Vec<u32> = chosen.iter().map(|step| step.hash).collect();
                hashes.sort_unstable();
                hashes.dedup();
                if hashes.len() == chosen.len() {
                    let cost: f64 = chosen.iter().fold(0.0, |sum, step| sum + step.cost);
                    let key = chosen.iter().fold(moves.home[table], |key, step| key.step(step.delta));
                    all.push((cost, table, taken, key));
                }
            }
        }
        all.sort_by(|a, b| a.0.total_cmp(&b.0).then((a.1, a.2).cmp(&(b.1, b.2))));
        let homes = moves.home.iter().copied().enumerate();
        homes.chain(all.into_iter().map(|(_, table, _, key)| (table, key))).collect()
    }

    fn check<K: Key>(moves: &Moves<K>, count: usize) {
        let mut expected = naive(moves);
        let mut probes = Probes::default();
        let mut found = Vec::new();
        probes.each(moves, usize::MAX, |table, key| found.push((table, key)));
        assert_eq!(found, expected);
        found.clear();
        probes.each(moves, count, |table, key| found.push((table, key)));
        expected.truncate(count);
        assert_eq!(found, expected);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn sign_order_is_that_of_all_flips(bits in 1u32..9, tables in 1usize..4, count in 0usize..300, seed in any::<u64>(), row in prop::collection::vec(-1.0f32..1.0, 3)) {
            let mut moves = Moves::default();
            SignFamily::new(3, tables, bits, seed).moves(&row, tables, &mut moves);
            check(&moves, count);
            // Every bucket of a table is reached once.
            let mut keys = Vec::new();
            Probes::default().each(&moves, usize::MAX, |table, key| keys.push((table, key)));
            keys.sort_unstable();
            prop_assert!(keys.iter().copied().eq((0..tables).flat_map(|t| (0..1 << bits).map(move |k| (t, k)))));
        }

        #[test]
        fn stable_order_is_that_of_all_neighbours(hashes in 1usize..5, tables in 1usize..4, count in 0usize..100, seed in any::<u64>(), row in prop::collection::vec(-9.0f32..9.0, 2)) {
            let mut moves = Moves::default();
            StableFamily::new(2, tables, hashes, 1.0, seed).moves(&row, tables, &mut moves);
            check(&moves, count);
            let mut buckets = 0;
            Probes::default().each(&moves, usize::MAX, |_, _| buckets += 1);
            prop_assert_eq!(buckets, tables * 3usize.pow(hashes as u32));
        }

        /// Costs that are equal or nothing.
        #[test]
        fn ties(costs in prop::collection::vec(0u32..3, 2 * 6)) {
            let mut moves = Moves { home: vec![7u32, 9], ..Moves::default() };
            moves.steps = costs.iter().enumerate().map(|(i, &cost)| Move { cost: cost.into(), hash: i as u32 % 6 / 2, delta: 1 << i }).collect();
            moves.sort();
            check(&moves, 20);
        }
    }
}
