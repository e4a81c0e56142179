//! The tree of merges.

use crate::lsh::Components;

/// Two groups that become one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Merge {
    /// The group with the lower number. Groups are numbered as SciPy does: `0..leaves` are the leaves, and merge `i` makes
    /// group `leaves + i`.
    pub left: u32,
    /// The other group.
    pub right: u32,
    /// Distance of the two groups, as the linkage defines it.
    pub height: f64,
    /// Weight of both together.
    pub weight: f64,
}

/// A tree over `leaves` leaves: `leaves - 1` merges, the lowest first.
#[derive(Clone, Debug, PartialEq)]
pub struct Dendrogram {
    leaves: usize,
    merges: Vec<Merge>,
}

impl Dendrogram {
    /// From merges of pairs of leaves that stand for their groups, each with its height, in the order in which they were
    /// found.
    pub(super) fn new(mut found: Vec<(u32, u32, f64)>, weights: &[f64]) -> Self {
        let leaves = weights.len();
        // Stable, so that of equally high merges the one that the other needs comes first.
        found.sort_by(|a, b| a.2.total_cmp(&b.2));
        let mut groups = Components::new(leaves);
        let mut number: Vec<u32> = (0..).take(leaves).collect();
        let mut weight = weights.to_vec();
        let merge = |(made, (a, b, height)): (u32, (u32, u32, f64))| {
            let (a, b) = (groups.find(a) as usize, groups.find(b) as usize);
            let (left, right) = (number[a].min(number[b]), number[a].max(number[b]));
            let both = weight[a] + weight[b];
            groups.join(a as u32, b as u32);
            let root = groups.find(a as u32) as usize;
            (number[root], weight[root]) = (made, both);
            Merge { left, right, height, weight: both }
        };
        let merges = (leaves as u32..).zip(found).map(merge).collect();
        Self { leaves, merges }
    }

    /// Number of leaves.
    pub fn leaves(&self) -> usize {
        self.leaves
    }

    /// The merges, the lowest first.
    pub fn merges(&self) -> &[Merge] {
        &self.merges
    }

    /// The group of each leaf when the tree is cut so that `groups` remain (at least 1, at most one per leaf); groups are
    /// numbered in the order of their first leaves.
    pub fn cut(&self, groups: usize) -> Vec<u32> {
        let undone = groups.clamp(1, self.leaves.max(1));
        let made = self.leaves.saturating_sub(undone);
        let mut joined = Components::new(self.leaves + made);
        for (group, merge) in (self.leaves as u32..).zip(&self.merges[..made]) {
            joined.join(merge.left, group);
            joined.join(merge.right, group);
        }
        // Each group's lowest member is a leaf, so leaves number the groups.
        let (mut labels, _) = joined.labels();
        labels.truncate(self.leaves);
        labels
    }
}
