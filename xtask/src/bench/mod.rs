//! Benchmarks against what a user would otherwise run: same data, same first centroids, same number of threads.
//!
//! [`cases`] says what is compared, [`contenders`] how each one is started, [`session`] runs them in turn, [`lines`] is what is kept
//! of it, [`summary`] makes medians and ratios of that; [`table`], [`plot`] and [`page`] show them.
//! [`assignment`] is a benchmark of its own, of the assignment step alone, and [`serving`] one of a served model over the wire.

pub(crate) mod assignment;
pub(crate) mod cases;
pub(crate) mod contenders;
pub(crate) mod lines;
pub(crate) mod machine;
pub(crate) mod page;
pub(crate) mod plot;
pub(crate) mod replica;
pub(crate) mod serving;
pub(crate) mod session;
pub(crate) mod summary;
pub(crate) mod table;
