//! What it costs to bring the workers' partial sums together, per iteration.

pub(crate) mod hosts;
pub(crate) mod model;
pub(crate) mod partial;
pub(crate) mod real;
pub(crate) mod table;
