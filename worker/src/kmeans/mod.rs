//! k-means over sharded rows: [`machine`] decides (pure), [`step`] is what is said between coordinator and workers,
//! [`compute`] is a worker's share of a step, [`lloyd`] that of the step that matters most, [`seeding`] that of the rounds of k-means||.
//!
//! These are its steps, between those that every run has (see [`crate::training`]):
//!
//! ```text
//! init -> Assign*
//! init: Sample -> ...                          (random, k-means++)
//!       Sample -> (Seed -> Draw)* -> Weigh     (k-means||)
//! Assign that leaves clusters empty -> Farthest -> Assign
//! ```

pub mod compute;
pub mod init;
pub mod lloyd;
pub mod machine;
mod seeding;
pub mod step;
#[cfg(test)]
mod tests;

pub use machine::KMeansMachine;
pub use step::{Partial, Step};
