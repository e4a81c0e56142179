//! The algorithm of a run: the steps between the prepared rows and the clusters.

use coterie_crds::resolved::{Algorithm, ResolvedJob};
use serde::{Deserialize, Serialize};

use super::{
    labels::Labels,
    preparation::Preparation,
    step::{Partial, Step},
    unexpected,
};
use crate::{
    error::RunError,
    kmeans::{self, KMeansMachine},
    lsh::{self, LshMachine},
    machine::Position,
};

/// Clusters by their centroids.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Fit {
    /// k x d, in the pipeline's output space.
    pub centroids: Vec<f32>,
    /// Passes made; 0 for an algorithm that does not iterate.
    pub iterations: u32,
    /// Whether the centroids came to rest within the tolerance.
    pub converged: bool,
    /// Sum of squared distances, as of the last pass.
    pub inertia: f64,
}

/// What an algorithm found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// The clusters.
    pub fit: Fit,
    /// Which cluster each row belongs to.
    pub labels: Labels,
    /// Rows that belong to none; `None` for an algorithm that knows no such rows.
    pub noise: Option<u64>,
}

/// An algorithm at work, as a pure state machine inside the run's.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Fitting {
    /// k-means.
    KMeans(Box<KMeansMachine>),
    /// Components of rows that share buckets.
    Lsh(Box<LshMachine>),
}

impl Fitting {
    /// The algorithm of a job. `initial` are the centroids of a warm start, in the source's columns; the workers may use `memory`
    /// bytes each.
    #[must_use]
    pub fn new(job: &ResolvedJob, initial: Option<Vec<f32>>, memory: u64) -> Self {
        match &job.algorithm {
            Algorithm::KMeans(params) => Self::KMeans(Box::new(KMeansMachine::new(params.clone(), initial))),
            Algorithm::Lsh(params) => Self::Lsh(Box::new(LshMachine::new(params.clone(), memory))),
        }
    }

    /// Up to how many distinct rows have to be counted for it.
    #[must_use]
    pub fn most_distinct(job: &ResolvedJob) -> usize {
        match &job.algorithm {
            Algorithm::KMeans(params) => params.clusters,
            Algorithm::Lsh(_) => 1,
        }
    }

    /// Whether so many rows can be clustered; asked as soon as their number is known.
    ///
    /// # Errors
    /// When there are too many for the algorithm.
    pub fn check_rows(job: &ResolvedJob, rows: u64) -> Result<(), RunError> {
        match &job.algorithm {
            Algorithm::KMeans(_) => Ok(()),
            Algorithm::Lsh(_) => lsh::machine::check_rows(job, rows),
        }
    }

    /// The rows are prepared.
    ///
    /// # Errors
    /// When they are not what the algorithm needs.
    pub fn begin(&mut self, job: &ResolvedJob, rows: &Preparation) -> Result<(), RunError> {
        match self {
            Self::KMeans(machine) => machine.begin(job, rows),
            Self::Lsh(machine) => machine.begin(job, rows),
        }
    }

    /// The step wanted now; `None` once it is done.
    #[must_use]
    pub fn step(&self, job: &ResolvedJob, rows: &Preparation) -> Option<Step> {
        match self {
            Self::KMeans(machine) => machine.step(rows).map(Step::KMeans),
            Self::Lsh(machine) => machine.step(job, rows).map(Step::Lsh),
        }
    }

    /// Takes the merged partial of the step; gives the clusters once they are found.
    ///
    /// # Errors
    /// When it does not belong to the step, or there can be no clusters.
    pub fn advance(
        &mut self,
        merged: Partial,
        job: &ResolvedJob,
        rows: &Preparation,
    ) -> Result<Option<Found>, RunError> {
        match (self, merged) {
            (Self::KMeans(machine), Partial::KMeans(partial)) => {
                machine.advance(partial, job, rows)?;
                Ok(machine.fit().map(|fit| Found { fit: fit.clone(), ..Found::default() }))
            }
            (Self::Lsh(machine), Partial::Lsh(partial)) => machine.advance(partial, job, rows),
            _ => Err(unexpected()),
        }
    }

    /// About how many bytes a worker's answer to a step takes; 0 where that is little.
    #[must_use]
    pub fn answer_bytes(&self, step: &Step, job: &ResolvedJob) -> u64 {
        match (self, step) {
            (_, Step::KMeans(kmeans::Step::Assign { centroids, .. })) => 7 * centroids.len() as u64,
            (Self::Lsh(machine), Step::Lsh(step)) => machine.answer_bytes(step, job),
            _ => 0,
        }
    }

    /// Where it stands.
    #[must_use]
    pub fn position(&self) -> Position {
        match self {
            Self::KMeans(machine) => machine.position(),
            Self::Lsh(machine) => machine.position(),
        }
    }
}
