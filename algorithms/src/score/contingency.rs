//! Agreement of clusters with known classes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How many rows of each known class lie in each cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contingency {
    /// For each class its number of rows per cluster; clusters past the end of a list have none.
    counts: BTreeMap<String, Vec<u64>>,
}

/// Row sums, column sums and the sum of all cells.
struct Margins {
    classes: Vec<u64>,
    clusters: Vec<u64>,
    total: u64,
}

impl Contingency {
    /// An empty table.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts a row of class `label` in `cluster`.
    pub fn add(&mut self, label: &str, cluster: u32) {
        let cluster = cluster as usize;
        if !self.counts.contains_key(label) {
            self.counts.insert(label.to_owned(), Vec::new());
        }
        if let Some(clusters) = self.counts.get_mut(label) {
            if clusters.len() <= cluster {
                clusters.resize(cluster + 1, 0);
            }
            clusters[cluster] += 1;
        }
    }

    /// Takes in the rows of another table.
    pub fn merge(&mut self, other: &Self) {
        for (label, theirs) in &other.counts {
            let ours = self.counts.entry(label.clone()).or_default();
            if ours.len() < theirs.len() {
                ours.resize(theirs.len(), 0);
            }
            for (our, their) in ours.iter_mut().zip(theirs) {
                *our += their;
            }
        }
    }

    /// Number of different classes seen.
    pub fn classes(&self) -> usize {
        self.counts.len()
    }

    /// For each class its number of rows per cluster.
    pub fn counts(&self) -> &BTreeMap<String, Vec<u64>> {
        &self.counts
    }

    /// The adjusted Rand index: 1 for equal partitions, about 0 for independent ones. An empty table scores 1.
    pub fn ari(&self) -> f64 {
        let Margins { classes, clusters, total } = self.margins();
        let squares = |counts: &[u64]| counts.iter().map(|&c| u128::from(c).pow(2)).sum::<u128>();
        let (n, same_class, same_cluster) = (u128::from(total), squares(&classes), squares(&clusters));
        let both: u128 = self.counts.values().map(|row| squares(row)).sum();
        // Ordered pairs of different rows: together in both, in one only, in none.
        let true_positive = (both - n) as f64;
        let false_positive = (same_cluster - both) as f64;
        let false_negative = (same_class - both) as f64;
        let true_negative = (n * n + both - same_class - same_cluster) as f64;
        if false_negative == 0.0 && false_positive == 0.0 {
            return 1.0;
        }
        2.0 * (true_positive * true_negative - false_negative * false_positive)
            / ((true_positive + false_negative) * (false_negative + true_negative)
                + (true_positive + false_positive) * (false_positive + true_negative))
    }

    /// Mutual information over the arithmetic mean of the two entropies: 1 for equal partitions, 0 for independent ones.
    /// 1 if there is only one class and one cluster.
    pub fn nmi(&self) -> f64 {
        let Margins { classes, clusters, total } = self.margins();
        let used = |counts: &[u64]| counts.iter().filter(|&&c| c > 0).count();
        match (used(&classes), used(&clusters)) {
            (0 | 1, 0 | 1) => return 1.0,
            (0 | 1, _) | (_, 0 | 1) => return 0.0,
            _ => {}
        }
        let n = total as f64;
        let entropy = |counts: &[u64]| {
            -counts.iter().filter(|&&c| c > 0).map(|&c| c as f64 / n * (c as f64 / n).ln()).sum::<f64>()
        };
        let mut information = 0.0;
        for (row, &class) in self.counts.values().zip(&classes) {
            for (&cell, &cluster) in row.iter().zip(&clusters).filter(|&(&cell, _)| cell > 0) {
                let cell = cell as f64;
                information += cell / n * (cell * n / (class as f64 * cluster as f64)).ln();
            }
        }
        let mean = (entropy(&classes) + entropy(&clusters)) / 2.0;
        (information.max(0.0) / mean).min(1.0)
    }

    fn margins(&self) -> Margins {
        let classes: Vec<u64> = self.counts.values().map(|row| row.iter().sum()).collect();
        let width = self.counts.values().map(Vec::len).max().unwrap_or(0);
        let mut clusters = vec![0; width];
        for row in self.counts.values() {
            for (cluster, cell) in clusters.iter_mut().zip(row) {
                *cluster += cell;
            }
        }
        let total = classes.iter().sum();
        Margins { classes, clusters, total }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(pairs: &[(&str, u32)]) -> Contingency {
        let mut table = Contingency::new();
        for &(label, cluster) in pairs {
            table.add(label, cluster);
        }
        table
    }

    #[test]
    fn equal_partitions_score_one() {
        let t = table(&[("a", 1), ("a", 1), ("b", 0), ("c", 7)]);
        assert_eq!((t.ari(), t.classes()), (1.0, 3));
        assert!((t.nmi() - 1.0).abs() < 1e-12);
    }

    /// scikit-learn's documented example: labels [0, 0, 1, 1] against [0, 0, 1, 2] has an ARI of 0.57...
    #[test]
    fn documented_examples() {
        let t = table(&[("0", 0), ("0", 0), ("1", 1), ("1", 2)]);
        assert!((t.ari() - 4.0 / 7.0).abs() < 1e-12);
        assert!((t.nmi() - 0.8).abs() < 1e-12);
        let t = table(&[("0", 0), ("0", 1), ("0", 2), ("0", 3)]);
        assert_eq!((t.ari(), t.nmi()), (0.0, 0.0));
        let t = table(&[("0", 0), ("0", 1), ("1", 0), ("1", 1)]);
        assert_eq!((t.ari(), t.nmi()), (-0.5, 0.0));
    }

    #[test]
    fn empty_and_single() {
        assert_eq!((table(&[]).ari(), table(&[]).nmi()), (1.0, 1.0));
        assert_eq!((table(&[("a", 3)]).ari(), table(&[("a", 3)]).nmi()), (1.0, 1.0));
    }

    #[test]
    fn merging_equals_the_whole() {
        let pairs = [("a", 0), ("b", 3), ("a", 2), ("c", 0), ("b", 0), ("d", 9)];
        for cut in 0..=pairs.len() {
            let mut left = table(&pairs[..cut]);
            left.merge(&table(&pairs[cut..]));
            // Trailing zeros aside, the tables are the same.
            assert_eq!(left, table(&pairs));
        }
    }
}
