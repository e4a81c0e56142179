//! A bounded set of the smallest keys, each with a row of numbers.
//!
//! Samples and farthest rows are both "the m best by some order". Merging two such sets and keeping the m best again
//! gives the same set as looking at all rows at once, in any order. The rows' numbers lie in one slab, so that offering
//! a row allocates nothing.

use std::collections::BinaryHeap;

use serde::{Deserialize, Serialize};

/// The `capacity` smallest keys offered, with `dimension` numbers each.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound(serialize = "K: Serialize + Ord + Clone", deserialize = "K: Deserialize<'de> + Ord"))]
pub(crate) struct Smallest<K> {
    capacity: usize,
    dimension: usize,
    /// The worst of the kept keys on top, each with its place in the slab.
    heap: BinaryHeap<(K, u32)>,
    slab: Vec<f32>,
}

impl<K: Ord + Copy> Smallest<K> {
    /// An empty set.
    pub(crate) fn new(capacity: usize, dimension: usize) -> Self {
        Self { capacity, dimension, heap: BinaryHeap::new(), slab: Vec::new() }
    }

    /// Number of keys held.
    pub(crate) fn len(&self) -> usize {
        self.heap.len()
    }

    /// Numbers per key.
    pub(crate) fn dimension(&self) -> usize {
        self.dimension
    }

    /// Whether `key` would be kept.
    pub(crate) fn admits(&self, key: &K) -> bool {
        self.heap.len() < self.capacity || self.heap.peek().is_some_and(|(worst, _)| key < worst)
    }

    /// Keeps `key` if it is among the smallest.
    pub(crate) fn offer(&mut self, key: K, values: &[f32]) {
        assert_eq!(values.len(), self.dimension, "a row of another dimension");
        if self.heap.len() < self.capacity {
            let slot = self.heap.len();
            self.slab.extend_from_slice(values);
            self.heap.push((key, slot as u32));
        } else if let Some(mut worst) = self.heap.peek_mut()
            && key < worst.0
        {
            let slot = worst.1 as usize;
            self.slab[slot * self.dimension..][..self.dimension].copy_from_slice(values);
            worst.0 = key;
        }
    }

    /// Whether the other set, which may have come from anywhere, can be merged into this one.
    pub(crate) fn has_shape_of(&self, other: &Self) -> bool {
        self.dimension == other.dimension
            && other.slab.len() == other.heap.len() * other.dimension
            && other.heap.iter().all(|&(_, slot)| (slot as usize) < other.heap.len())
    }

    /// Adds everything the other set holds.
    pub(crate) fn merge(&mut self, other: &Self) {
        for &(key, slot) in &other.heap {
            self.offer(key, other.row(slot));
        }
    }

    /// The keys and their numbers, smallest key first.
    pub(crate) fn sorted(&self) -> impl Iterator<Item = (K, &[f32])> {
        let mut entries: Vec<(K, u32)> = self.heap.iter().copied().collect();
        entries.sort_unstable();
        entries.into_iter().map(|(key, slot)| (key, self.row(slot)))
    }

    fn row(&self, slot: u32) -> &[f32] {
        &self.slab[slot as usize * self.dimension..][..self.dimension]
    }
}

impl<K: Ord + Copy> PartialEq for Smallest<K> {
    fn eq(&self, other: &Self) -> bool {
        self.capacity == other.capacity
            && self.dimension == other.dimension
            && self.len() == other.len()
            && self.sorted().eq(other.sorted())
    }
}
