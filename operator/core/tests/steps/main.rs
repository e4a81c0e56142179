//! Whole plans, step by step: what is done in each situation of a job's life, and that nothing is done twice.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod canary;
mod rollout;
mod schedule;
mod shards;
mod situation;
mod training;
