//! Looking up what is near a row.

use std::cmp::Ordering;
use std::ops::Range;

use super::probes::Probes;
use super::{Family, Key, Moves, Tables};
use crate::kmeans::kernel::scattered_distances;
use crate::metric::Metric;

/// Rows that are measured before the nearest of them are kept, where all are looked at.
const CHUNK: usize = 4096;

/// How hard to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effort {
    /// Tables used, the first ones; at least 1.
    pub tables: usize,
    /// Buckets tried in all of them together, homes included.
    pub probes: usize,
}

/// A row found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Neighbour {
    /// The row.
    pub id: u32,
    /// Its distance from the query, in units of the metric.
    pub distance: f64,
}

impl Neighbour {
    /// A row at this [`Metric::square`]. By [`Metric::Cosine`], rows of unit length are half of it apart.
    pub(crate) fn new(metric: Metric, id: u32, square: f64) -> Self {
        let distance = match metric {
            Metric::Euclidean | Metric::Jaccard => square.sqrt(),
            Metric::Cosine => 0.5 * square,
        };
        Self { id, distance }
    }
}

/// Which rows have been seen: a bit per row, cleared by the rows that were set.
#[derive(Clone, Debug, Default)]
struct Visited(Vec<u64>);

impl Visited {
    /// Makes room for `n` rows.
    fn fit(&mut self, n: usize) {
        if self.0.len() < n.div_ceil(64) {
            self.0.resize(n.div_ceil(64), 0);
        }
    }

    /// Whether the row is new.
    #[inline]
    fn visit(&mut self, row: u32) -> bool {
        let (word, bit) = (&mut self.0[row as usize / 64], 1 << (row % 64));
        let new = *word & bit == 0;
        *word |= bit;
        new
    }

    /// Adds the rows that are new.
    fn take(&mut self, rows: &[u32], new: &mut Vec<u32>) {
        new.extend(rows.iter().copied().filter(|&row| self.visit(row)));
    }

    /// Forgets the rows that were visited.
    fn clear(&mut self, rows: &[u32]) {
        for &row in rows {
            self.0[row as usize / 64] = 0;
        }
    }
}

/// Answers queries one after the other, and keeps its buffers: after the first queries nothing is allocated but answers
/// longer than before.
///
/// Takes a bit per row of the tables. Use one per thread.
#[derive(Clone, Debug, Default)]
pub struct Searcher<K> {
    pub(super) moves: Moves<K>,
    probes: Probes,
    visited: Visited,
    pub(super) candidates: Vec<u32>,
    squares: Vec<f64>,
    pub(super) order: Vec<(f64, u32)>,
}

impl<K: Key> Searcher<K> {
    /// With empty buffers.
    pub fn new() -> Self {
        Self::default()
    }

    /// The rows in the buckets tried, each once, ascending. O(probes log buckets + rows in them).
    ///
    /// # Panics
    /// If the query is of another dimension, or more tables are asked for than there are.
    pub fn candidates<F, S, L, I>(
        &mut self,
        family: &F,
        tables: &Tables<K, S, L, I>,
        query: &[f32],
        effort: Effort,
    ) -> &[u32]
    where
        F: Family<Key = K>,
        S: AsRef<[u64]> + Sync,
        L: AsRef<[K]> + Sync,
        I: AsRef<[u32]> + Sync,
    {
        assert!(effort.tables <= tables.count(), "{} tables asked for: there are {}", effort.tables, tables.count());
        family.moves(query, effort.tables, &mut self.moves);
        self.begin(tables.len());
        let Self { moves, probes, visited, candidates, .. } = self;
        probes.each(moves, effort.probes, |table, key| visited.take(tables.bucket(table, key), candidates));
        self.end()
    }

    /// Starts to collect candidates among `n` rows.
    pub(super) fn begin(&mut self, n: usize) {
        self.visited.fit(n);
        self.candidates.clear();
    }

    /// Takes in a bucket.
    pub(super) fn take(&mut self, rows: &[u32]) {
        self.visited.take(rows, &mut self.candidates);
    }

    /// The candidates, ascending.
    pub(super) fn end(&mut self) -> &[u32] {
        self.visited.clear(&self.candidates);
        self.candidates.sort_unstable();
        &self.candidates
    }

    /// The `m` candidates nearest to the query, by exact distance, ties by lowest id.
    ///
    /// `rows` are those of the tables, row-major: n x dimension. Distances are summed in `f64` in a fixed order
    /// ([`Metric::square`]). For [`Metric::Cosine`] rows and query must have unit length; the distance is
    /// half the squared one. Takes O(candidates x dimension) beside finding them.
    ///
    /// # Panics
    /// If the shapes do not agree, or more tables are asked for than there are.
    #[allow(clippy::too_many_arguments)] // what is searched, what for, and how
    pub fn nearest<F, S, L, I>(
        &mut self,
        family: &F,
        tables: &Tables<K, S, L, I>,
        rows: &[f32],
        metric: Metric,
        query: &[f32],
        effort: Effort,
        m: usize,
        found: &mut Vec<Neighbour>,
    ) where
        F: Family<Key = K>,
        S: AsRef<[u64]> + Sync,
        L: AsRef<[K]> + Sync,
        I: AsRef<[u32]> + Sync,
    {
        assert_eq!(rows.len(), tables.len() * family.dimension(), "rows and tables disagree");
        self.candidates(family, tables, query, effort);
        rank(rows, metric, query, &self.candidates, m, &mut self.squares, &mut self.order, found);
    }
}

/// The `m` nearest of some rows.
#[allow(clippy::too_many_arguments)] // the buffers are lent
fn rank(
    rows: &[f32],
    metric: Metric,
    query: &[f32],
    candidates: &[u32],
    m: usize,
    squares: &mut Vec<f64>,
    order: &mut Vec<(f64, u32)>,
    found: &mut Vec<Neighbour>,
) {
    measure(rows, metric, query, candidates, squares);
    order.clear();
    order.extend(squares.iter().copied().zip(candidates.iter().copied()));
    keep(order, m);
    found.clear();
    found.extend(order.iter().map(|&(square, id)| Neighbour::new(metric, id, square)));
}

/// Leaves in `squares` how far some rows are from the query.
fn measure(rows: &[f32], metric: Metric, query: &[f32], candidates: &[u32], squares: &mut Vec<f64>) {
    match metric {
        Metric::Euclidean | Metric::Cosine => scattered_distances(query, rows, candidates, squares),
        Metric::Jaccard => {
            squares.clear();
            let row = |&id: &u32| &rows[id as usize * query.len()..][..query.len()];
            squares.extend(candidates.iter().map(|id| metric.square(query, row(id))));
        }
    }
}

/// What is nearer, ties by lowest id.
fn by_distance(a: &(f64, u32), b: &(f64, u32)) -> Ordering {
    a.0.total_cmp(&b.0).then(a.1.cmp(&b.1))
}

/// Keeps the `m` smallest, in order. O(length + m log m).
pub(super) fn keep(order: &mut Vec<(f64, u32)>, m: usize) {
    cut(order, m);
    order.sort_unstable_by(by_distance);
}

/// Keeps the `m` smallest, in any order. O(length).
fn cut(order: &mut Vec<(f64, u32)>, m: usize) {
    if m < order.len() {
        if m > 0 {
            order.select_nth_unstable_by(m - 1, by_distance);
        }
        order.truncate(m);
    }
}

/// The `m` nearest of all rows, by looking at each: what [`Searcher::nearest`] approximates. O(rows x dimension).
///
/// # Panics
/// If `rows` is not a whole number of rows of the query's dimension, or there are more than 2^32.
pub fn brute_force(rows: &[f32], metric: Metric, query: &[f32], m: usize) -> Vec<Neighbour> {
    let mut found = Vec::new();
    let all = 0..(rows.len() / query.len()) as u32;
    nearest_of(rows, metric, query, all, m, None, &mut found);
    found
}

/// As [`brute_force`], among some consecutive rows and without one of them. However many rows there are, memory is taken for
/// twice `m` and some thousand of them only.
///
/// # Panics
/// As [`brute_force`], and if there are no such rows.
pub fn nearest_of(
    rows: &[f32],
    metric: Metric,
    query: &[f32],
    among: Range<u32>,
    m: usize,
    without: Option<u32>,
    found: &mut Vec<Neighbour>,
) {
    assert_eq!(rows.len() % query.len(), 0, "rows of another dimension");
    let mut ids = among.filter(|&id| Some(id) != without);
    let mut chunk: Vec<u32> = Vec::new();
    let (mut squares, mut order) = (Vec::new(), Vec::new());
    loop {
        chunk.clear();
        chunk.extend(ids.by_ref().take(CHUNK));
        if chunk.is_empty() {
            break;
        }
        measure(rows, metric, query, &chunk, &mut squares);
        order.extend(squares.iter().copied().zip(chunk.iter().copied()));
        // So seldom that all cuts together take no longer than all chunks.
        if order.len() > m.saturating_mul(2).saturating_add(CHUNK) {
            cut(&mut order, m);
        }
    }
    keep(&mut order, m);
    found.clear();
    found.extend(order.iter().map(|&(square, id)| Neighbour::new(metric, id, square)));
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::kmeans::squared_distance;
    use crate::lsh::{SignFamily, StableFamily};
    use crate::random::{Purpose, Stream};

    fn check<F: Family>(
        family: &F,
        rows: &[f32],
        query: &[f32],
        effort: Effort,
        m: usize,
        searcher: &mut Searcher<F::Key>,
    ) {
        let d = family.dimension();
        let tables = Tables::of_vectors(family, rows);
        let mut moves = Moves::default();
        family.moves(query, effort.tables, &mut moves);
        let mut expected = BTreeSet::new();
        Probes::default().each(&moves, effort.probes, |table, key| {
            for (other, rows) in tables.buckets(table) {
                expected.extend(rows.iter().copied().filter(|_| other == key));
            }
        });
        let expected: Vec<u32> = expected.into_iter().collect();
        assert_eq!(searcher.candidates(family, &tables, query, effort), expected);
        for metric in [Metric::Euclidean, Metric::Cosine] {
            let mut ranked: Vec<(f64, u32)> =
                expected.iter().map(|&id| (squared_distance(query, &rows[id as usize * d..][..d]), id)).collect();
            ranked.sort_by(|a, b| a.partial_cmp(b).unwrap());
            let ranked: Vec<Neighbour> = ranked
                .into_iter()
                .take(m)
                .map(|(s, id)| Neighbour { id, distance: if metric == Metric::Cosine { s / 2.0 } else { s.sqrt() } })
                .collect();
            let mut found = Vec::new();
            searcher.nearest(family, &tables, rows, metric, query, effort, m, &mut found);
            assert_eq!(found, ranked);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn same_as_brute_force_over_candidates(n in 0usize..200, d in 1usize..6, tables in 1usize..5, probes in 0usize..40, m in 0usize..20, salt in any::<u64>()) {
            let stream = Stream::new(salt, Purpose::Generate, 0);
            // Whole numbers, so that distances are equal often.
            let number = |i: usize| (stream.hash(i as u64) % 5) as f32 - 2.0;
            let rows: Vec<f32> = (0..n * d).map(number).collect();
            let (sign, stable) = (SignFamily::new(d, 5, 4, salt), StableFamily::new(d, 5, 2, 3.0, salt));
            let (mut a, mut b) = (Searcher::new(), Searcher::new());
            let effort = Effort { tables, probes };
            for query in 0..3 {
                let query: Vec<f32> = (0..d).map(|j| number((1 << 20) + query * d + j)).collect();
                check(&sign, &rows, &query, effort, m, &mut a);
                check(&stable, &rows, &query, effort, m, &mut b);
            }
        }
    }

    #[test]
    fn all_buckets_give_all_rows() {
        let stream = Stream::new(6, Purpose::Generate, 0);
        let rows: Vec<f32> = (0..300 * 4).map(|i| (stream.uniform(i) - 0.5) as f32).collect();
        let family = SignFamily::new(4, 2, 6, 1);
        let tables = Tables::of_vectors(&family, &rows);
        let mut found = Vec::new();
        let effort = Effort { tables: 2, probes: usize::MAX };
        Searcher::new().nearest(&family, &tables, &rows, Metric::Euclidean, &rows[8..12], effort, 7, &mut found);
        assert_eq!(found, brute_force(&rows, Metric::Euclidean, &rows[8..12], 7));
        assert_eq!(found[0], Neighbour { id: 2, distance: 0.0 });
    }

    #[test]
    fn more_rows_than_a_chunk_are_ranked_as_if_at_once() {
        let (n, d) = (3 * CHUNK + 5, 3);
        let stream = Stream::new(8, Purpose::Generate, 0);
        // Whole numbers, so that distances are equal often; none is negative, for Jaccard.
        let rows: Vec<f32> = (0..n * d).map(|i| (stream.hash(i as u64) % 7) as f32).collect();
        let query = [1.0, 3.0, 2.0];
        let mut found = Vec::new();
        for metric in [Metric::Euclidean, Metric::Cosine, Metric::Jaccard] {
            for (among, without) in [(0..n as u32, None), (7..n as u32 - 9, Some(CHUNK as u32 + 7)), (5..90, Some(5))] {
                let mut all: Vec<(f64, u32)> = among
                    .clone()
                    .filter(|&id| Some(id) != without)
                    .map(|id| (metric.square(&query, &rows[id as usize * d..][..d]), id))
                    .collect();
                all.sort_by(|a, b| a.partial_cmp(b).unwrap());
                let all: Vec<Neighbour> =
                    all.into_iter().map(|(square, id)| Neighbour::new(metric, id, square)).collect();
                for m in [0, 1, 50, CHUNK, CHUNK + 1, n, usize::MAX] {
                    nearest_of(&rows, metric, &query, among.clone(), m, without, &mut found);
                    assert_eq!(found, all[..m.min(all.len())], "{metric:?}, {among:?}, {m}");
                }
            }
        }
    }

    #[test]
    fn some_rows_without_one_of_them() {
        let rows: Vec<f32> = (0..9u8).map(f32::from).collect();
        let mut found = Vec::new();
        nearest_of(&rows, Metric::Euclidean, &[4.0], 2..8, 3, Some(4), &mut found);
        assert_eq!(
            found.iter().map(|near| (near.id, near.distance)).collect::<Vec<_>>(),
            [(3, 1.0), (5, 1.0), (2, 2.0)]
        );
        nearest_of(&rows, Metric::Euclidean, &[4.0], 8..8, 3, None, &mut found);
        assert!(found.is_empty());
    }
}
