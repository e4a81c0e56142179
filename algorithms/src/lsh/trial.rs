//! What settings of hash tables find on a sample.

use rayon::prelude::*;

use super::{Effort, Family, Searcher, Tables, brute_force};
use crate::metric::Metric;
use crate::random::{Purpose, Stream};

/// Some rows of a sample that are asked for, whose true neighbours are known.
///
/// Of `m` neighbours among all rows a sample holds `m * sample / rows` (at least 1 is asked for), and these lie as far away as the
/// `m` do. Where the sample holds less than an `m`-th of the rows, neighbours in it are farther away than in all the data and so
/// harder to find: a recall then errs on the safe side.
#[derive(Clone, Debug)]
pub struct Trial<'a> {
    sample: &'a [f32],
    dimension: usize,
    queries: Vec<u32>,
    /// The nearest other rows of each query.
    truth: Vec<Vec<u32>>,
}

/// What a setting does on average.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Found {
    pub(super) recall: f64,
    pub(super) candidates: f64,
}

impl<'a> Trial<'a> {
    /// Of `sample` (row-major), which stands for so many `rows`: so many `queries` of its rows, chosen by `seed`, are asked for so many
    /// `neighbours` each. These are found by [`brute_force`], leaving the row itself out. O(queries x sample x dimension).
    ///
    /// # Panics
    /// If there are no queries or neighbours, or the sample has no more rows than there are neighbours or is not a whole number of rows.
    pub fn new(
        sample: &'a [f32],
        dimension: usize,
        metric: Metric,
        (neighbours, queries, rows): (usize, usize, usize),
        seed: u64,
    ) -> Self {
        assert!(queries > 0 && neighbours > 0, "nothing is asked for");
        let n = sample.len() / dimension;
        assert!(n > neighbours, "a sample of {n} rows for {neighbours} neighbours");
        let queries = pick(n, queries, seed);
        // As many of the sample lie within the same distance as do of all rows, scaled down.
        let near = (neighbours as f64 * n as f64 / rows.max(n) as f64).ceil() as usize;
        let nearest = |&query: &u32| {
            let found = brute_force(sample, metric, &sample[query as usize * dimension..][..dimension], near + 1);
            found.iter().map(|found| found.id).filter(|&id| id != query).take(near).collect()
        };
        let truth = queries.par_iter().map(nearest).collect();
        Self { sample, dimension, queries, truth }
    }

    /// Number of rows that are asked for.
    pub(super) fn queries(&self) -> usize {
        self.queries.len()
    }

    /// The mean share of the true neighbours that is found. Takes the time to build the family's tables of the sample.
    ///
    /// # Panics
    /// If the family is of another dimension or has fewer tables.
    pub fn recall<F: Family>(&self, family: &F, effort: Effort) -> f64 {
        self.of(family, &Tables::of_vectors(family, self.sample), effort).recall
    }

    /// Asks for all queries; `tables` are those of the sample.
    pub(super) fn of<F: Family>(&self, family: &F, tables: &Tables<F::Key>, effort: Effort) -> Found {
        let d = self.dimension;
        let counts: Vec<(usize, usize)> = self
            .queries
            .par_iter()
            .zip(&self.truth)
            .map_init(Searcher::new, |searcher, (&query, truth)| {
                let candidates = searcher.candidates(family, tables, &self.sample[query as usize * d..][..d], effort);
                let hits = truth.iter().filter(|id| candidates.binary_search(id).is_ok()).count();
                (hits, candidates.len())
            })
            .collect();
        let n = counts.len() as f64;
        let shares = counts.iter().zip(&self.truth).map(|(&(hits, _), truth)| hits as f64 / truth.len() as f64);
        let candidates = counts.iter().map(|&(_, candidates)| candidates as f64).sum::<f64>();
        Found { recall: shares.sum::<f64>() / n, candidates: candidates / n }
    }
}

/// The rows with the smallest hashes, ascending.
pub(crate) fn pick(n: usize, count: usize, seed: u64) -> Vec<u32> {
    let stream = Stream::new(seed, Purpose::Sample, 0);
    let mut rows: Vec<u32> = (0..n as u32).collect();
    rows.sort_unstable_by_key(|&row| stream.hash(row.into()));
    rows.truncate(count);
    rows.sort_unstable();
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lsh::StableFamily;
    use crate::made;

    /// The slow twin asks for one row after the other and looks at all others.
    #[test]
    fn recall_is_the_share_of_the_nearest_that_share_a_bucket() {
        let (n, d, rows) = (600, 6, made::blobs(600, 6, 12, 3));
        let row = |i: u32| &rows[i as usize * d..][..d];
        let family = StableFamily::new(d, 4, 3, 1.0, 5);
        let mut keys = vec![0; n * 4];
        family.keys(&rows, &mut keys);
        let key = |i: u32, table: usize| keys[i as usize * 4 + table];
        for used in 1..=4 {
            let mut sum = 0.0;
            for query in pick(n, 50, 7) {
                let mut others: Vec<u32> = (0..n as u32).filter(|&other| other != query).collect();
                let square = |&other: &u32| Metric::Euclidean.square(row(query), row(other));
                others.sort_by(|a, b| square(a).total_cmp(&square(b)).then(a.cmp(b)));
                // 10 of 1,500 rows are 4 of 600.
                let meets = |other: &&u32| (0..used).any(|table| key(query, table) == key(**other, table));
                sum += others[..4].iter().filter(meets).count() as f64 / 4.0;
            }
            let trial = Trial::new(&rows, d, Metric::Euclidean, (10, 50, 1500), 7);
            let found = trial.recall(&family, Effort { tables: used, probes: used });
            assert!((found - sum / 50.0).abs() < 1e-12, "{used}: {found}");
        }
    }
}
