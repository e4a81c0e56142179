//! The steps before the algorithm's: rows are counted, features fitted, and the rows brought into the space that is clustered.

use coterie_algorithms::{
    features::{self, Pipeline, Transform, fit},
    fixed::Scale,
};
use coterie_crds::resolved::{FeatureStep, Metric, ResolvedJob};
use serde::{Deserialize, Serialize};

use super::{
    step::{Context, Measured, Partial, Prepared, Scanned, Step},
    unexpected,
};
use crate::error::{RunError, chain};

/// Largest magnitude whose squares can still be summed and compared in `f32`.
const LARGEST: f32 = 1e18;

/// Where the preparation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Stage {
    Scan,
    /// The feature step with this index is to be fitted.
    Features(usize),
    /// All explicit steps are fitted; variances and the implicit step follow.
    Measure,
    Prepare,
    Done,
}

/// The rows, as far as they are known.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Preparation {
    stage: Stage,
    splits: u32,
    /// Distinct rows are counted up to this number.
    most_distinct: usize,
    /// Kept rows.
    pub rows: u64,
    /// Rows left out.
    pub dropped: u64,
    /// Ordinal of the first kept row of each split.
    pub offsets: Vec<u64>,
    /// Bounds of the pipeline's output so far.
    minimum: Vec<f32>,
    maximum: Vec<f32>,
    /// The feature steps, which end in an implicit one (centre or unit length); none for sets, which stay zeros and ones.
    pub pipeline: Pipeline,
    /// Mean column variance times columns.
    pub total_variance: f64,
    /// Sum over all rows of the squared length, in the space of the centroids.
    pub total_squares: f64,
    /// Greatest magnitude per column.
    pub max_abs: Vec<f32>,
    scale: Option<Scale>,
    /// Identifies the input's rows.
    pub fingerprint: u128,
    /// Distinct rows, as far as they were counted.
    pub distinct: usize,
}

impl Preparation {
    /// Nothing is known of the rows of `splits` splits but that they have `dimension` columns. Distinct rows will be counted up to
    /// `most_distinct`.
    #[must_use]
    pub fn new(splits: u32, dimension: usize, most_distinct: usize) -> Self {
        Self {
            stage: Stage::Scan,
            splits,
            most_distinct,
            rows: 0,
            dropped: 0,
            offsets: Vec::new(),
            minimum: Vec::new(),
            maximum: Vec::new(),
            pipeline: Pipeline::new(dimension),
            total_variance: 0.0,
            total_squares: 0.0,
            max_abs: Vec::new(),
            scale: None,
            fingerprint: 0,
            distinct: 0,
        }
    }

    /// What workers need to bring a split to the pipeline's output.
    #[must_use]
    pub fn context(&self) -> Context {
        Context { pipeline: self.pipeline.clone(), offsets: self.offsets.clone() }
    }

    /// Columns after the steps fitted so far.
    #[must_use]
    pub fn dimension(&self) -> usize {
        self.pipeline.output_dimension()
    }

    /// Scale of sums over the rows.
    ///
    /// # Errors
    /// Before the rows are prepared.
    pub fn scale(&self) -> Result<&Scale, RunError> {
        self.scale.as_ref().ok_or_else(|| RunError::transient("the checkpoint lacks the scale of the sums"))
    }

    /// Where it is, for people.
    #[must_use]
    pub fn stage(&self) -> &'static str {
        if self.stage == Stage::Scan { "Scan" } else { "Features" }
    }

    /// Whether the rows are prepared.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.stage == Stage::Done
    }

    /// The step wanted now; `None` once the rows are prepared.
    #[must_use]
    pub fn step(&self, job: &ResolvedJob) -> Option<Step> {
        Some(match self.stage {
            Stage::Scan => Step::Scan,
            Stage::Features(next) => self.moments_step(matches!(job.features.get(next), Some(FeatureStep::Pca { .. }))),
            Stage::Measure => self.moments_step(false),
            Stage::Prepare => Step::Prepare { context: self.context(), distinct: self.most_distinct },
            Stage::Done => return None,
        })
    }

    /// Takes the merged partial of the step.
    ///
    /// # Errors
    /// When the partial does not belong to the step, the data cannot be used, or the features do not fit it.
    pub fn advance(&mut self, merged: Partial, job: &ResolvedJob) -> Result<(), RunError> {
        match (self.stage, merged) {
            (Stage::Scan, Partial::Scanned(scanned)) => self.scanned(scanned, job),
            (Stage::Features(next), Partial::Moments(measured)) => self.fitted(next, *measured, job),
            (Stage::Measure, Partial::Moments(measured)) => self.measured(*measured, job),
            (Stage::Prepare, Partial::Prepared(prepared)) => self.prepared(prepared, job),
            _ => Err(unexpected()),
        }
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

    fn scanned(&mut self, scanned: Scanned, job: &ResolvedJob) -> Result<(), RunError> {
        self.rows = scanned.rows.values().sum();
        self.dropped = scanned.dropped;
        if self.rows == 0 {
            let why = if self.dropped > 0 {
                format!("all {} rows hold NaN, infinities or nulls and were dropped", self.dropped)
            } else {
                "there are no rows".to_owned()
            };
            return Err(RunError::data(format!("{}: {why}; a run needs at least one valid row", job.source.uri)));
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
        self.skip_stateless(job)
    }

    /// Steps that need no statistics are added at once.
    fn skip_stateless(&mut self, job: &ResolvedJob) -> Result<(), RunError> {
        while let Stage::Features(next) = self.stage {
            match job.features.get(next) {
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
                    if job.metric == Metric::Cosine {
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

    fn fitted(&mut self, next: usize, measured: Measured, job: &ResolvedJob) -> Result<(), RunError> {
        let step = match job.features.get(next) {
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
        self.skip_stateless(job)
    }

    fn measured(&mut self, measured: Measured, job: &ResolvedJob) -> Result<(), RunError> {
        self.total_variance = measured.moments.variance().iter().sum();
        let centre2: f64 = match job.metric {
            Metric::Euclidean => 0.0,
            Metric::Cosine | Metric::Jaccard => measured.moments.mean().iter().map(|mean| mean * mean).sum(),
        };
        self.total_squares = (self.total_variance + centre2) * self.rows as f64;
        self.minimum = measured.minimum;
        self.maximum = measured.maximum;
        if job.metric == Metric::Euclidean {
            // Distances are taken from the mean of all rows: f32 products keep their digits far from the origin.
            let centre = fit(&features::Step::Center, &measured.moments, &self.minimum, &self.maximum)
                .map_err(|error| RunError::data(chain(&error)))?;
            self.push(centre);
        }
        self.stage = Stage::Prepare;
        Ok(())
    }

    fn prepared(&mut self, prepared: Prepared, job: &ResolvedJob) -> Result<(), RunError> {
        if let Some(column) = prepared.max_abs.iter().position(|most| *most > LARGEST) {
            return Err(RunError::data(format!(
                "{}: values of up to {:e} in column {column} (after the feature steps) are too large: their squares exceed \
                 the range of 32-bit numbers; add standardize to spec.features or change the unit",
                job.source.uri, prepared.max_abs[column]
            )));
        }
        self.fingerprint = prepared.fingerprint;
        self.scale = Some(Scale::new(&prepared.max_abs, self.rows));
        self.max_abs = prepared.max_abs;
        self.distinct = prepared.distinct.count();
        self.stage = Stage::Done;
        Ok(())
    }
}
