//! Clustering by shared buckets as a pure state machine: merged partials in, steps out.

use std::ops::Range;

use coterie_algorithms::{
    kmeans::{self, Centroids, update},
    lsh::{Clusters, Components, Deal},
};
use coterie_crds::resolved::{Lsh, ResolvedJob};
use serde::{Deserialize, Serialize};

use super::{
    hashing::Hashing,
    step::{Partial, Step},
};
use crate::{
    error::RunError,
    machine::Position,
    training::{
        algorithm_metric,
        fitting::{Fit, Found},
        labels::{Given, Labels},
        preparation::Preparation,
        unexpected,
    },
};

/// Most rows. Their labels, up to 5 bytes per row in a message, then take a third of the size that is allowed.
const MOST_ROWS: u64 = 1 << 26;
/// Rows of a table per part: some 60 kB as they are sent, so that a gigabit link is done with one within a millisecond.
const PART_ROWS: u64 = 4096;
/// Rows times tables that a step looks at per worker, of which each takes 16 bytes and once more that while it is merged: an eighth of
/// a worker's memory, within these bounds.
const WORKER_KEYS: Range<u64> = 1 << 16..1 << 22;
const MEMORY_PER_KEY: u64 = 8 * 32;
/// Rows times tables that a step looks at, at most.
const MOST_KEYS: u64 = 1 << 24;
/// Bytes that a row takes in the answer, per table.
const KEY_BYTES: u64 = 14;
/// Widths that fit between the centre and the farthest corner of the rows: cells are counted in `f32`, which knows 2^24 of them.
const MOST_CELLS: f64 = (1u64 << 21) as f64;

/// Where it is.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum Stage {
    /// The rows are not prepared yet.
    Wait,
    /// The buckets from this part on are to be looked at.
    Buckets {
        next: u32,
        components: Components,
    },
    Sums {
        labels: Given,
        clusters: usize,
        noise: u64,
    },
    Done,
}

/// Whether so many rows can be clustered.
///
/// # Errors
/// When there are too many.
pub fn check_rows(job: &ResolvedJob, rows: u64) -> Result<(), RunError> {
    if rows <= MOST_ROWS {
        return Ok(());
    }
    Err(RunError::data(format!(
        "{}: {rows} rows, but spec.algorithm.lsh takes at most {MOST_ROWS}; cluster a sample of them and let serving assign the \
         others, or use kMeans",
        job.source.uri
    )))
}

/// The state between the prepared rows and the clusters.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LshMachine {
    params: Lsh,
    deal: Deal,
    /// Rows times tables that a step looks at, per worker.
    worker_keys: u64,
    /// Parts that a step looks at.
    parts: u32,
    stage: Stage,
}

impl LshMachine {
    /// Not begun, with workers that may use `memory` bytes each.
    #[must_use]
    pub fn new(params: Lsh, memory: u64) -> Self {
        let deal = Deal { tables: params.tables, bits: 0 };
        let worker_keys = (memory / MEMORY_PER_KEY).clamp(WORKER_KEYS.start, WORKER_KEYS.end);
        Self { params, deal, worker_keys, parts: 1, stage: Stage::Wait }
    }

    /// The rows are prepared; they are no more than [`check_rows`] allows.
    ///
    /// # Errors
    /// When the cells are too narrow for them.
    pub fn begin(&mut self, job: &ResolvedJob, rows: &Preparation) -> Result<(), RunError> {
        if let Some(width) = self.params.width {
            let reach = rows.max_abs.iter().map(|most| f64::from(*most).powi(2)).sum::<f64>().sqrt();
            if reach > width * MOST_CELLS {
                return Err(RunError::spec(format!(
                    "spec.algorithm.lsh.width is {width}, but rows are up to {reach:.3e} from their mean (after the feature \
                     steps): so many cells cannot be told apart; use at least {:.3e}",
                    // More than what is missing by rounding the number.
                    reach / MOST_CELLS * 1.001
                )));
            }
        }
        let bits = (rows.rows / PART_ROWS).checked_ilog2().map_or(0, |bits| bits + 1);
        let keys = (u64::from(job.workers) * self.worker_keys).min(MOST_KEYS);
        self.deal.bits = bits;
        self.parts = (keys / (rows.rows >> bits).max(1)).clamp(1, u64::from(self.deal.parts())) as u32;
        self.stage = Stage::Buckets { next: 0, components: Components::new(rows.rows as usize) };
        Ok(())
    }

    /// The step wanted now; `None` once the clusters are found.
    #[must_use]
    pub fn step(&self, job: &ResolvedJob, rows: &Preparation) -> Option<Step> {
        match &self.stage {
            Stage::Buckets { next, .. } => Some(Step::Buckets {
                context: rows.context(),
                hashing: Hashing::new(&self.params, job.metric, job.seed),
                deal: self.deal,
                parts: self.range(*next),
            }),
            Stage::Sums { labels, clusters, .. } => Some(Step::Sums {
                context: rows.context(),
                scale: rows.scale().ok()?.clone(),
                labels: labels.clone(),
                clusters: *clusters,
            }),
            Stage::Wait | Stage::Done => None,
        }
    }

    /// The parts of the step that begins with this one.
    fn range(&self, next: u32) -> Range<u32> {
        next..next.saturating_add(self.parts).min(self.deal.parts())
    }

    /// Takes the merged partial of the step; gives the clusters once they are found.
    ///
    /// # Errors
    /// When it does not belong to the step, or there are no clusters or too many.
    pub fn advance(
        &mut self,
        merged: Partial,
        job: &ResolvedJob,
        rows: &Preparation,
    ) -> Result<Option<Found>, RunError> {
        let stage = std::mem::replace(&mut self.stage, Stage::Done);
        match (stage, merged) {
            (Stage::Buckets { next, mut components }, Partial::Buckets(buckets))
                if buckets.len() == self.range(next).len() =>
            {
                buckets.connect(&mut components).map_err(|_| unexpected())?;
                let next = self.range(next).end;
                self.stage = if next < self.deal.parts() {
                    Stage::Buckets { next, components }
                } else {
                    self.connected(&components, job)?
                };
                Ok(None)
            }
            (Stage::Sums { labels, clusters, noise }, Partial::Sums(sums))
                if sums.has_shape_of(&kmeans::Partial::new(clusters, rows.dimension())) =>
            {
                // Rows of unit length that cancel out have no mean direction: such a centroid stays at the origin.
                let origin = Centroids::new(rows.dimension(), vec![0.0; clusters * rows.dimension()]);
                let centroids = update(algorithm_metric(job.metric), &origin, &sums, rows.scale()?).centroids;
                let fit = Fit { centroids, iterations: 0, converged: true, inertia: 0.0 };
                Ok(Some(Found { fit, labels: Labels::Given(labels), noise: Some(noise) }))
            }
            (stage, _) => {
                self.stage = stage;
                Err(unexpected())
            }
        }
    }

    /// All buckets have been looked at.
    fn connected(&self, components: &Components, job: &ResolvedJob) -> Result<Stage, RunError> {
        let Lsh { min_cluster_size: least, max_clusters: most, .. } = self.params;
        let Clusters { labels, count, noise, largest } = Clusters::of(components, least);
        let uri = &job.source.uri;
        let wider = if self.params.width.is_some() { "a greater width, fewer hashes" } else { "fewer hashes" };
        if count == 0 {
            return Err(RunError::data(format!(
                "{uri}: no {least} rows hang together, the most that do are {largest} of {}; {wider} or more tables in \
                 spec.algorithm.lsh let more rows share a bucket, and a smaller minClusterSize makes clusters of fewer rows",
                components.len()
            )));
        }
        if count > most {
            return Err(RunError::data(format!(
                "{uri}: there are {count} clusters of at least {least} rows, but spec.algorithm.lsh.maxClusters is {most}; \
                 {wider} or more tables let more rows hang together, a greater minClusterSize leaves small clusters out, and \
                 a greater maxClusters allows for more"
            )));
        }
        Ok(Stage::Sums { labels: Given::new(labels), clusters: count, noise })
    }

    /// About how many bytes a worker's answer to a step takes.
    #[must_use]
    pub fn answer_bytes(&self, step: &Step, job: &ResolvedJob) -> u64 {
        match (step, &self.stage) {
            (Step::Buckets { parts, .. }, Stage::Buckets { components, .. }) => {
                let rows = components.len() as u64 >> self.deal.bits;
                parts.len() as u64 * rows * KEY_BYTES / u64::from(job.workers.max(1))
            }
            (Step::Sums { context, clusters, .. }, _) => 7 * (clusters * context.pipeline.output_dimension()) as u64,
            (Step::Buckets { .. }, _) => 0,
        }
    }

    /// Where it stands.
    #[must_use]
    pub fn position(&self) -> Position {
        let once = Position { stage: "Sum", restart: 1, restarts: 1, ..Position::default() };
        match &self.stage {
            Stage::Buckets { next, .. } => Position {
                stage: "Hash",
                iteration: next / self.parts,
                max_iterations: self.deal.parts().div_ceil(self.parts),
                ..once
            },
            Stage::Wait | Stage::Sums { .. } | Stage::Done => once,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use coterie_algorithms::lsh::{BucketPartial, Collector, NOISE};
    use coterie_crds::resolved::{Algorithm, Metric};

    use super::*;
    use crate::{
        lsh::{compute::pass, hashing::Rows},
        machine::Merge,
        shard::store::tests::store,
        training::tests,
    };

    /// Of each worker.
    const MEMORY: u64 = 1 << 30;

    fn job(params: &Lsh) -> ResolvedJob {
        let metric = if params.width.is_some() { Metric::Euclidean } else { Metric::Cosine };
        ResolvedJob { algorithm: Algorithm::Lsh(params.clone()), metric, ..tests::job(2) }
    }

    fn params(width: f64) -> Lsh {
        Lsh { tables: 3, hashes: 2, width: Some(width), min_cluster_size: 3, max_clusters: 100 }
    }

    /// The machine after all buckets, of which these rows share one each.
    fn connected(params: &Lsh, count: u64, groups: &[&[u32]]) -> Result<LshMachine, RunError> {
        let job = job(params);
        let rows = tests::prepared(&job, count, 3, 1.0);
        let mut machine = LshMachine::new(params.clone(), MEMORY);
        machine.begin(&job, &rows)?;
        while let Some(Step::Buckets { parts, .. }) = machine.step(&job, &rows) {
            let mut collector = Collector::new(parts.len(), 100);
            for (key, group) in (0..).zip(groups) {
                group.iter().for_each(|row| collector.push(0, key, *row));
            }
            machine.advance(Partial::Buckets(collector.finish()), &job, &rows)?;
        }
        Ok(machine)
    }

    /// The slow twin: spreads the lowest row of each bucket until nothing changes.
    fn twin(values: &[f32], params: &Lsh, job: &ResolvedJob) -> Vec<u32> {
        let n = values.len() / 3;
        let mut lowest: Vec<usize> = (0..n).collect();
        let tables: Vec<Vec<u64>> = (0..params.tables)
            .map(|table| {
                let mut keys = Vec::new();
                Hashing::new(params, job.metric, job.seed).table(3, table).keys(&Rows::new(values, 3), &mut keys);
                keys
            })
            .collect();
        loop {
            let before = lowest.clone();
            for keys in &tables {
                let mut least: HashMap<u64, usize> = HashMap::new();
                for (key, row) in keys.iter().zip(&lowest) {
                    let least = least.entry(*key).or_insert(*row);
                    *least = (*least).min(*row);
                }
                keys.iter().zip(&mut lowest).for_each(|(key, row)| *row = least[key]);
            }
            if lowest == before {
                break;
            }
        }
        let size = |of: usize| lowest.iter().filter(|row| **row == of).count() as u64;
        let clusters: Vec<usize> =
            (0..n).filter(|row| lowest[*row] == *row && size(*row) >= params.min_cluster_size).collect();
        let label = |row: &usize| clusters.iter().position(|cluster| cluster == row).map_or(NOISE, |at| at as u32);
        lowest.iter().map(label).collect()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn labels_are_those_of_a_search_over_all_keys() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = store(directory.path()).await;
        let mut counts = Vec::new();
        for (width, bits, parts) in [(9.0, 0, 6), (11.0, 2, 5), (14.0, 3, 1)] {
            let params = Lsh { tables: 6, min_cluster_size: 2, ..params(width) };
            let job = job(&params);
            let rows = tests::prepared(&job, 100, 3, 300.0);
            store.prepare(&[0], &rows.pipeline).await.unwrap();
            let mut machine = LshMachine::new(params.clone(), MEMORY);
            machine.begin(&job, &rows).unwrap();
            (machine.deal.bits, machine.parts) = (bits, parts);
            let mut found = None;
            tokio::task::block_in_place(|| {
                while let Some(step) = machine.step(&job, &rows) {
                    let partial = pass(&step, &[0], &mut store).unwrap();
                    found = machine.advance(Partial::join(partial.cut()).unwrap(), &job, &rows).unwrap();
                }
            });
            let values = store.pass(&[0], Vec::new, |all: &mut Vec<f32>, item, buffers| {
                all.extend_from_slice(item.chunk.values(&mut buffers.rows)?);
                Ok(())
            });
            let values = values.unwrap().concat();
            let labels = twin(&values, &params, &job);
            let clusters = labels.iter().filter(|label| **label != NOISE).max().map_or(0, |most| most + 1) as usize;
            counts.push(clusters);
            let found = found.unwrap();
            assert_eq!(found.labels, Labels::Given(Given::new(labels.clone())), "width {width}");
            assert_eq!(found.noise, Some(labels.iter().filter(|label| **label == NOISE).count() as u64));
            // Centroids are means.
            assert_eq!(found.fit.centroids.len(), 3 * clusters);
            let members = || (0..100).filter(|row| labels[*row] == 0);
            let mean = members().map(|row| f64::from(values[3 * row])).sum::<f64>() / members().count() as f64;
            assert!((f64::from(found.fit.centroids[0]) - mean).abs() < 1e-4, "width {width}");
        }
        assert!(counts.iter().any(|clusters| *clusters > 1), "{counts:?}");
    }

    #[test]
    fn the_number_of_clusters_is_bounded_on_both_sides() {
        let error = connected(&params(1.0), 9, &[&[0, 4], &[2, 3]]).unwrap_err();
        assert_eq!(error.exit_code, 65);
        assert!(
            error.message.contains("no 3 rows hang together, the most that do are 2 of 9; a greater width"),
            "{error}"
        );

        let few = Lsh { max_clusters: 1, ..params(1.0) };
        assert!(connected(&few, 9, &[&[0, 4, 5], &[2, 3]]).is_ok());
        let error = connected(&few, 9, &[&[0, 4, 5], &[2, 3, 6]]).unwrap_err();
        assert!(error.message.contains("there are 2 clusters of at least 3 rows") && !error.is_transient(), "{error}");
        let planes = Lsh { width: None, ..few };
        let error = connected(&planes, 9, &[&[0, 4, 5], &[2, 3, 6]]).unwrap_err();
        assert!(!error.message.contains("width"), "{error}");
    }

    #[test]
    fn what_cannot_be_hashed_is_refused_before_it_is() {
        let begin = |count: u64, width: f64, memory: u64| {
            let (job, mut machine) = (job(&params(width)), LshMachine::new(params(width), memory));
            machine.begin(&job, &tests::prepared(&job, count, 3, 1000.0)).map(|()| machine)
        };
        let error = begin(10, 1e-9, MEMORY).unwrap_err();
        assert_eq!(error.exit_code, 64);
        assert!(error.message.contains("spec.algorithm.lsh.width is 0.000000001"), "{error}");
        // Many rows: as many parts as it takes, in steps of bounded size.
        for (memory, keys) in [(MEMORY, 1 << 22), (256 << 20, 1 << 20), (1 << 20, 1 << 16), (1 << 40, 1 << 22)] {
            let machine = begin(1 << 22, 1.0, memory).unwrap();
            assert_eq!(machine.deal, Deal { tables: 3, bits: 11 });
            assert_eq!(u64::from(machine.parts) * (1 << 11), keys, "{memory} bytes");
        }
        assert_eq!(begin(10, 1.0, MEMORY).unwrap().parts, 3);
    }

    #[test]
    fn strange_partials_leave_the_machine_where_it_was() {
        let job = job(&params(1.0));
        let rows = tests::prepared(&job, 9, 3, 1.0);
        let mut machine = LshMachine::new(params(1.0), MEMORY);
        machine.begin(&job, &rows).unwrap();
        for strange in [Partial::Buckets(BucketPartial::default()), Partial::Sums(kmeans::Partial::new(1, 3))] {
            assert!(machine.advance(strange, &job, &rows).unwrap_err().is_transient());
            assert!(matches!(machine.stage, Stage::Buckets { next: 0, .. }));
        }
        let buckets = || Partial::Buckets(Collector::new(3, 100).finish());
        let sums = || Partial::Sums(kmeans::Partial::new(1, 3));
        assert!(buckets().merge(Partial::Buckets(BucketPartial::default())).is_err());
        assert!(buckets().merge(sums()).is_err());
        assert!(Partial::join(vec![buckets(), sums()]).is_err());
        assert!(Partial::join(Vec::new()).is_err());
    }
}
