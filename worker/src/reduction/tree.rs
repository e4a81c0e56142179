//! Who is below whom in a step: a binary tree under the coordinator, filled level by level.

use std::{collections::BTreeMap, net::SocketAddr};

use crate::session::WorkerId;

/// Processes right below another one, the coordinator included. Two keep links full when messages flow through in pieces, and the
/// tree low.
pub const FAN_IN: usize = 2;

/// A worker's place in the tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The worker above; `None`: the coordinator.
    pub parent: Option<SocketAddr>,
    /// The workers right below.
    pub children: Vec<WorkerId>,
}

/// Whether a tree pays for so many workers and bytes that each of them receives and sends.
#[must_use]
pub fn is_worth(workers: usize, bytes: u64, threshold: u64) -> bool {
    workers > FAN_IN && bytes.saturating_mul(workers as u64) >= threshold
}

/// The tree over these workers, given where each can be reached by others. Empty if too few of them can be.
#[must_use]
pub fn arrange(workers: &[(WorkerId, Option<SocketAddr>)]) -> BTreeMap<WorkerId, Place> {
    // Those that cannot be reached become leaves.
    let mut order = workers.to_vec();
    order.sort_by_key(|(id, address)| (address.is_none(), *id));
    let mut places = BTreeMap::new();
    for (at, (id, _)) in order.iter().enumerate() {
        let parent = match at.checked_sub(FAN_IN) {
            None => None,
            Some(below) => match order[below / FAN_IN].1 {
                Some(address) => Some(address),
                None => return BTreeMap::new(),
            },
        };
        let first = FAN_IN * (at + 1);
        let children = order.iter().skip(first).take(FAN_IN).map(|(id, _)| *id).collect();
        places.insert(*id, Place { parent, children });
    }
    places
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn address(worker: u64) -> SocketAddr {
        SocketAddr::from(([10, 0, (worker >> 8) as u8, worker as u8], 7071))
    }

    #[test]
    fn five_workers_by_hand() {
        let workers: Vec<_> = (1..=5).map(|id| (WorkerId(id), Some(address(id)))).collect();
        let places = arrange(&workers);
        let place = |parent: Option<u64>, children: &[u64]| Place {
            parent: parent.map(address),
            children: children.iter().copied().map(WorkerId).collect(),
        };
        let expected =
            [(1, place(None, &[3, 4])), (2, place(None, &[5])), (3, place(Some(1), &[])), (4, place(Some(1), &[]))];
        for (id, place) in expected {
            assert_eq!(places[&WorkerId(id)], place, "worker {id}");
        }
        assert_eq!(places[&WorkerId(5)], place(Some(2), &[]));
    }

    #[test]
    fn a_tree_is_for_much_data_and_many_workers() {
        assert!(!is_worth(2, u64::MAX, 1), "the coordinator has two children anyway");
        assert!(!is_worth(8, 99, 800));
        assert!(is_worth(8, 100, 800));
        assert!(is_worth(8, u64::MAX, u64::MAX));
    }

    proptest! {
        #[test]
        fn everybody_has_one_way_to_the_coordinator(reachable in prop::collection::vec(prop::bool::weighted(0.9), 0..200)) {
            let workers: Vec<_> =
                (0u64..).zip(&reachable).map(|(id, yes)| (WorkerId(id), yes.then(|| address(id)))).collect();
            let places = arrange(&workers);
            let relays = reachable.iter().filter(|yes| **yes).count();
            if places.is_empty() {
                // Each inner worker of a binary tree below two roots has up to two children.
                prop_assert!(workers.is_empty() || FAN_IN * relays + FAN_IN < workers.len());
                return Ok(());
            }
            prop_assert_eq!(places.len(), workers.len());
            for (id, place) in &places {
                prop_assert!(place.children.len() <= FAN_IN);
                for child in &place.children {
                    prop_assert_eq!(places[child].parent, Some(address(id.0)), "both ends agree");
                }
                let (mut at, mut steps) = (place, 0);
                while let Some(parent) = at.parent {
                    let parent = places.iter().find(|(id, _)| address(id.0) == parent).unwrap();
                    prop_assert!(reachable[parent.0.0 as usize]);
                    at = parent.1;
                    steps += 1;
                }
                prop_assert!(steps <= workers.len().ilog2());
            }
            let roots = places.values().filter(|place| place.parent.is_none()).count();
            prop_assert_eq!(roots, workers.len().min(FAN_IN));
            let below: usize = places.values().map(|place| place.children.len()).sum();
            prop_assert_eq!(below, workers.len() - roots);
        }
    }
}
