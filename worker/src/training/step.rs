//! The messages of a run: steps to the workers, partials back. Encoded with postcard inside the session's opaque payloads.

use std::collections::BTreeMap;

use coterie_algorithms::{
    distinct::Distinct,
    features::{Moments, Pipeline},
    fixed::Scale,
    kmeans::init::Sample,
    metric::Metric,
    score::Contingency,
};
use coterie_model::items::Part;
use serde::{Deserialize, Serialize};

use super::{evaluation::Evaluation, labels::Labels, sampling::Draw};
use crate::{error::RunError, kmeans, lsh, machine::Merge};

/// What a worker needs to bring a split it has never seen to the state that the step works on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Context {
    /// The fitted feature pipeline.
    pub pipeline: Pipeline,
    /// Ordinal of the first kept row of each split.
    pub offsets: Vec<u64>,
}

/// One step over all splits.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Step {
    /// Decode, check and keep the rows; count them and find the range of each source column.
    Scan,
    /// Exact sums of the rows after `pipeline`, whose columns lie between `minimum` and `maximum`.
    Moments {
        /// The steps fitted so far.
        pipeline: Pipeline,
        /// Lower bound per column.
        minimum: Vec<f32>,
        /// Upper bound per column.
        maximum: Vec<f32>,
        /// Number of rows overall.
        rows: u64,
        /// Whether cross products are wanted (for PCA).
        covariance: bool,
    },
    /// Replace the source rows by the pipeline's output.
    Prepare {
        /// The whole pipeline and the splits' offsets.
        context: Context,
        /// Distinct rows are counted up to this number.
        distinct: usize,
    },
    /// One of k-means.
    KMeans(kmeans::Step),
    /// One of clustering by shared buckets.
    Lsh(lsh::Step),
    /// Statistics of the final clusters and a labelled sample.
    Evaluate {
        /// See [`Context`].
        context: Context,
        /// Scale of rows and distances.
        scale: Scale,
        /// k x d.
        centroids: Vec<f32>,
        /// Which cluster each row belongs to.
        labels: Labels,
        /// Distance that rows are measured by.
        metric: Metric,
        /// Seed of the run.
        seed: u64,
        /// Rows in the sample; see [`sample_rows`](super::sampling::sample_rows).
        sample: usize,
        /// Those of them that are taken with the statistics.
        draw: Option<Draw>,
    },
    /// More of the labelled sample, where rows are so wide that one step does not take all of it.
    Sample {
        /// See [`Context`].
        context: Context,
        /// k x d.
        centroids: Vec<f32>,
        /// Which cluster each row belongs to.
        labels: Labels,
        /// Seed of the run.
        seed: u64,
        /// Rows in the sample.
        sample: usize,
        /// Those of them that are taken now.
        draw: Draw,
    },
    /// Read the source again for what was not kept: identifiers (written with the labels) and known classes (counted).
    Publish {
        /// See [`Context`].
        context: Context,
        /// k x d.
        centroids: Vec<f32>,
        /// Which cluster each row belongs to.
        labels: Labels,
        /// What is made of the rows.
        wanted: Wanted,
    },
}

/// What the last pass over the source makes of the rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// Each row's cluster is written.
    pub assignments: bool,
    /// The rows are written, for those who ask for similar ones.
    pub items: bool,
    /// Known classes are counted.
    pub labels: bool,
}

impl Wanted {
    /// Whether the pass is needed at all.
    #[must_use]
    pub fn any(self) -> bool {
        self.assignments || self.items || self.labels
    }
}

/// What the last pass over the source made.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Published {
    /// Known classes against clusters.
    pub contingency: Contingency,
    /// The objects of items, by split; none of splits without rows.
    pub parts: BTreeMap<u32, Part>,
}

impl Published {
    /// Takes in what was made of other splits.
    pub fn merge(&mut self, other: Self) {
        self.contingency.merge(&other.contingency);
        self.parts.extend(other.parts);
    }
}

/// What one pass over the source found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Scanned {
    /// Kept rows per split.
    pub rows: BTreeMap<u32, u64>,
    /// Rows left out.
    pub dropped: u64,
    /// Least value per source column.
    pub minimum: Vec<f32>,
    /// Greatest value per source column.
    pub maximum: Vec<f32>,
}

impl Scanned {
    /// Nothing seen yet.
    #[must_use]
    pub fn new(dimension: usize) -> Self {
        Self {
            rows: BTreeMap::new(),
            dropped: 0,
            minimum: vec![f32::INFINITY; dimension],
            maximum: vec![f32::NEG_INFINITY; dimension],
        }
    }

    fn merge(&mut self, other: Self) {
        self.rows.extend(other.rows);
        self.dropped += other.dropped;
        lower(&mut self.minimum, &other.minimum);
        raise(&mut self.maximum, &other.maximum);
    }
}

/// Exact sums and the range of the rows after a pipeline.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Measured {
    /// Sums.
    pub moments: Moments,
    /// Least value per column.
    pub minimum: Vec<f32>,
    /// Greatest value per column.
    pub maximum: Vec<f32>,
}

impl Measured {
    fn merge(&mut self, other: Self) {
        self.moments.merge(&other.moments);
        lower(&mut self.minimum, &other.minimum);
        raise(&mut self.maximum, &other.maximum);
    }
}

/// Lowers each bound to the other's where that is less.
pub fn lower(bounds: &mut [f32], others: &[f32]) {
    for (mine, theirs) in bounds.iter_mut().zip(others) {
        *mine = mine.min(*theirs);
    }
}

/// Raises each bound to the other's where that is greater.
pub fn raise(bounds: &mut [f32], others: &[f32]) {
    for (mine, theirs) in bounds.iter_mut().zip(others) {
        *mine = mine.max(*theirs);
    }
}

/// What the prepared rows look like.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Prepared {
    /// Greatest magnitude per column.
    pub max_abs: Vec<f32>,
    /// Distinct rows.
    pub distinct: Distinct,
    /// Wrapping sum over rows of a 128-bit hash of (ordinal, source values): identifies the input whatever its format.
    pub fingerprint: u128,
}

impl Prepared {
    fn merge(&mut self, other: &Self) {
        raise(&mut self.max_abs, &other.max_abs);
        self.distinct.merge(&other.distinct);
        self.fingerprint = self.fingerprint.wrapping_add(other.fingerprint);
    }
}

/// Answer to a step; the variants correspond to [`Step`]'s.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Partial {
    /// To [`Step::Scan`].
    Scanned(Scanned),
    /// To [`Step::Moments`].
    Moments(Box<Measured>),
    /// To [`Step::Prepare`].
    Prepared(Prepared),
    /// To [`Step::KMeans`].
    KMeans(kmeans::Partial),
    /// To [`Step::Lsh`].
    Lsh(lsh::Partial),
    /// To [`Step::Evaluate`].
    Evaluation(Box<Evaluation>),
    /// To [`Step::Sample`]: the rows, each followed by its label as the last value.
    Sampled(Sample),
    /// To [`Step::Publish`].
    Published(Published),
}

impl Merge for Partial {
    fn merge(&mut self, other: Self) -> Result<(), RunError> {
        match (self, other) {
            (Self::Scanned(mine), Self::Scanned(theirs)) => mine.merge(theirs),
            (Self::Moments(mine), Self::Moments(theirs)) => mine.merge(*theirs),
            (Self::Prepared(mine), Self::Prepared(theirs)) => mine.merge(&theirs),
            (Self::KMeans(mine), Self::KMeans(theirs)) => mine.merge(theirs)?,
            (Self::Lsh(mine), Self::Lsh(theirs)) => mine.merge(theirs)?,
            (Self::Evaluation(mine), Self::Evaluation(theirs)) if mine.has_shape_of(&theirs) => mine.merge(*theirs),
            (Self::Sampled(mine), Self::Sampled(theirs)) if mine.has_shape_of(&theirs) => mine.merge(theirs),
            (Self::Published(mine), Self::Published(theirs)) => mine.merge(theirs),
            _ => return Err(foreign()),
        }
        Ok(())
    }

    /// What the algorithms answer is cut as they say.
    fn cut(self) -> Vec<Self> {
        match self {
            Self::KMeans(partial) => partial.cut().into_iter().map(Self::KMeans).collect(),
            Self::Lsh(partial) => partial.cut().into_iter().map(Self::Lsh).collect(),
            whole => vec![whole],
        }
    }

    fn join(mut pieces: Vec<Self>) -> Result<Self, RunError> {
        if let [_] = &pieces[..]
            && let Some(whole) = pieces.pop()
        {
            return Ok(whole);
        }
        let (mut k_means, mut lsh) = (Vec::new(), Vec::new());
        for piece in pieces {
            match piece {
                Self::KMeans(piece) => k_means.push(piece),
                Self::Lsh(piece) => lsh.push(piece),
                _ => return Err(foreign()),
            }
        }
        match (k_means.is_empty(), lsh.is_empty()) {
            (false, true) => kmeans::Partial::join(k_means).map(Self::KMeans),
            (true, false) => lsh::Partial::join(lsh).map(Self::Lsh),
            _ => Err(foreign()),
        }
    }
}

/// A partial that cannot be merged with those at hand.
pub(crate) fn foreign() -> RunError {
    RunError::transient("a partial of another kind of step arrived; the workers do not run the same version")
}
