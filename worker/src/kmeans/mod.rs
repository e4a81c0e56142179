//! k-means over sharded rows: [`machine`] decides (pure), [`step`] is what is said between coordinator and workers,
//! [`compute`] is a worker's share of a step, [`lloyd`] that of the step that matters most.
//!
//! A run is a sequence of steps, each over all splits:
//!
//! ```text
//! Scan -> (Moments per fitted feature) -> Moments -> Prepare -> init -> Assign* -> Evaluate -> [Publish]
//!                                              init: Sample -> ...            (random, k-means++)
//!                                                    Sample -> (Seed -> Draw)* -> Weigh   (k-means||)
//!                                              Assign that leaves clusters empty -> Farthest -> Assign
//! ```

pub mod compute;
pub mod evaluation;
pub mod init;
pub mod lloyd;
pub mod machine;
pub mod step;
#[cfg(test)]
mod tests;

pub use machine::{KMeansMachine, Outcome};
pub use step::{Context, Partial, Step};
