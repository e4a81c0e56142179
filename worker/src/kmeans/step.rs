//! The messages of the k-means steps: what the workers are told, and what they answer.

use coterie_algorithms::{
    fixed::Scale,
    kmeans::{self, Farthest, init::Sample},
};
use serde::{Deserialize, Serialize};

use crate::{
    error::RunError,
    machine::Merge,
    training::step::{Context, foreign},
};

/// Candidates of k-means||, with the batches they came in.
///
/// A row's distance is the least of its distances to the nearest candidate of each batch. A worker that lost the
/// distances takes them batch by batch again: one search over all candidates could settle a near tie otherwise.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Candidates {
    /// m x d.
    pub values: Vec<f32>,
    /// Number of candidates after each batch, ascending; the last is m.
    pub batches: Vec<usize>,
}

/// One step over all splits.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Step {
    /// A uniform sample of rows.
    Sample {
        /// See [`Context`].
        context: Context,
        /// Seed of the run.
        seed: u64,
        /// Restart.
        round: u64,
        /// Number of rows.
        count: usize,
    },
    /// k-means||: lower each row's distance to its nearest candidate; the sum of these distances is the potential.
    Seed {
        /// See [`Context`].
        context: Context,
        /// Scale of distances.
        scale: Scale,
        /// Restart: distances of an earlier one do not count.
        round: u64,
        /// All candidates so far.
        candidates: Candidates,
    },
    /// k-means||: rows that join the candidates.
    Draw {
        /// See [`Context`].
        context: Context,
        /// Seed of the run.
        seed: u64,
        /// Distinguishes restarts and rounds.
        draw: u64,
        /// Restart.
        round: u64,
        /// All candidates so far, for workers that lost the distances.
        candidates: Candidates,
        /// The potential.
        total: f64,
        /// Expected number of rows drawn.
        oversampling: f64,
        /// Most rows one split may return, the ones with the smallest hashes first.
        cap: usize,
    },
    /// k-means||: how many rows are nearest to each candidate, which follows from the rounds before.
    Weigh {
        /// See [`Context`].
        context: Context,
        /// Restart.
        round: u64,
        /// All candidates, for workers that lost the distances.
        candidates: Candidates,
    },
    /// One Lloyd pass: labels, and sums of the rows per label.
    Assign {
        /// See [`Context`].
        context: Context,
        /// Scale of rows and distances.
        scale: Scale,
        /// k x d.
        centroids: Vec<f32>,
    },
    /// The rows farthest from their centroid, to take the place of empty clusters.
    Farthest {
        /// See [`Context`].
        context: Context,
        /// k x d.
        centroids: Vec<f32>,
        /// Number of rows.
        count: usize,
    },
}

impl Step {
    /// How splits come to the state that the step works on.
    #[must_use]
    pub fn context(&self) -> &Context {
        match self {
            Self::Sample { context, .. }
            | Self::Seed { context, .. }
            | Self::Draw { context, .. }
            | Self::Weigh { context, .. }
            | Self::Assign { context, .. }
            | Self::Farthest { context, .. } => context,
        }
    }
}

/// Answer to a step; the variants correspond to [`Step`]'s.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Partial {
    /// To [`Step::Sample`] and [`Step::Draw`].
    Sample(Sample),
    /// To [`Step::Seed`]: the potential, in fixed point.
    Potential(i128),
    /// To [`Step::Weigh`].
    Weights(Vec<u64>),
    /// To [`Step::Assign`].
    Sums(kmeans::Partial),
    /// To [`Step::Farthest`].
    Farthest(Farthest),
}

/// Numbers in a piece of sums: some 60 kB as they are sent, so that a gigabit link is done with one within a millisecond.
pub(crate) const PIECE_VALUES: usize = 8192;

impl Merge for Partial {
    fn merge(&mut self, other: Self) -> Result<(), RunError> {
        match (self, other) {
            (Self::Sample(mine), Self::Sample(theirs)) if mine.has_shape_of(&theirs) => mine.merge(theirs),
            (Self::Potential(mine), Self::Potential(theirs)) => *mine += theirs,
            (Self::Weights(mine), Self::Weights(theirs)) => {
                for (a, b) in mine.iter_mut().zip(theirs) {
                    *a += b;
                }
            }
            (Self::Sums(mine), Self::Sums(theirs)) if mine.has_shape_of(&theirs) => mine.merge(&theirs),
            (Self::Farthest(mine), Self::Farthest(theirs)) => mine.merge(&theirs),
            _ => return Err(foreign()),
        }
        Ok(())
    }

    /// Sums are cut between clusters.
    fn cut(self) -> Vec<Self> {
        match self {
            Self::Sums(sums) => sums.cut(PIECE_VALUES).into_iter().map(Self::Sums).collect(),
            whole => vec![whole],
        }
    }

    fn join(mut pieces: Vec<Self>) -> Result<Self, RunError> {
        if let [_] = &pieces[..]
            && let Some(whole) = pieces.pop()
        {
            return Ok(whole);
        }
        let sums: Option<Vec<kmeans::Partial>> =
            pieces.into_iter().map(|piece| if let Self::Sums(sums) = piece { Some(sums) } else { None }).collect();
        sums.and_then(kmeans::Partial::join).map(Self::Sums).ok_or_else(foreign)
    }
}
