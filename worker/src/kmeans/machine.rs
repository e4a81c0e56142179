//! The k-means run as a pure state machine: merged partials in, steps out.

use coterie_algorithms::{
    features::{self, Pipeline, Transform, fit},
    fixed::Scale,
    kmeans::{self, Centroids, inertia_of, relocate, update},
    score::Contingency,
};
use coterie_crds::resolved::{Algorithm, FeatureStep, KMeans, Metric, ResolvedJob};
use coterie_model::items::Items;
use serde::{Deserialize, Serialize};

use super::{
    evaluation::Evaluation,
    init::{Init, Method},
    step::{Context, Measured, Partial, Prepared, Published, Scanned, Step, Wanted},
};
use crate::{
    error::{RunError, chain},
    machine::{Machine, Position},
};

/// Largest magnitude whose squares can still be summed and compared in `f32`.
const LARGEST: f32 = 1e18;

/// A fit of one restart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fit {
    /// k x d, in the pipeline's output space.
    pub centroids: Vec<f32>,
    /// Passes made.
    pub iterations: u32,
    /// Whether the centroids came to rest within the tolerance.
    pub converged: bool,
    /// Sum of squared distances, as of the last pass.
    pub inertia: f64,
}

/// Everything a finished run knows.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// The fitted pipeline, which ends in an implicit step (centre or unit length).
    pub pipeline: Pipeline,
    /// The best fit.
    pub fit: Fit,
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
#[derive(Clone, Debug, Serialize, Deserialize)]
enum Stage {
    Scan,
    /// The feature step with this index is to be fitted.
    Features(usize),
    /// All explicit steps are fitted; variances and the implicit step follow.
    Measure,
    Prepare,
    Init(Init),
    Iterate,
    Relocate {
        sums: kmeans::Partial,
        empty: Vec<u32>,
    },
    /// The inertia at a restart's final centroids.
    Score,
    Evaluate,
    Publish,
    Done,
}

/// The run's state; all of it is the checkpoint.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KMeansMachine {
    job: ResolvedJob,
    params: KMeans,
    splits: u32,
    /// Warm start: k x d_in in the source's columns.
    initial: Option<Vec<f32>>,
    stage: Stage,
    rows: u64,
    dropped: u64,
    offsets: Vec<u64>,
    /// Bounds of the pipeline's output so far.
    minimum: Vec<f32>,
    maximum: Vec<f32>,
    pipeline: Pipeline,
    total_variance: f64,
    /// Sum over all rows of the squared length, in the space of the centroids.
    total_squares: f64,
    scale: Option<Scale>,
    fingerprint: u128,
    /// Restart, from 0.
    restart: u32,
    current: Fit,
    shift: f64,
    best: Option<Fit>,
    evaluation: Option<Box<Evaluation>>,
    contingency: Option<Contingency>,
    items: Option<Items>,
}

impl KMeansMachine {
    /// A run over `splits` splits of rows with `dimension` columns. `initial` are the centroids of a warm start, in the
    /// source's columns.
    #[must_use]
    pub fn new(job: ResolvedJob, splits: u32, dimension: usize, initial: Option<Vec<f32>>) -> Self {
        let Algorithm::KMeans(params) = job.algorithm.clone();
        Self {
            job,
            params,
            splits,
            initial,
            stage: Stage::Scan,
            rows: 0,
            dropped: 0,
            offsets: Vec::new(),
            minimum: Vec::new(),
            maximum: Vec::new(),
            pipeline: Pipeline::new(dimension),
            total_variance: 0.0,
            total_squares: 0.0,
            scale: None,
            fingerprint: 0,
            restart: 0,
            current: Fit::empty(),
            shift: 0.0,
            best: None,
            evaluation: None,
            contingency: None,
            items: None,
        }
    }

    fn context(&self) -> Context {
        Context { pipeline: self.pipeline.clone(), offsets: self.offsets.clone() }
    }

    fn scale(&self) -> Result<&Scale, RunError> {
        self.scale.as_ref().ok_or_else(|| RunError::transient("the checkpoint lacks the scale of the sums"))
    }

    fn dimension(&self) -> usize {
        self.pipeline.output_dimension()
    }

    fn centroids(&self) -> Centroids {
        Centroids::new(self.dimension(), self.current.centroids.clone())
    }

    /// Whether sums are of the current centroids: they arrive from elsewhere, and what follows relies on their shape.
    fn fits(&self, sums: &kmeans::Partial) -> bool {
        let values = self.current.centroids.len();
        sums.dimension as usize == self.dimension()
            && sums.sums.len() == values
            && sums.counts.len() * self.dimension() == values
    }

    fn moments_step(&self, covariance: bool) -> Step {
        Step::Moments {
            pipeline: self.pipeline.clone(),
            minimum: self.minimum.clone(),
            maximum: self.maximum.clone(),
            rows: self.rows,
            covariance,
        }
    }

    fn scanned(&mut self, scanned: Scanned) -> Result<(), RunError> {
        self.rows = scanned.rows.values().sum();
        self.dropped = scanned.dropped;
        if self.rows == 0 {
            let why = if self.dropped > 0 {
                format!("all {} rows hold NaN, infinities or nulls and were dropped", self.dropped)
            } else {
                "there are no rows".to_owned()
            };
            return Err(RunError::data(format!("{}: {why}; a run needs at least one valid row", self.job.source.uri)));
        }
        let mut next = 0;
        self.offsets = (0..self.splits)
            .map(|split| {
                let offset = next;
                next += scanned.rows.get(&split).copied().unwrap_or(0);
                offset
            })
            .collect();
        self.minimum = scanned.minimum;
        self.maximum = scanned.maximum;
        self.stage = Stage::Features(0);
        self.skip_stateless()
    }

    /// Steps that need no statistics are added at once.
    fn skip_stateless(&mut self) -> Result<(), RunError> {
        while let Stage::Features(next) = self.stage {
            match self.job.features.get(next) {
                Some(FeatureStep::L2Normalize) => {
                    self.push(Transform::L2Normalize);
                    self.stage = Stage::Features(next + 1);
                }
                Some(FeatureStep::Pca { components }) => {
                    let most = self.dimension();
                    if *components > most {
                        return Err(RunError::spec(format!(
                            "spec.features[{next}].pca.components is {components}, but the rows have {most} columns at \
                             that point; use at most {most}"
                        )));
                    }
                    return Ok(());
                }
                Some(FeatureStep::Standardize | FeatureStep::MinMax) => return Ok(()),
                None => {
                    if self.job.metric == Metric::Cosine {
                        self.push(Transform::L2Normalize);
                    }
                    self.stage = Stage::Measure;
                }
            }
        }
        Ok(())
    }

    /// Adds a transform and carries the columns' bounds through it.
    fn push(&mut self, transform: Transform) {
        let mut alone = Pipeline::new(self.dimension());
        alone.push(transform.clone());
        (self.minimum, self.maximum) = alone.bounds(&self.minimum, &self.maximum);
        self.pipeline.push(transform);
    }

    fn fitted(&mut self, next: usize, measured: Measured) -> Result<(), RunError> {
        let step = match self.job.features.get(next) {
            Some(FeatureStep::Standardize) => features::Step::Standardize,
            Some(FeatureStep::MinMax) => features::Step::MinMax,
            Some(FeatureStep::L2Normalize) => features::Step::L2Normalize,
            Some(FeatureStep::Pca { components }) => features::Step::Pca { components: *components },
            None => return Err(unexpected()),
        };
        self.minimum = measured.minimum;
        self.maximum = measured.maximum;
        let transform = fit(&step, &measured.moments, &self.minimum, &self.maximum)
            .map_err(|error| RunError::data(format!("spec.features[{next}]: {}", chain(&error))))?;
        self.push(transform);
        self.stage = Stage::Features(next + 1);
        self.skip_stateless()
    }

    fn measured(&mut self, measured: Measured) -> Result<(), RunError> {
        self.total_variance = measured.moments.variance().iter().sum();
        let centre2: f64 = match self.job.metric {
            Metric::Euclidean => 0.0,
            Metric::Cosine => measured.moments.mean().iter().map(|mean| mean * mean).sum(),
        };
        self.total_squares = (self.total_variance + centre2) * self.rows as f64;
        self.minimum = measured.minimum;
        self.maximum = measured.maximum;
        if self.job.metric == Metric::Euclidean {
            // Distances are taken from the mean of all rows: f32 products keep their digits far from the origin.
            let centre = fit(&features::Step::Center, &measured.moments, &self.minimum, &self.maximum)
                .map_err(|error| RunError::data(chain(&error)))?;
            self.push(centre);
        }
        self.stage = Stage::Prepare;
        Ok(())
    }

    fn prepared(&mut self, prepared: &Prepared) -> Result<(), RunError> {
        let distinct = prepared.distinct.count();
        if distinct < self.params.clusters {
            return Err(RunError::data(format!(
                "{}: only {distinct} of {} rows are distinct after the feature steps, but \
                 spec.algorithm.kMeans.clusters is {}; ask for at most {distinct} clusters",
                self.job.source.uri, self.rows, self.params.clusters
            )));
        }
        if let Some(column) = prepared.max_abs.iter().position(|most| *most > LARGEST) {
            return Err(RunError::data(format!(
                "{}: values of up to {:e} in column {column} (after the feature steps) are too large: their squares exceed \
                 the range of 32-bit numbers; add standardize to spec.features or change the unit",
                self.job.source.uri, prepared.max_abs[column]
            )));
        }
        self.fingerprint = prepared.fingerprint;
        self.scale = Some(Scale::new(&prepared.max_abs, self.rows));
        self.begin_restart()
    }

    fn begin_restart(&mut self) -> Result<(), RunError> {
        self.current = Fit::empty();
        self.shift = 0.0;
        if let Some(initial) = &self.initial {
            let mut centroids = Vec::new();
            self.pipeline.apply(initial, &mut centroids);
            self.current.centroids = centroids;
            self.stage = Stage::Iterate;
            return Ok(());
        }
        let method = match self.params.init {
            coterie_crds::resolved::Init::KMeansParallel => Method::Parallel,
            coterie_crds::resolved::Init::KMeansPlusPlus => Method::PlusPlus,
            coterie_crds::resolved::Init::Random => Method::Random,
            coterie_crds::resolved::Init::WarmStart { .. } => {
                return Err(RunError::transient("the checkpoint lacks the centroids of the warm start"));
            }
        };
        self.stage = Stage::Init(Init::new(
            method,
            self.params.clusters,
            self.dimension(),
            self.rows,
            self.job.seed,
            u64::from(self.restart),
        ));
        Ok(())
    }

    fn summed(&mut self, sums: kmeans::Partial) -> Result<(), RunError> {
        let scale = self.scale()?.clone();
        let step = update(algorithm_metric(self.job.metric), &self.centroids(), &sums, &scale);
        self.current.inertia = inertia_of(&self.centroids(), &sums, &scale, self.total_squares);
        if step.empty.is_empty() {
            self.moved(step.centroids, step.shift);
        } else {
            self.stage = Stage::Relocate { sums, empty: step.empty };
        }
        Ok(())
    }

    fn moved(&mut self, centroids: Vec<f32>, shift: f64) {
        self.current.centroids = centroids;
        self.current.iterations += 1;
        self.shift = shift;
        self.current.converged = shift <= self.params.tolerance * self.total_variance / self.dimension() as f64;
        self.stage = if !self.current.converged && self.current.iterations < self.params.max_iterations {
            Stage::Iterate
        } else if self.restarts() == 1 {
            self.best = Some(self.current.clone());
            Stage::Evaluate
        } else {
            Stage::Score
        };
    }

    fn scored(&mut self, inertia: f64) -> Result<(), RunError> {
        self.current.inertia = inertia;
        if self.best.as_ref().is_none_or(|best| inertia < best.inertia) {
            self.best = Some(self.current.clone());
        }
        self.restart += 1;
        if self.restart < self.restarts() {
            return self.begin_restart();
        }
        if let Some(best) = &self.best {
            self.current = best.clone();
        }
        self.stage = Stage::Evaluate;
        Ok(())
    }

    fn evaluated(&mut self, evaluation: Box<Evaluation>) -> Result<(), RunError> {
        self.current.inertia = self.scale()?.distance2(evaluation.sums.inertia);
        self.evaluation = Some(evaluation);
        self.stage = if self.wanted().any() { Stage::Publish } else { Stage::Done };
        Ok(())
    }

    /// A warm start has nothing random, so further restarts would repeat it.
    fn restarts(&self) -> u32 {
        if self.initial.is_some() { 1 } else { self.params.restarts.max(1) }
    }

    fn wanted(&self) -> Wanted {
        Wanted {
            assignments: self.job.output.as_ref().is_some_and(|output| output.assignments),
            items: self.job.items.is_some(),
            labels: self.job.source.columns.label.is_some(),
        }
    }
}

impl Machine for KMeansMachine {
    type Step = Step;
    type Partial = Partial;
    type Outcome = Outcome;

    fn answer_bytes(step: &Step) -> u64 {
        let bytes = match step {
            // Sums of products, 128 bits each, of which seven in eight are sent.
            Step::Moments { pipeline, covariance: true, .. } => 7 * pipeline.output_dimension().pow(2),
            Step::Assign { centroids, .. } => 7 * centroids.len(),
            _ => 0,
        };
        bytes as u64
    }

    fn step(&self) -> Option<Step> {
        let scale = || self.scale.clone();
        let centroids = || self.current.centroids.clone();
        Some(match &self.stage {
            Stage::Scan => Step::Scan,
            Stage::Features(next) => {
                self.moments_step(matches!(self.job.features.get(*next), Some(FeatureStep::Pca { .. })))
            }
            Stage::Measure => self.moments_step(false),
            Stage::Prepare => Step::Prepare { context: self.context(), distinct: self.params.clusters },
            Stage::Init(init) => init.step(&self.context(), &scale()?),
            Stage::Iterate | Stage::Score => {
                Step::Assign { context: self.context(), scale: scale()?, centroids: centroids() }
            }
            Stage::Relocate { empty, .. } => {
                Step::Farthest { context: self.context(), centroids: centroids(), count: empty.len() }
            }
            Stage::Evaluate => Step::Evaluate {
                context: self.context(),
                scale: scale()?,
                centroids: centroids(),
                seed: self.job.seed,
                sample: self.job.evaluation.sample_size,
            },
            Stage::Publish => Step::Publish { context: self.context(), centroids: centroids(), wanted: self.wanted() },
            Stage::Done => return None,
        })
    }

    fn advance(&mut self, merged: Partial) -> Result<(), RunError> {
        let stage = std::mem::replace(&mut self.stage, Stage::Done);
        match (stage, merged) {
            (Stage::Scan, Partial::Scanned(scanned)) => self.scanned(scanned),
            (Stage::Features(next), Partial::Moments(measured)) => self.fitted(next, *measured),
            (Stage::Measure, Partial::Moments(measured)) => self.measured(*measured),
            (Stage::Prepare, Partial::Prepared(prepared)) => self.prepared(&prepared),
            (Stage::Init(mut init), partial) => {
                let scale = self.scale()?.clone();
                if let Some(centroids) = init.advance(partial, &scale)? {
                    self.current.centroids = centroids;
                    self.stage = Stage::Iterate;
                } else {
                    self.stage = Stage::Init(init);
                }
                Ok(())
            }
            (Stage::Iterate, Partial::Sums(sums)) if self.fits(&sums) => self.summed(sums),
            (Stage::Score, Partial::Sums(sums)) if self.fits(&sums) => {
                let inertia = inertia_of(&self.centroids(), &sums, self.scale()?, self.total_squares);
                self.scored(inertia)
            }
            (Stage::Relocate { mut sums, empty }, Partial::Farthest(farthest)) => {
                let scale = self.scale()?.clone();
                relocate(&mut sums, &empty, &farthest.into_sorted(), &scale);
                let step = update(algorithm_metric(self.job.metric), &self.centroids(), &sums, &scale);
                self.moved(step.centroids, step.shift);
                Ok(())
            }
            (Stage::Evaluate, Partial::Evaluation(evaluation)) => self.evaluated(evaluation),
            (Stage::Publish, Partial::Published(published)) => {
                let Published { contingency, parts } = published;
                self.contingency = self.wanted().labels.then_some(contingency);
                self.items = self.wanted().items.then(|| Items::new(parts.into_values().collect()));
                self.stage = Stage::Done;
                Ok(())
            }
            (stage, _) => {
                self.stage = stage;
                Err(unexpected())
            }
        }
    }

    fn position(&self) -> Position {
        let stage = match self.stage {
            Stage::Scan => "Scan",
            Stage::Features(_) | Stage::Measure | Stage::Prepare => "Features",
            Stage::Init(_) => "Init",
            Stage::Iterate | Stage::Relocate { .. } | Stage::Score => "Iterate",
            Stage::Evaluate => "Evaluate",
            Stage::Publish => "Publish",
            Stage::Done => "Done",
        };
        Position {
            stage,
            iteration: self.current.iterations,
            max_iterations: self.params.max_iterations,
            restart: self.restart + 1,
            restarts: self.restarts(),
            inertia: self.current.inertia,
            shift: self.shift,
            rows: self.rows,
        }
    }

    fn outcome(self) -> Option<Outcome> {
        Some(Outcome {
            pipeline: self.pipeline,
            fit: self.current,
            scale: self.scale?,
            evaluation: *self.evaluation?,
            total_variance: self.total_variance,
            rows: self.rows,
            dropped: self.dropped,
            fingerprint: self.fingerprint,
            offsets: self.offsets,
            contingency: self.contingency,
            items: self.items,
        })
    }
}

impl Fit {
    fn empty() -> Self {
        Self { centroids: Vec::new(), iterations: 0, converged: false, inertia: 0.0 }
    }
}

/// The algorithms' word for the job's metric.
#[must_use]
pub fn algorithm_metric(metric: Metric) -> coterie_algorithms::metric::Metric {
    match metric {
        Metric::Euclidean => coterie_algorithms::metric::Metric::Euclidean,
        Metric::Cosine => coterie_algorithms::metric::Metric::Cosine,
    }
}

fn unexpected() -> RunError {
    RunError::transient("a partial does not answer the current step; the workers do not run the same version")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_of_another_shape_leave_the_machine_where_it_was() {
        let mut machine = KMeansMachine::new(super::super::tests::job(2), 1, 3, None);
        machine.current.centroids = vec![0.0; 6];
        machine.scale = Some(Scale::new(&[1.0; 3], 10));
        for stage in [Stage::Iterate, Stage::Score] {
            machine.stage = stage;
            let odd = kmeans::Partial { dimension: 3, sums: vec![0; 6], counts: vec![1; 3], inertia: 0 };
            for sums in [kmeans::Partial::new(3, 3), kmeans::Partial::new(3, 2), kmeans::Partial::new(0, 0), odd] {
                assert!(machine.advance(Partial::Sums(sums)).unwrap_err().is_transient());
                assert!(matches!(machine.stage, Stage::Iterate | Stage::Score));
            }
        }
    }
}
