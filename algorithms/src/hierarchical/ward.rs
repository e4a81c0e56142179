//! Ward's linkage over groups of which only centroid and weight are known.

use super::Dendrogram;
use crate::lanes;

/// The tree in which each merge raises the sum of squared distances to the groups' centroids the least (J. Ward,
/// "Hierarchical grouping to optimize an objective function", JASA 58, 1963).
///
/// `centroids` is k x d, `weights` the number of rows behind each; a weight below 1 counts as 1. The height of a merge of
/// groups of weights a and b whose centroids are x apart is `x sqrt(2 a b / (a + b))`, which is SciPy's for single rows.
///
/// Follows chains of nearest neighbours (F. Murtagh, "A survey of recent advances in hierarchical clustering algorithms",
/// The Computer Journal 26, 1983) without a matrix of distances: O(k^2 d) time, O(k d) memory. Of equally near groups the
/// one found first stays.
///
/// # Panics
/// If the shapes do not agree.
pub fn ward(centroids: &[f32], dimension: usize, weights: &[f64]) -> Dendrogram {
    assert_eq!(centroids.len(), weights.len() * dimension, "one weight per centroid is needed");
    let weights: Vec<f64> = weights.iter().map(|weight| weight.max(1.0)).collect();
    let mut groups = Groups {
        dimension,
        values: centroids.iter().map(|&value| f64::from(value)).collect(),
        weights: weights.clone(),
        alive: (0..weights.len()).collect(),
    };
    let mut found = Vec::with_capacity(weights.len().saturating_sub(1));
    let mut chain: Vec<usize> = Vec::new();
    while groups.alive.len() > 1 {
        let Some(&end) = chain.last() else {
            chain.extend(groups.alive.first());
            continue;
        };
        let before = chain.len().checked_sub(2).map(|at| chain[at]);
        let Some((nearest, height2)) = groups.nearest(end, before) else { break };
        // Without rounding only the one before can be in the chain already.
        match chain.iter().position(|&group| group == nearest) {
            None => chain.push(nearest),
            Some(at) => {
                chain.truncate(at);
                found.push((end as u32, nearest as u32, height2.sqrt()));
                groups.merge(end, nearest);
            }
        }
    }
    Dendrogram::new(found, &weights)
}

/// Groups that are not merged yet, each under the number of one of its leaves.
struct Groups {
    dimension: usize,
    /// k x d.
    values: Vec<f64>,
    weights: Vec<f64>,
    alive: Vec<usize>,
}

impl Groups {
    fn centroid(&self, group: usize) -> &[f64] {
        &self.values[group * self.dimension..][..self.dimension]
    }

    fn height2(&self, a: usize, b: usize) -> f64 {
        let (of_a, of_b) = (self.weights[a], self.weights[b]);
        2.0 * of_a * of_b / (of_a + of_b) * lanes::squared_distance_wide(self.centroid(a), self.centroid(b))
    }

    /// The group nearest to `group`, which is `first` unless another is nearer.
    fn nearest(&self, group: usize, first: Option<usize>) -> Option<(usize, f64)> {
        let others = self.alive.iter().copied().filter(|&other| other != group);
        let candidates = first.into_iter().chain(others).map(|other| (other, self.height2(group, other)));
        candidates.reduce(|best, other| if other.1 < best.1 { other } else { best })
    }

    /// Makes one group of two, under the number of `kept`.
    fn merge(&mut self, gone: usize, kept: usize) {
        let (of_gone, of_kept) = (self.weights[gone], self.weights[kept]);
        let both = of_gone + of_kept;
        for j in 0..self.dimension {
            let (a, b) = (self.values[gone * self.dimension + j], self.values[kept * self.dimension + j]);
            self.values[kept * self.dimension + j] = (of_gone * a + of_kept * b) / both;
        }
        self.weights[kept] = both;
        self.alive.retain(|&group| group != gone);
    }
}
