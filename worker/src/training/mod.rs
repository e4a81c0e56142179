//! A run over sharded rows, whatever the algorithm: [`machine`] decides (pure), [`step`] is what is said between coordinator
//! and workers, [`compute`] is a worker's share of a step.
//!
//! A run is a sequence of steps, each over all splits:
//!
//! ```text
//! Scan -> (Moments per fitted feature) -> Moments -> Prepare -> those of the algorithm -> Evaluate -> Sample* -> [Publish]
//! ```
//!
//! | module | concern |
//! |---|---|
//! | [`preparation`] | the steps before the algorithm's |
//! | [`fitting`] | the algorithm, which finds the clusters |
//! | [`labels`] | which cluster each row belongs to |
//! | [`evaluation`] | statistics of the clusters |
//! | [`sampling`] | which rows are sampled for them, a bounded number at a time |

pub mod compute;
pub mod evaluation;
pub mod fitting;
pub mod labels;
pub mod machine;
pub mod preparation;
pub mod sampling;
pub mod step;
#[cfg(test)]
pub(crate) mod tests;

pub use machine::{Outcome, TrainingMachine};
pub use step::{Context, Partial, Step};

use coterie_crds::resolved::Metric;

use crate::error::RunError;

/// The algorithms' word for the job's metric.
#[must_use]
pub fn algorithm_metric(metric: Metric) -> coterie_algorithms::metric::Metric {
    match metric {
        Metric::Euclidean => coterie_algorithms::metric::Metric::Euclidean,
        Metric::Cosine => coterie_algorithms::metric::Metric::Cosine,
        Metric::Jaccard => coterie_algorithms::metric::Metric::Jaccard,
    }
}

/// A partial that does not answer the step.
pub(crate) fn unexpected() -> RunError {
    RunError::transient("a partial does not answer the current step; the workers do not run the same version")
}
