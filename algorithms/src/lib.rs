//! Clustering algorithms over arrays of numbers: no files, no network, no clock.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod distinct;
pub mod features;
pub mod fixed;
pub mod kmeans;
pub mod metric;
pub mod random;
pub mod score;

mod keep;
mod lanes;
