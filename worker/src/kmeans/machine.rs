//! k-means as a pure state machine: merged partials in, steps out.

use coterie_algorithms::kmeans::{self, Centroids, inertia_of, relocate, update};
use coterie_crds::resolved::{self, KMeans, ResolvedJob};
use serde::{Deserialize, Serialize};

use super::{
    init::{Init, Method},
    step::{Partial, Step},
};
use crate::{
    error::RunError,
    machine::Position,
    training::{algorithm_metric, fitting::Fit, preparation::Preparation, unexpected},
};

/// Where it is.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum Stage {
    /// The rows are not prepared yet.
    Wait,
    Init(Init),
    Iterate,
    Relocate {
        sums: kmeans::Partial,
        empty: Vec<u32>,
    },
    /// The inertia at a restart's final centroids.
    Score,
    Done,
}

/// The state between the prepared rows and the final centroids.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KMeansMachine {
    params: KMeans,
    /// Warm start: k x d_in in the source's columns.
    initial: Option<Vec<f32>>,
    stage: Stage,
    /// Restart, from 0.
    restart: u32,
    current: Fit,
    shift: f64,
    best: Option<Fit>,
}

impl KMeansMachine {
    /// Not begun. `initial` are the centroids of a warm start, in the source's columns.
    #[must_use]
    pub fn new(params: KMeans, initial: Option<Vec<f32>>) -> Self {
        Self { params, initial, stage: Stage::Wait, restart: 0, current: Fit::default(), shift: 0.0, best: None }
    }

    /// The rows are prepared.
    ///
    /// # Errors
    /// When there are fewer distinct rows than clusters.
    pub fn begin(&mut self, job: &ResolvedJob, rows: &Preparation) -> Result<(), RunError> {
        let distinct = rows.distinct;
        if distinct < self.params.clusters {
            return Err(RunError::data(format!(
                "{}: only {distinct} of {} rows are distinct after the feature steps, but \
                 spec.algorithm.kMeans.clusters is {}; ask for at most {distinct} clusters",
                job.source.uri, rows.rows, self.params.clusters
            )));
        }
        self.begin_restart(job, rows)
    }

    /// The step wanted now; `None` once the centroids are found.
    #[must_use]
    pub fn step(&self, rows: &Preparation) -> Option<Step> {
        let scale = || rows.scale().ok().cloned();
        let centroids = || self.current.centroids.clone();
        Some(match &self.stage {
            Stage::Init(init) => init.step(&rows.context(), &scale()?),
            Stage::Iterate | Stage::Score => {
                Step::Assign { context: rows.context(), scale: scale()?, centroids: centroids() }
            }
            Stage::Relocate { empty, .. } => {
                Step::Farthest { context: rows.context(), centroids: centroids(), count: empty.len() }
            }
            Stage::Wait | Stage::Done => return None,
        })
    }

    /// Takes the merged partial of the step.
    ///
    /// # Errors
    /// When it does not belong to the step.
    pub fn advance(&mut self, merged: Partial, job: &ResolvedJob, rows: &Preparation) -> Result<(), RunError> {
        let scale = rows.scale()?;
        let stage = std::mem::replace(&mut self.stage, Stage::Done);
        match (stage, merged) {
            (Stage::Init(mut init), partial) => {
                if let Some(centroids) = init.advance(partial, scale)? {
                    self.current.centroids = centroids;
                    self.stage = Stage::Iterate;
                } else {
                    self.stage = Stage::Init(init);
                }
                Ok(())
            }
            (Stage::Iterate, Partial::Sums(sums)) if self.fits(&sums, rows) => self.summed(sums, job, rows),
            (Stage::Score, Partial::Sums(sums)) if self.fits(&sums, rows) => {
                let inertia = inertia_of(&self.centroids(rows), &sums, scale, rows.total_squares);
                self.scored(inertia, job, rows)
            }
            (Stage::Relocate { mut sums, empty }, Partial::Farthest(farthest)) => {
                relocate(&mut sums, &empty, &farthest.into_sorted(), scale);
                let step = update(algorithm_metric(job.metric), &self.centroids(rows), &sums, scale);
                self.moved(step.centroids, step.shift, rows);
                Ok(())
            }
            (stage, _) => {
                self.stage = stage;
                Err(unexpected())
            }
        }
    }

    /// Where it stands.
    #[must_use]
    pub fn position(&self) -> Position {
        Position {
            stage: if matches!(self.stage, Stage::Init(_)) { "Init" } else { "Iterate" },
            iteration: self.current.iterations,
            max_iterations: self.params.max_iterations,
            restart: self.restart + 1,
            restarts: self.restarts(),
            inertia: (self.current.iterations > 0).then_some(self.current.inertia),
            shift: self.shift,
            ..Position::default()
        }
    }

    /// The best fit, once it is found.
    #[must_use]
    pub fn fit(&self) -> Option<&Fit> {
        matches!(self.stage, Stage::Done).then_some(&self.current)
    }

    fn centroids(&self, rows: &Preparation) -> Centroids {
        Centroids::new(rows.dimension(), self.current.centroids.clone())
    }

    /// Whether sums are of the current centroids: they arrive from elsewhere, and what follows relies on their shape.
    fn fits(&self, sums: &kmeans::Partial, rows: &Preparation) -> bool {
        let values = self.current.centroids.len();
        sums.dimension as usize == rows.dimension()
            && sums.sums.len() == values
            && sums.counts.len() * rows.dimension() == values
    }

    fn begin_restart(&mut self, job: &ResolvedJob, rows: &Preparation) -> Result<(), RunError> {
        self.current = Fit::default();
        self.shift = 0.0;
        if let Some(initial) = &self.initial {
            let mut centroids = Vec::new();
            rows.pipeline.apply(initial, &mut centroids);
            self.current.centroids = centroids;
            self.stage = Stage::Iterate;
            return Ok(());
        }
        let method = match self.params.init {
            resolved::Init::KMeansParallel => Method::Parallel,
            resolved::Init::KMeansPlusPlus => Method::PlusPlus,
            resolved::Init::Random => Method::Random,
            resolved::Init::WarmStart { .. } => {
                return Err(RunError::transient("the checkpoint lacks the centroids of the warm start"));
            }
        };
        self.stage = Stage::Init(Init::new(
            method,
            self.params.clusters,
            rows.dimension(),
            rows.rows,
            job.seed,
            u64::from(self.restart),
        ));
        Ok(())
    }

    fn summed(&mut self, sums: kmeans::Partial, job: &ResolvedJob, rows: &Preparation) -> Result<(), RunError> {
        let scale = rows.scale()?;
        let step = update(algorithm_metric(job.metric), &self.centroids(rows), &sums, scale);
        self.current.inertia = inertia_of(&self.centroids(rows), &sums, scale, rows.total_squares);
        if step.empty.is_empty() {
            self.moved(step.centroids, step.shift, rows);
        } else {
            self.stage = Stage::Relocate { sums, empty: step.empty };
        }
        Ok(())
    }

    fn moved(&mut self, centroids: Vec<f32>, shift: f64, rows: &Preparation) {
        self.current.centroids = centroids;
        self.current.iterations += 1;
        self.shift = shift;
        self.current.converged = shift <= self.params.tolerance * rows.total_variance / rows.dimension() as f64;
        self.stage = if !self.current.converged && self.current.iterations < self.params.max_iterations {
            Stage::Iterate
        } else if self.restarts() == 1 {
            self.best = Some(self.current.clone());
            Stage::Done
        } else {
            Stage::Score
        };
    }

    fn scored(&mut self, inertia: f64, job: &ResolvedJob, rows: &Preparation) -> Result<(), RunError> {
        self.current.inertia = inertia;
        if self.best.as_ref().is_none_or(|best| inertia < best.inertia) {
            self.best = Some(self.current.clone());
        }
        self.restart += 1;
        if self.restart < self.restarts() {
            return self.begin_restart(job, rows);
        }
        if let Some(best) = &self.best {
            self.current = best.clone();
        }
        self.stage = Stage::Done;
        Ok(())
    }

    /// A warm start has nothing random, so further restarts would repeat it.
    fn restarts(&self) -> u32 {
        if self.initial.is_some() { 1 } else { self.params.restarts.max(1) }
    }
}

#[cfg(test)]
mod tests {
    use coterie_crds::resolved::Algorithm;

    use super::*;
    use crate::training::tests;

    #[test]
    fn sums_of_another_shape_leave_the_machine_where_it_was() {
        let job = tests::job(2);
        let Algorithm::KMeans(params) = job.algorithm.clone() else { panic!("a k-means job") };
        let mut machine = KMeansMachine::new(params, None);
        machine.current.centroids = vec![0.0; 6];
        let rows = tests::prepared(&job, 10, 3, 1.0);
        for stage in [Stage::Iterate, Stage::Score] {
            machine.stage = stage;
            let odd = kmeans::Partial { dimension: 3, sums: vec![0; 6], counts: vec![1; 3], inertia: 0 };
            for sums in [kmeans::Partial::new(3, 3), kmeans::Partial::new(3, 2), kmeans::Partial::new(0, 0), odd] {
                assert!(machine.advance(Partial::Sums(sums), &job, &rows).unwrap_err().is_transient());
                assert!(matches!(machine.stage, Stage::Iterate | Stage::Score));
            }
        }
    }
}
