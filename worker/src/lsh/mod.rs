//! Clusters of rows that share buckets: [`machine`] decides (pure), [`step`] is what is said between coordinator and workers,
//! [`compute`] is a worker's share of a step, [`hashing`] gives a row its keys.
//!
//! These are its steps, between those that every run has (see [`crate::training`]):
//!
//! ```text
//! Buckets* -> Sums
//! ```
//!
//! Each Buckets step looks at some of the buckets (see [`coterie_algorithms::lsh::Deal`]), so that messages stay small however
//! many rows and tables there are. The coordinator alone knows which rows hang together: 4 bytes per row.

pub mod compute;
pub mod hashing;
pub mod machine;
pub mod step;

pub use machine::LshMachine;
pub use step::{Partial, Step};
