//! Turning raw columns into the numbers that are clustered.
//!
//! Columns of unequal units drown each other, so rows are scaled, projected or normalised first. What is *asked for* is a
//! [`Step`]; what was *fitted* to the data is a [`Transform`]; a [`Pipeline`] is the fitted transforms in order, stored
//! with the model so that a served query goes through the same arithmetic as a training row.
//!
//! Fitting needs the data's [`Moments`], which are exact integers: they do not depend on how the rows were split.

mod axes;
mod fit;
mod invert;
mod moments;
mod pipeline;

pub use axes::Axes;
pub use fit::{FeatureError, fit};
pub use invert::invert;
pub use moments::Moments;
pub(crate) use pipeline::normalize;
pub use pipeline::{Pipeline, Transform};

use crate::kmeans::kernel;
use serde::{Deserialize, Serialize};

/// The largest magnitude among some numbers: 0 without any, not finite if one of them is not.
pub fn largest_magnitude(values: &[f32]) -> f32 {
    kernel::largest_magnitude(values)
}

/// A feature step that is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// Each column to mean 0 and variance 1.
    Standardize,
    /// Each column to the range 0..1.
    MinMax,
    /// Each row to length 1; a row of zeros stays.
    L2Normalize,
    /// Projection to the leading principal components.
    Pca {
        /// Number of components kept, from 1 to the number of columns.
        components: usize,
    },
    /// Each column to mean 0.
    Center,
}

impl Step {
    /// Whether [`fit`] needs the covariance of the columns.
    pub fn needs_covariance(&self) -> bool {
        matches!(self, Self::Pca { .. })
    }
}
