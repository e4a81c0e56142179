//! The run as a pure state machine: merged partials in, steps out.

use coterie_algorithms::{features::Pipeline, fixed::Scale, score::Contingency};
use coterie_crds::resolved::ResolvedJob;
use coterie_model::items::Items;
use serde::{Deserialize, Serialize};

use super::{
    algorithm_metric,
    evaluation::Evaluation,
    fitting::{Fit, Fitting, Found},
    preparation::Preparation,
    sampling::{Draw, sample_rows},
    step::{Partial, Published, Step, Wanted},
    unexpected,
};
use crate::{
    error::RunError,
    machine::{Machine, Position},
};

/// Everything a finished run knows.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// The fitted pipeline, which ends in an implicit step (centre or unit length) unless rows are sets.
    pub pipeline: Pipeline,
    /// The clusters.
    pub fit: Fit,
    /// Rows that belong to none, where the algorithm knows such rows.
    pub noise: Option<u64>,
    /// Scale of the sums in `evaluation`.
    pub scale: Scale,
    /// Statistics at the final centroids.
    pub evaluation: Evaluation,
    /// Mean column variance times columns: the total sum of squares is this times the rows.
    pub total_variance: f64,
    /// Kept rows.
    pub rows: u64,
    /// Rows left out.
    pub dropped: u64,
    /// Identifies the input's rows.
    pub fingerprint: u128,
    /// Ordinal of the first kept row of each split.
    pub offsets: Vec<u64>,
    /// Known classes against clusters.
    pub contingency: Option<Contingency>,
    /// The rows, where they were written.
    pub items: Option<Items>,
}

/// Where the run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Stage {
    Prepare,
    Fit,
    Evaluate,
    Sample,
    Publish,
    Done,
}

/// The run's state; all of it is the checkpoint.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TrainingMachine {
    job: ResolvedJob,
    stage: Stage,
    rows: Preparation,
    fitting: Fitting,
    found: Found,
    /// The part of the sample that is taken now.
    draw: Option<Draw>,
    evaluation: Option<Box<Evaluation>>,
    contingency: Option<Contingency>,
    items: Option<Items>,
}

impl TrainingMachine {
    /// A run over `splits` splits of rows with `dimension` columns. `initial` are the centroids of a warm start, in the
    /// source's columns. The workers may use `memory` bytes each, which bounds what a step asks of them and changes no result.
    #[must_use]
    pub fn new(job: ResolvedJob, (splits, dimension): (u32, usize), initial: Option<Vec<f32>>, memory: u64) -> Self {
        Self {
            stage: Stage::Prepare,
            rows: Preparation::new(splits, dimension, Fitting::most_distinct(&job)),
            fitting: Fitting::new(&job, initial, memory),
            found: Found::default(),
            draw: None,
            evaluation: None,
            contingency: None,
            items: None,
            job,
        }
    }

    fn prepare(&mut self, merged: Partial) -> Result<(), RunError> {
        self.rows.advance(merged, &self.job)?;
        Fitting::check_rows(&self.job, self.rows.rows)?;
        if self.rows.is_done() {
            self.fitting.begin(&self.job, &self.rows)?;
            self.stage = Stage::Fit;
        }
        Ok(())
    }

    fn fit(&mut self, merged: Partial) -> Result<(), RunError> {
        if let Some(found) = self.fitting.advance(merged, &self.job, &self.rows)? {
            self.found = found;
            self.draw = self.next_draw(0);
            self.stage = Stage::Evaluate;
        }
        Ok(())
    }

    fn evaluated(&mut self, evaluation: Box<Evaluation>) -> Result<(), RunError> {
        self.found.fit.inertia = self.rows.scale()?.distance2(evaluation.inertia());
        self.sampled(evaluation);
        Ok(())
    }

    /// Statistics are there, and as much of the sample as was taken.
    fn sampled(&mut self, evaluation: Box<Evaluation>) {
        self.draw = self.draw.and_then(|_| self.next_draw(evaluation.sample.len()));
        self.evaluation = Some(evaluation);
        self.stage = match self.draw {
            Some(_) => Stage::Sample,
            None if self.wanted().any() => Stage::Publish,
            None => Stage::Done,
        };
    }

    /// Rows in the sample.
    fn sample_rows(&self) -> usize {
        sample_rows(self.job.evaluation.sample_size, self.rows.dimension())
    }

    /// What is to be drawn next when so many rows of the sample are there.
    fn next_draw(&self, taken: usize) -> Option<Draw> {
        let missing = self.sample_rows().saturating_sub(taken) as u64;
        let population = self.rows.rows - self.found.noise.unwrap_or(0).min(self.rows.rows);
        Draw::next(self.draw, missing, population, self.rows.dimension())
    }

    fn wanted(&self) -> Wanted {
        Wanted {
            assignments: self.job.output.as_ref().is_some_and(|output| output.assignments),
            items: self.job.items.is_some(),
            labels: self.job.source.columns.label.is_some(),
        }
    }
}

impl Machine for TrainingMachine {
    type Step = Step;
    type Partial = Partial;
    type Outcome = Outcome;

    fn answer_bytes(&self, step: &Step) -> u64 {
        match step {
            // Sums of products, 128 bits each, of which seven in eight are sent.
            Step::Moments { pipeline, covariance: true, .. } => 7 * (pipeline.output_dimension() as u64).pow(2),
            step => self.fitting.answer_bytes(step, &self.job),
        }
    }

    fn step(&self) -> Option<Step> {
        let context = || self.rows.context();
        let (centroids, labels) = (|| self.found.fit.centroids.clone(), || self.found.labels.clone());
        match self.stage {
            Stage::Prepare => self.rows.step(&self.job),
            Stage::Fit => self.fitting.step(&self.job, &self.rows),
            Stage::Evaluate => Some(Step::Evaluate {
                context: context(),
                scale: self.rows.scale().ok()?.clone(),
                centroids: centroids(),
                labels: labels(),
                metric: algorithm_metric(self.job.metric),
                seed: self.job.seed,
                sample: self.sample_rows(),
                draw: self.draw,
            }),
            Stage::Sample => Some(Step::Sample {
                context: context(),
                centroids: centroids(),
                labels: labels(),
                seed: self.job.seed,
                sample: self.sample_rows(),
                draw: self.draw?,
            }),
            Stage::Publish => Some(Step::Publish {
                context: context(),
                centroids: centroids(),
                labels: labels(),
                wanted: self.wanted(),
            }),
            Stage::Done => None,
        }
    }

    fn advance(&mut self, merged: Partial) -> Result<(), RunError> {
        match (self.stage, merged) {
            (Stage::Prepare, merged) => self.prepare(merged),
            (Stage::Fit, merged) => self.fit(merged),
            (Stage::Evaluate, Partial::Evaluation(evaluation)) => self.evaluated(evaluation),
            (Stage::Sample, Partial::Sampled(sample)) => {
                let evaluation = self.evaluation.take().filter(|known| known.sample.has_shape_of(&sample));
                let mut evaluation = evaluation.ok_or_else(unexpected)?;
                evaluation.sample.merge(sample);
                self.sampled(evaluation);
                Ok(())
            }
            (Stage::Publish, Partial::Published(published)) => {
                let Published { contingency, parts } = published;
                self.contingency = self.wanted().labels.then_some(contingency);
                self.items = self.wanted().items.then(|| Items::new(parts.into_values().collect()));
                self.stage = Stage::Done;
                Ok(())
            }
            _ => Err(unexpected()),
        }
    }

    fn position(&self) -> Position {
        let position = self.fitting.position();
        let stage = match self.stage {
            Stage::Prepare => self.rows.stage(),
            Stage::Fit => position.stage,
            Stage::Evaluate | Stage::Sample => "Evaluate",
            Stage::Publish => "Publish",
            Stage::Done => "Done",
        };
        let inertia = self.evaluation.as_ref().map(|_| self.found.fit.inertia).or(position.inertia);
        Position { stage, inertia, rows: self.rows.rows, ..position }
    }

    fn outcome(self) -> Option<Outcome> {
        let scale = self.rows.scale().ok()?.clone();
        let Preparation { pipeline, total_variance, rows, dropped, fingerprint, offsets, .. } = self.rows;
        Some(Outcome {
            pipeline,
            fit: self.found.fit,
            noise: self.found.noise,
            scale,
            evaluation: *self.evaluation?,
            total_variance,
            rows,
            dropped,
            fingerprint,
            offsets,
            contingency: self.contingency,
            items: self.items,
        })
    }
}
