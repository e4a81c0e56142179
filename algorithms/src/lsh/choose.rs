//! Choosing tables, hashes and probes for a recall.

use super::{Effort, Family, SetFamily, SignFamily, StableFamily, Tables, Trial};
use crate::metric::Metric;

/// Rows hashed or compared that cost as much as looking up a bucket.
const BUCKET_COST: f64 = 2.0;

/// What a search must reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Goal {
    /// The share of the true nearest rows that must be found, on average.
    pub recall: f64,
    /// How many nearest rows count.
    pub neighbours: usize,
    /// Rows of the sample that are asked for. With fewer than `3 / (1 - recall)` no setting is sure to reach the recall.
    pub queries: usize,
    /// Most tables.
    pub most_tables: usize,
    /// Most buckets tried per query.
    pub most_probes: usize,
    /// Rows of the data that the sample stands for.
    pub rows: usize,
}

/// What was chosen, and what it did on the sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice {
    /// Which of the families given.
    pub family: usize,
    /// Tables and probes.
    pub effort: Effort,
    /// Mean recall of the sample's queries.
    pub recall: f64,
    /// Expected candidates per query in the whole data.
    pub candidates: f64,
    /// Expected cost of a query, in comparisons of two rows.
    pub cost: f64,
}

/// No setting is sure to reach the recall.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("no setting is sure to reach the recall {target}: the best reaches {} of the sample; allow more tables, probes or queries", best.recall)]
pub struct OutOfReach {
    /// What was asked for.
    pub target: f64,
    /// The setting that comes nearest.
    pub best: Choice,
}

/// The cheapest family, tables and probes that reach a recall on a sample.
///
/// `sample` holds some rows, row-major, for example those with the smallest hashes; `families` what may be taken, with at
/// most `goal.most_tables` tables used ([`sign_families`], [`stable_families`], [`set_families`]).
///
/// The method is trial ([`Trial`]): for each family, for 1, 2, 4, ... tables and 1, 2, 4, ... probes per table
/// (1 without [`Family::has_moves`]) it is counted how many of the true neighbours of some rows of the sample are among the candidates, and how many
/// candidates there are. A setting will do if the lower end of the mean recall's confidence interval (Wilson 1927; one-sided, 95 %) reaches the target. Its cost is
///
/// > candidates * rows / sample + 2 probes + tables * hashes
///
/// in comparisons of two rows, where a projection costs as much as a comparison. The cheapest is taken, ties by the first;
/// then its number of probes is lowered by bisection.
///
/// Takes O(queries x sample x dimension) and, per family, the time to build its tables on the sample. The result does not
/// depend on the number of threads.
///
/// # Errors
/// If no setting is sure to reach the recall.
///
/// # Panics
/// If there are no families or queries, the sample has fewer rows than there are neighbours or is not a whole number of rows,
/// or tables or probes may not be used.
pub fn choose<F: Family>(
    families: &[(F, usize)],
    sample: &[f32],
    metric: Metric,
    goal: Goal,
    seed: u64,
) -> Result<Choice, OutOfReach> {
    assert!(!families.is_empty(), "nothing to choose from");
    assert!(goal.most_tables > 0 && goal.most_probes > 0, "no tables or probes");
    let d = families[0].0.dimension();
    let n = sample.len() / d;
    let trial = Trial::new(sample, d, metric, (goal.neighbours, goal.queries, goal.rows), seed);
    // A setting, and whether it will do.
    let attempt = |index: usize, all: &Tables<F::Key>, effort: Effort| {
        let (family, hashes) = &families[index];
        let found = trial.of(family, all, effort);
        let candidates = found.candidates * goal.rows as f64 / n as f64;
        let cost = candidates + BUCKET_COST * effort.probes as f64 + (effort.tables * hashes) as f64;
        let choice = Choice { family: index, effort, recall: found.recall, candidates, cost };
        (choice, sure(choice.recall, trial.queries()) >= goal.recall)
    };
    let mut chosen: Option<Choice> = None;
    // Any setting comes nearer than this.
    let effort = Effort { tables: 0, probes: 0 };
    let mut best = Choice { family: 0, effort, recall: -1.0, candidates: 0.0, cost: 0.0 };
    for (index, (family, _)) in families.iter().enumerate() {
        let all = Tables::of_vectors(family, sample);
        for tables in doubling(1, family.tables().min(goal.most_tables)) {
            // Without moves more probes would find the same.
            let most_probes = if family.has_moves() { goal.most_probes } else { goal.most_probes.min(tables) };
            for probes in doubling(tables, most_probes) {
                let (choice, enough) = attempt(index, &all, Effort { tables, probes });
                if choice.recall > best.recall {
                    best = choice;
                }
                let cheaper = chosen.is_none_or(|so_far| choice.cost < so_far.cost);
                if cheaper && enough {
                    chosen = Some(choice);
                }
                // More probes of these tables find no fewer candidates, so they only cost more.
                if !cheaper || enough {
                    break;
                }
            }
        }
    }
    let Some(mut choice) = chosen else {
        return Err(OutOfReach { target: goal.recall, best });
    };
    let all = Tables::of_vectors(&families[choice.family].0, sample);
    let Effort { tables, probes } = choice.effort;
    let mut few = doubling(tables, goal.most_probes).take_while(|&tried| tried < probes).last().unwrap_or(probes - 1);
    while choice.effort.probes - few > 1 {
        let probes = few.midpoint(choice.effort.probes);
        match attempt(choice.family, &all, Effort { tables, probes }) {
            (fewer, true) => choice = fewer,
            (_, false) => few = probes,
        }
    }
    Ok(choice)
}

/// What a recall seen in `n` queries is at least, with a one-sided confidence of 95 % (Wilson 1927). No recall varies more
/// than that of queries that find all or nothing, for which this is made.
fn sure(recall: f64, n: usize) -> f64 {
    const Z: f64 = 1.645;
    let z2 = Z * Z / n as f64;
    let spread = (recall * (1.0 - recall) / n as f64 + z2 / (4.0 * n as f64)).sqrt();
    (recall + z2 / 2.0 - Z * spread) / (1.0 + z2)
}

/// `from`, twice that, and so on, and `to`; nothing if `from` is beyond `to`.
fn doubling(from: usize, to: usize) -> impl Iterator<Item = usize> {
    std::iter::successors((from <= to).then_some(from), move |&last| (last < to).then(|| (2 * last).min(to)))
}

/// Families of sign hashes for `rows` rows, each with its hashes per table: most first: from a bucket for each
/// quarter of a row to one for each 64 rows.
///
/// # Panics
/// If the dimension or the number of tables is zero.
pub fn sign_families(dimension: usize, rows: usize, tables: usize, seed: u64) -> Vec<(SignFamily, usize)> {
    let bits = rows.max(2).ilog2();
    (bits.saturating_sub(6).clamp(1, 32)..=(bits + 2).min(32))
        .rev()
        .map(|bits| (SignFamily::new(dimension, tables, bits, seed), bits as usize))
        .collect()
}

/// Families of cells for rows at this typical distance from their neighbours: 16 down to 2 hashes, cells 2, 4 and 8
/// times as wide.
///
/// # Panics
/// If the dimension or the number of tables is zero, or the distance is not finite and positive.
pub fn stable_families(dimension: usize, distance: f64, tables: usize, seed: u64) -> Vec<(StableFamily, usize)> {
    [16, 12, 8, 4, 2]
        .into_iter()
        .flat_map(|hashes| [2.0, 4.0, 8.0].map(|times| (hashes, times)))
        .map(|(hashes, times)| (StableFamily::new(dimension, tables, hashes, times * distance, seed), hashes))
        .collect()
}

/// Families of smallest hashes of sets: 12 down to 1 hashes.
///
/// # Panics
/// If the dimension or the number of tables is zero.
pub fn set_families(dimension: usize, tables: usize, seed: u64) -> Vec<(SetFamily, usize)> {
    [12, 8, 6, 4, 3, 2, 1].map(|hashes| (SetFamily::new(dimension, tables, hashes, seed), hashes)).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lsh::{Searcher, brute_force};
    use crate::made;

    fn blobs(n: usize, d: usize, salt: u64) -> Vec<f32> {
        made::blobs(n, d, 40, salt)
    }

    fn goal(recall: f64) -> Goal {
        Goal { recall, neighbours: 10, queries: 150, most_tables: 16, most_probes: 256, rows: 20_000 }
    }

    /// What is chosen on a sample reaches the recall on the whole, for rows that were not seen.
    fn reaches<F: Family>(families: &[(F, usize)], rows: &[f32], sample: &[f32], queries: &[f32], recall: f64) {
        let choice = choose(families, sample, Metric::Euclidean, goal(recall), 3).unwrap();
        let (family, d) = (&families[choice.family].0, 16);
        let tables = Tables::of_vectors(family, rows);
        let (mut searcher, mut found, mut hits, mut candidates) = (Searcher::new(), Vec::new(), 0, 0);
        for query in queries.chunks_exact(d) {
            let truth = brute_force(rows, Metric::Euclidean, query, 10);
            searcher.nearest(family, &tables, rows, Metric::Euclidean, query, choice.effort, 10, &mut found);
            hits += found.iter().filter(|f| truth.contains(f)).count();
            candidates += searcher.candidates(family, &tables, query, choice.effort).len();
        }
        let n = queries.len() / d;
        assert!(hits as f64 / (10 * n) as f64 >= recall, "{choice:?}: {hits} hits");
        let share = candidates as f64 / n as f64 / choice.candidates;
        assert!((0.5..2.0).contains(&share), "{choice:?}: {share}");
        assert!(choice.candidates < 0.25 * 20_000.0, "{choice:?}");
    }

    #[test]
    fn chosen_settings_reach_the_recall() {
        let rows = blobs(20_000, 16, 7);
        let (sample, queries) = (&rows[..2500 * 16], blobs(100, 16, 8));
        for recall in [0.7, 0.95] {
            reaches(&sign_families(16, 20_000, 16, 5), &rows, sample, &queries, recall);
            reaches(&stable_families(16, 0.4, 16, 5), &rows, sample, &queries, recall);
        }
    }

    #[test]
    fn what_cannot_be_reached_is_told() {
        let sample = blobs(500, 8, 1);
        let families = vec![(SignFamily::new(8, 1, 16, 2), 16)];
        let few = Goal { most_probes: 2, queries: 50, ..goal(0.999) };
        let error = choose(&families, &sample, Metric::Euclidean, few, 1).unwrap_err();
        assert!(error.best.recall < 0.999 && error.target == 0.999);
        assert_eq!(error.best.effort, Effort { tables: 1, probes: 2 });
        let alone = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        assert_eq!(alone.install(|| choose(&families, &sample, Metric::Euclidean, few, 1)), Err(error));
    }

    /// The slow twin tries every setting.
    #[test]
    fn same_as_trying_everything() {
        let sample = blobs(1500, 8, 4);
        let families = sign_families(8, 1500, 6, 2);
        let goal = Goal { most_tables: 6, most_probes: 48, queries: 60, rows: 6000, ..goal(0.8) };
        let trial = Trial::new(&sample, 8, Metric::Euclidean, (10, 60, 6000), 9);
        let mut expected: Option<(f64, usize, Effort)> = None;
        for (index, (family, hashes)) in families.iter().enumerate() {
            let all = Tables::of_vectors(family, &sample);
            for tables in [1, 2, 4, 6] {
                for probes in doubling(tables, 48) {
                    let effort = Effort { tables, probes };
                    let found = trial.of(family, &all, effort);
                    let cost = found.candidates * 4.0 + 2.0 * probes as f64 + (tables * hashes) as f64;
                    if sure(found.recall, 60) >= 0.8 && expected.is_none_or(|(least, ..)| cost < least) {
                        expected = Some((cost, index, effort));
                    }
                }
            }
        }
        let (_, index, Effort { tables, probes }) = expected.unwrap();
        let choice = choose(&families, &sample, Metric::Euclidean, goal, 9).unwrap();
        assert_eq!((choice.family, choice.effort.tables), (index, tables));
        assert!(choice.effort.probes <= probes && choice.effort.probes > probes / 2);
        // One probe less would not do, or was one that every table needs.
        let all = Tables::of_vectors(&families[index].0, &sample);
        let does = |probes| {
            let found = trial.of(&families[index].0, &all, Effort { tables, probes });
            sure(found.recall, 60) >= 0.8
        };
        assert!(does(choice.effort.probes) && (choice.effort.probes == tables || !does(choice.effort.probes - 1)));
    }

    #[test]
    fn certainty() {
        // Roots of the definition: |p - recall| = 1.645 sqrt(p (1 - p) / n).
        for (recall, n) in [(1.0, 60), (0.5, 10), (0.93, 300), (0.0, 5)] {
            let p = sure(recall, n);
            assert!(
                (recall - p - 1.645 * (p * (1.0 - p) / n as f64).max(0.0).sqrt()).abs() < 1e-7,
                "{recall} {n}: {p}"
            );
        }
        assert!(sure(1.0, 300) > 0.99 && sure(1.0, 260) < 0.99);
    }

    #[test]
    fn settings_double() {
        assert!(doubling(1, 5).eq([1, 2, 4, 5]) && doubling(3, 3).eq([3]) && doubling(4, 2).next().is_none());
    }
}
