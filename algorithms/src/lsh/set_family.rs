//! Smallest hashes of sets that are rows of zeros and ones.

use super::{Family, Members, MinHashFamily, Moves};

/// [`MinHashFamily`] as a [`Family`] of rows, for Jaccard distances: column `j` stands for member `j`, and what is not 0 is in
/// the set.
///
/// The smallest hashes do not tell which other bucket is near, so there are no moves: a query looks into one bucket per table.
#[derive(Clone, Debug)]
pub struct SetFamily {
    dimension: usize,
    hashes: MinHashFamily,
}

impl SetFamily {
    /// `tables` tables of `hashes` hashes each, in `dimension` columns.
    ///
    /// # Panics
    /// If any is zero.
    pub fn new(dimension: usize, tables: usize, hashes: usize, seed: u64) -> Self {
        assert!(dimension > 0, "no columns");
        Self { dimension, hashes: MinHashFamily::new(tables, hashes, seed) }
    }

    /// Hashes per table.
    pub fn hashes(&self) -> usize {
        self.hashes.rows()
    }
}

impl Family for SetFamily {
    type Key = u64;

    fn dimension(&self) -> usize {
        self.dimension
    }

    fn tables(&self) -> usize {
        self.hashes.tables()
    }

    fn keys(&self, rows: &[f32], keys: &mut [u64]) {
        let tables = self.tables();
        assert_eq!(rows.len() * tables, keys.len() * self.dimension, "rows and keys disagree");
        let members = Members::of(rows, self.dimension);
        for (set, keys) in keys.chunks_exact_mut(tables).enumerate() {
            self.hashes.keys(members.sets().get(set), keys);
        }
    }

    fn moves(&self, row: &[f32], tables: usize, moves: &mut Moves<u64>) {
        assert_eq!(row.len(), self.dimension, "a row of another dimension");
        assert!(tables <= self.tables(), "{tables} tables asked for: there are {}", self.tables());
        moves.steps.clear();
        moves.home.resize(self.tables(), 0);
        self.keys(row, &mut moves.home);
        moves.home.truncate(tables);
    }

    fn has_moves(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jaccard::distance;
    use crate::lsh::{Goal, Searcher, Tables, brute_force, choose, set_families};
    use crate::metric::Metric;
    use crate::random::{Purpose, Stream};

    const D: usize = 300;

    /// Groups of sets of some 30 members, of which each lacks a few.
    fn sets(n: usize, groups: u64, salt: u64) -> Vec<f32> {
        let stream = Stream::new(salt, Purpose::Generate, 0);
        let member = |row: u64, column: u64| {
            let group = row % groups;
            let of_group = stream.hash((group * D as u64 + column) << 8).is_multiple_of(10);
            of_group && !stream.hash((row * D as u64 + column) << 8 | 1).is_multiple_of(12)
        };
        (0..n as u64)
            .flat_map(|row| (0..D as u64).map(move |column| (row, column)))
            .map(|(row, column)| f32::from(u8::from(member(row, column))))
            .collect()
    }

    #[test]
    fn keys_of_rows_are_those_of_sets_and_fewer_tables_are_a_prefix() {
        let family = SetFamily::new(D, 5, 3, 9);
        let rows = sets(20, 4, 1);
        let (mut keys, mut moves) = (vec![0; 20 * 5], Moves::default());
        family.keys(&rows, &mut keys);
        let members = Members::of(&rows, D);
        for (i, row) in rows.chunks_exact(D).enumerate() {
            let mut expected = [0; 5];
            MinHashFamily::new(5, 3, 9).keys(members.sets().get(i), &mut expected);
            assert_eq!(keys[i * 5..][..5], expected);
            family.moves(row, 2, &mut moves);
            assert_eq!((&moves.home[..], moves.steps.len()), (&expected[..2], 0));
        }
    }

    #[test]
    fn what_is_chosen_reaches_the_recall_and_distances_are_exact() {
        let rows = sets(2_000, 40, 3);
        let goal = Goal { recall: 0.9, neighbours: 10, queries: 200, most_tables: 16, most_probes: 64, rows: 2_000 };
        let choice = choose(&set_families(D, 16, 3), &rows, Metric::Jaccard, goal, 3).unwrap();
        assert_eq!(choice.effort.probes, choice.effort.tables);
        let family = SetFamily::new(D, choice.effort.tables, set_families(D, 16, 3)[choice.family].0.hashes(), 3);
        let tables = Tables::of_vectors(&family, &rows);
        let (mut searcher, mut found, mut hits) = (Searcher::new(), Vec::new(), 0);
        for query in rows.chunks_exact(D).take(300) {
            searcher.nearest(&family, &tables, &rows, Metric::Jaccard, query, choice.effort, 10, &mut found);
            assert!(found.is_sorted_by(|a, b| (a.distance, a.id) < (b.distance, b.id)));
            assert!(found.iter().all(|near| near.distance == distance(query, &rows[near.id as usize * D..][..D])));
            let truth = brute_force(&rows, Metric::Jaccard, query, 10);
            hits += truth.iter().filter(|truth| found.contains(truth)).count();
        }
        assert!(hits as f64 >= 0.88 * 3_000.0 && choice.candidates < 500.0, "{hits} of 3000 by {choice:?}");
    }
}
