//! A training run: one coordinator, many shard workers, one model.
//!
//! | module | concern |
//! |---|---|
//! | [`session`] | pure: who is alive, who owns which split, what the current step still lacks |
//! | [`machine`] | what a run brings to the session: steps out, merged partials in |
//! | [`reduction`] | how partials come together: a tree of workers, contributions on the wire |
//! | [`training`] | a run as such a machine (pure), and the workers' side of its steps |
//! | [`kmeans`], [`lsh`] | the algorithms inside it |
//! | [`coordinator`] | the tonic shell around session and machine; checkpoints |
//! | [`shard`] | a worker process: register, poll, compute, submit; the split store |
//! | [`publish`] | the outcome of a run as a model version |
//! | [`supervise`] | processes that one parent looks after |
//! | [`standalone`] | a whole run as one process tree on this machine |
//! | [`member`] | the processes of one pod of a run |

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod config;
pub mod coordinator;
pub mod error;
pub mod kmeans;
pub mod lsh;
pub mod machine;
pub mod member;
pub mod publish;
pub mod reduction;
pub mod session;
pub mod shard;
pub mod standalone;
pub mod supervise;
mod task;
pub mod tls;
pub mod training;
