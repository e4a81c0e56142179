//! Choice of the first centroids, as a small machine inside the run's: it asks for steps until it has k centroids.

use coterie_algorithms::{
    fixed::Scale,
    kmeans::init::{k_means_plus_plus, refine},
    random::{self, Purpose},
};
use serde::{Deserialize, Serialize};

use super::step::{Candidates, Partial, Step};
use crate::{error::RunError, training::Context};

/// Rounds of k-means||. Bahmani et al. (2012) find that five rounds with an oversampling of k match k-means++.
const ROUNDS: u32 = 5;
/// Further rounds allowed while fewer than k candidates were drawn.
const EXTRA_ROUNDS: u32 = 5;
/// Lloyd iterations on the weighted candidates, which are few.
const REFINEMENTS: usize = 10;
/// Rows sampled for k-means++, per cluster and at least.
const SAMPLE_PER_CLUSTER: usize = 32;
const SAMPLE_AT_LEAST: usize = 20_000;
/// Most values (rows x columns) in a k-means++ sample: 256 MiB.
const SAMPLE_VALUES: usize = 1 << 26;

/// How a restart begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Method {
    /// k rows drawn uniformly.
    Random,
    /// Greedy k-means++ on a sample.
    PlusPlus,
    /// k-means||.
    Parallel,
}

/// State of the choice.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum Stage {
    Sample,
    Seed,
    Draw { total: f64 },
    Weigh,
}

/// The choice of the first centroids of one restart.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Init {
    method: Method,
    clusters: usize,
    dimension: usize,
    rows: u64,
    seed: u64,
    /// Restart, from 0.
    restart: u64,
    round: u32,
    candidates: Candidates,
    stage: Stage,
}

impl Init {
    /// Begins the choice for a restart.
    #[must_use]
    pub fn new(method: Method, clusters: usize, dimension: usize, rows: u64, seed: u64, restart: u64) -> Self {
        Self {
            method,
            clusters,
            dimension,
            rows,
            seed,
            restart,
            round: 0,
            candidates: Candidates::default(),
            stage: Stage::Sample,
        }
    }

    /// The step wanted now.
    #[must_use]
    pub fn step(&self, context: &Context, scale: &Scale) -> Step {
        let context = context.clone();
        let candidates = || self.candidates.clone();
        match self.stage {
            Stage::Sample => Step::Sample { context, seed: self.seed, round: self.restart, count: self.sample_size() },
            Stage::Seed => Step::Seed { context, scale: scale.clone(), round: self.restart, candidates: candidates() },
            Stage::Draw { total } => Step::Draw {
                context,
                seed: self.seed,
                draw: (self.restart << 16) | u64::from(self.round),
                round: self.restart,
                candidates: candidates(),
                total,
                oversampling: self.clusters as f64,
                cap: 4 * self.clusters + 64,
            },
            Stage::Weigh => Step::Weigh { context, round: self.restart, candidates: candidates() },
        }
    }

    /// Takes the merged partial of the step; gives the centroids once they are chosen.
    ///
    /// # Errors
    /// When the partial does not belong to the step.
    pub fn advance(&mut self, merged: Partial, scale: &Scale) -> Result<Option<Vec<f32>>, RunError> {
        let stage = std::mem::replace(&mut self.stage, Stage::Weigh);
        match (stage, merged) {
            (Stage::Sample, Partial::Sample(sample)) => {
                let (_, rows) = sample.into_rows();
                match self.method {
                    Method::Random => return Ok(Some(rows)),
                    Method::PlusPlus => return Ok(Some(self.plus_plus(&rows, None))),
                    Method::Parallel => {
                        self.join(rows);
                        self.stage = Stage::Seed;
                    }
                }
            }
            (Stage::Seed, Partial::Potential(total)) => {
                let enough = self.candidate_count() >= self.clusters;
                let over = self.round >= ROUNDS && (enough || self.round >= ROUNDS + EXTRA_ROUNDS);
                self.stage =
                    if over || total == 0 { Stage::Weigh } else { Stage::Draw { total: scale.distance2(total) } };
            }
            (Stage::Draw { .. }, Partial::Sample(drawn)) => {
                let (_, rows) = drawn.into_rows();
                self.join(rows);
                self.round += 1;
                self.stage = Stage::Seed;
            }
            (Stage::Weigh, Partial::Weights(weights)) => {
                let weights: Vec<f64> = weights.into_iter().map(|count| count as f64).collect();
                let candidates = std::mem::take(&mut self.candidates).values;
                let chosen = self.plus_plus(&candidates, Some(&weights));
                return Ok(Some(refine(&candidates, self.dimension, Some(&weights), chosen, REFINEMENTS)));
            }
            (stage, _) => {
                self.stage = stage;
                return Err(RunError::transient("the answer to an initialisation step is of another kind"));
            }
        }
        Ok(None)
    }

    fn candidate_count(&self) -> usize {
        self.candidates.values.len() / self.dimension
    }

    fn join(&mut self, rows: Vec<f32>) {
        if !rows.is_empty() {
            self.candidates.values.extend(rows);
            self.candidates.batches.push(self.candidate_count());
        }
    }

    fn sample_size(&self) -> usize {
        let wanted = match self.method {
            Method::Random => self.clusters,
            Method::Parallel => 1,
            Method::PlusPlus => (self.clusters * SAMPLE_PER_CLUSTER)
                .max(SAMPLE_AT_LEAST)
                .min(SAMPLE_VALUES / self.dimension)
                .max(self.clusters),
        };
        wanted.min(usize::try_from(self.rows).unwrap_or(usize::MAX))
    }

    /// Greedy k-means++; repeats the last choice when there are fewer points than clusters (the first pass finds the
    /// empty clusters and moves them to the farthest rows).
    fn plus_plus(&self, points: &[f32], weights: Option<&[f64]>) -> Vec<f32> {
        let count = points.len() / self.dimension;
        let mut rng = random::rng(self.seed, Purpose::Seeding, self.restart);
        let mut chosen = k_means_plus_plus(points, self.dimension, weights, self.clusters.min(count), &mut rng);
        while let Some(last) = chosen.last().copied().filter(|_| chosen.len() < self.clusters) {
            chosen.push(last);
        }
        let row = |at: usize| &points[at * self.dimension..(at + 1) * self.dimension];
        chosen.into_iter().flat_map(|at| row(at).iter().copied()).collect()
    }
}
