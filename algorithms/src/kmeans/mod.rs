//! K-means: assign each row to its nearest centroid, move each centroid to the mean of its rows, repeat.
//!
//! The data may be far larger than one machine, so the algorithm is given as building blocks without loops over shards:
//!
//! - [`Centroids`] and [`assign`]: the assignment step for a block of rows;
//! - [`Pruner`]: the same labels for less work, by bounds of distances kept from pass to pass;
//! - [`Sieve`]: the same labels for rows of which nothing is known, by bytes that rule nearly all centroids out;
//! - [`Finder`]: the same for any number of centroids; of very many, a row looks at those near it only;
//! - [`Partial`]: what a block contributes to the update step, with a merge that is exact in any order;
//! - [`update`] and [`relocate`]: the update step, once all partials are merged;
//! - [`init`]: samples, k-means++ and k-means|| from which the first centroids come.
//!
//! [`local::lloyd`] puts them together in one process; [`naive`] holds slow obvious versions that the tests compare with.

mod assign;
mod bounds;
mod cells;
pub mod centring;
mod centroids;
mod delta;
mod finder;
pub mod init;
pub(crate) mod kernel;
pub mod local;
pub mod naive;
mod nearest;
mod open;
mod partial;
mod passes;
mod patience;
mod relocate;
mod sieve;
mod update;

pub use assign::{assign, assign_two, squared_distance};
pub use bounds::{PruneBuffers, Pruner, RowBounds};
pub use centroids::Centroids;
pub use delta::Delta;
pub use finder::{Finder, FinderBuffers};
pub(crate) use nearest::keep_nearest;
pub use nearest::nearest;
pub use partial::{Partial, inertia_of};
pub use relocate::{Far, Farthest, relocate};
pub use sieve::{Sieve, SieveBuffers};
pub use update::{Update, threshold, update};
