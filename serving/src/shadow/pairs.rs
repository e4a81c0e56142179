//! Which clusters of two models rows fall into together.

use super::matching;
use std::collections::HashMap;

/// Most pairs that are told apart; rows of further ones count as reassigned. About a megabyte.
const MOST: usize = 1 << 15;

/// Counts of rows by their clusters in both models.
#[derive(Debug, Default)]
pub(super) struct Pairs {
    counts: HashMap<(u32, u32), u64>,
    rows: u64,
}

impl Pairs {
    /// Counts a row.
    pub(super) fn count(&mut self, cluster: u32, other: u32) {
        self.rows += 1;
        let full = self.counts.len() >= MOST;
        match self.counts.get_mut(&(cluster, other)) {
            Some(count) => *count += 1,
            None if full => {}
            None => drop(self.counts.insert((cluster, other), 1)),
        }
    }

    /// All rows, and the pairs that they fall into.
    pub(super) fn table(&self) -> (u64, Vec<(u32, u32, u64)>) {
        (self.rows, self.counts.iter().map(|(&(cluster, other), &count)| (cluster, other, count)).collect())
    }
}

/// Rows of a table that are not in the cluster that is matched with their own.
pub(super) fn reassigned(rows: u64, pairs: &[(u32, u32, u64)]) -> u64 {
    rows.saturating_sub(matching::weight(pairs))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_clusters_in_another_order_reassign_nothing() {
        let mut pairs = Pairs::default();
        (0..300).for_each(|row| pairs.count(row % 3, (row + 1) % 3));
        let (rows, table) = pairs.table();
        assert_eq!((rows, reassigned(rows, &table)), (300, 0));
    }

    #[test]
    fn a_split_cluster_reassigns_the_smaller_part() {
        let mut pairs = Pairs::default();
        (0..100).for_each(|row| pairs.count(0, u32::from(row < 30)));
        let (rows, table) = pairs.table();
        assert_eq!((rows, reassigned(rows, &table)), (100, 30));
    }

    #[test]
    fn a_full_table_still_counts_rows() {
        let mut pairs = Pairs::default();
        let most = u32::try_from(MOST).unwrap();
        (0..most + 10).for_each(|row| pairs.count(row, row));
        pairs.count(0, 0);
        let (rows, table) = pairs.table();
        assert_eq!((rows, table.len()), (u64::from(most) + 11, MOST));
        assert_eq!(reassigned(rows, &table), 10);
    }
}
