//! Looking up which sets are similar to a set.

use super::nearest::keep;
use super::{Id, MinHashFamily, Neighbour, Searcher, Sets, Tables, jaccard_distance};

impl Searcher<u64> {
    /// The sets that meet `query` in one of the first `used` tables, each once, ascending.
    /// O(ids x hashes + tables log buckets + sets found).
    ///
    /// # Panics
    /// If more tables are asked for than there are, or family and tables disagree on their number.
    pub fn similar_candidates<Q, S, L, I>(
        &mut self,
        family: &MinHashFamily,
        tables: &Tables<u64, S, L, I>,
        query: &[Q],
        used: usize,
    ) -> &[u32]
    where
        Q: Id,
        S: AsRef<[u64]> + Sync,
        L: AsRef<[u64]> + Sync,
        I: AsRef<[u32]> + Sync,
    {
        assert_eq!(family.tables(), tables.count(), "family and tables disagree");
        assert!(used <= tables.count(), "{used} tables asked for: there are {}", tables.count());
        self.moves.home.resize(family.tables(), 0);
        family.keys(query, &mut self.moves.home);
        self.begin(tables.len());
        for table in 0..used {
            self.take(tables.bucket(table, self.moves.home[table]));
        }
        self.end()
    }

    /// The `m` candidates most similar to the set `query`, by exact Jaccard distance, ties by lowest id.
    ///
    /// `sets` are those of the tables; `query` is ascending without repetition. Only home buckets are looked at: the
    /// smallest hashes do not tell which other bucket is near. Takes O(ids of the candidates) beside finding them.
    ///
    /// # Panics
    /// If `sets` and tables disagree, and as [`Searcher::similar_candidates`].
    #[allow(clippy::too_many_arguments)] // what is searched, what for, and how
    pub fn similar<Q, S, L, I>(
        &mut self,
        family: &MinHashFamily,
        tables: &Tables<u64, S, L, I>,
        sets: Sets<'_, Q>,
        query: &[Q],
        used: usize,
        m: usize,
        found: &mut Vec<Neighbour>,
    ) where
        Q: Id,
        S: AsRef<[u64]> + Sync,
        L: AsRef<[u64]> + Sync,
        I: AsRef<[u32]> + Sync,
    {
        assert_eq!(sets.len(), tables.len(), "sets and tables disagree");
        self.similar_candidates(family, tables, query, used);
        let Self { candidates, order, .. } = self;
        order.clear();
        order.extend(candidates.iter().map(|&id| (jaccard_distance(query, sets.get(id as usize)), id)));
        keep(order, m);
        found.clear();
        found.extend(order.iter().map(|&(distance, id)| Neighbour { id, distance }));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn same_as_brute_force_over_candidates(
            sets in prop::collection::vec(prop::collection::btree_set(0u32..12, 0..6), 1..60),
            query in prop::collection::btree_set(0u32..12, 0..6),
            used in 0usize..6,
            m in 0usize..12,
            seed: u64,
        ) {
            let offsets: Vec<usize> =
                std::iter::once(0).chain(sets.iter().scan(0, |sum, set| { *sum += set.len(); Some(*sum) })).collect();
            let ids: Vec<u32> = sets.iter().flatten().copied().collect();
            let flat = Sets::new(&offsets, &ids).unwrap();
            let query: Vec<u32> = query.into_iter().collect();
            let family = MinHashFamily::new(5, 2, seed);
            let tables = Tables::of_sets(&family, flat);
            let mut keys = [[0; 5]; 2];
            family.keys(&query, &mut keys[0]);
            let mut meet = BTreeSet::new();
            for i in 0..flat.len() {
                family.keys(flat.get(i), &mut keys[1]);
                meet.extend((0..used.min(5)).filter(|&t| keys[0][t] == keys[1][t]).map(|_| i as u32));
            }
            let mut ranked: Vec<(f64, u32)> =
                meet.iter().map(|&id| (jaccard_distance(&query, flat.get(id as usize)), id)).collect();
            ranked.sort_by(|a, b| a.partial_cmp(b).unwrap());
            ranked.truncate(m);
            let ranked: Vec<Neighbour> = ranked.into_iter().map(|(distance, id)| Neighbour { id, distance }).collect();

            let (mut searcher, mut found) = (Searcher::new(), Vec::new());
            for _ in 0..2 {
                prop_assert!(searcher.similar_candidates(&family, &tables, &query, used.min(5)).iter().eq(&meet));
                searcher.similar(&family, &tables, flat, &query, used.min(5), m, &mut found);
                prop_assert_eq!(&found, &ranked);
            }
        }
    }

    #[test]
    fn bands_find_as_many_as_they_should() {
        // 400 pairs with 18 of 22 ids in common.
        let ids: Vec<u64> = (0..400u64).flat_map(|i| (0..20).map(move |j| 100 * i + j)).collect();
        let offsets: Vec<usize> = (0..=400).map(|i| 20 * i).collect();
        let sets = Sets::new(&offsets, &ids).unwrap();
        let family = MinHashFamily::new(8, 6, 3);
        let tables = Tables::of_sets(&family, sets);
        let (mut searcher, mut found) = (Searcher::new(), Vec::new());
        let hits = (0..400u32)
            .filter(|&i| {
                let query: Vec<u64> = (2..22).map(|j| 100 * u64::from(i) + j).collect();
                searcher.similar(&family, &tables, sets, &query, 8, 1, &mut found);
                found.first().is_some_and(|f| f.id == i && (f.distance - 4.0 / 22.0).abs() < 1e-12)
            })
            .count();
        let p = family.collision(18.0 / 22.0);
        assert!((hits as f64 / 400.0 - p).abs() < 5.0 * (p * (1.0 - p) / 400.0).sqrt(), "{hits} for {p}");
    }
}
