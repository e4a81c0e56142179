//! The messages of the steps: what the workers are told, and what they answer.

use std::ops::Range;

use coterie_algorithms::{
    fixed::Scale,
    kmeans,
    lsh::{BucketPartial, Deal},
};
use serde::{Deserialize, Serialize};

use super::hashing::Hashing;
use crate::{
    error::RunError,
    kmeans::step::PIECE_VALUES,
    machine::Merge,
    training::{
        labels::Given,
        step::{Context, foreign},
    },
};

/// One step over all splits.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Step {
    /// Which rows share buckets, in some parts of the buckets.
    Buckets {
        /// See [`Context`].
        context: Context,
        /// How rows get their keys.
        hashing: Hashing,
        /// How buckets are dealt into parts.
        deal: Deal,
        /// The parts that are looked at.
        parts: Range<u32>,
    },
    /// Sums of the rows of each cluster.
    Sums {
        /// See [`Context`].
        context: Context,
        /// Scale of rows.
        scale: Scale,
        /// Which cluster each row belongs to.
        labels: Given,
        /// Number of clusters.
        clusters: usize,
    },
}

impl Step {
    /// How splits come to the state that the step works on.
    #[must_use]
    pub fn context(&self) -> &Context {
        match self {
            Self::Buckets { context, .. } | Self::Sums { context, .. } => context,
        }
    }
}

/// Answer to a step; the variants correspond to [`Step`]'s.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Partial {
    /// To [`Step::Buckets`].
    Buckets(BucketPartial),
    /// To [`Step::Sums`].
    Sums(kmeans::Partial),
}

impl Merge for Partial {
    fn merge(&mut self, other: Self) -> Result<(), RunError> {
        match (self, other) {
            (Self::Buckets(mine), Self::Buckets(theirs)) if mine.len() == theirs.len() => mine.merge(theirs),
            (Self::Sums(mine), Self::Sums(theirs)) if mine.has_shape_of(&theirs) => mine.merge(&theirs),
            _ => return Err(foreign()),
        }
        Ok(())
    }

    /// Buckets are cut between parts, sums between clusters.
    fn cut(self) -> Vec<Self> {
        match self {
            Self::Buckets(buckets) => buckets.cut().into_iter().map(Self::Buckets).collect(),
            Self::Sums(sums) => sums.cut(PIECE_VALUES).into_iter().map(Self::Sums).collect(),
        }
    }

    fn join(pieces: Vec<Self>) -> Result<Self, RunError> {
        let (mut buckets, mut sums) = (Vec::new(), Vec::new());
        for piece in pieces {
            match piece {
                Self::Buckets(piece) => buckets.push(piece),
                Self::Sums(piece) => sums.push(piece),
            }
        }
        match (buckets.is_empty(), sums.is_empty()) {
            (false, true) => Ok(Self::Buckets(BucketPartial::join(buckets))),
            (true, false) => kmeans::Partial::join(sums).map(Self::Sums).ok_or_else(foreign),
            _ => Err(foreign()),
        }
    }
}
