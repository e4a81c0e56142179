//! Locality-sensitive hashing: near rows share a bucket more often than far ones.
//!
//! Looking at every row for every query takes as long as reading all the data. Hashes under which near rows collide turn
//! the question "what is near" into "what has the same key", and several tables of several hashes each make near rows meet
//! almost surely and far ones hardly ever.
//!
//! | rows | near means | family |
//! |---|---|---|
//! | vectors | a small angle | [`SignFamily`] |
//! | vectors | a small distance | [`StableFamily`] |
//! | sets of ids | many ids in common | [`MinHashFamily`]; [`SetFamily`] where they are rows of zeros and ones |
//!
//! [`Tables`] hold who shares a key, as flat arrays that may lie in a mapped file; a [`Searcher`] looks
//! into several buckets of each ([`Probes`]) and ranks what it finds by exact distance.
//!
//! [`choose()`] finds how many tables, hashes and probes a recall takes; a [`Trial`] tells the recall of given ones.
//! [`BucketPartial`] clusters rows by the buckets they share, part by part: [`Clusters`].
//!
//! All random choices are functions of a seed ([`crate::random`]), and a key depends on the row alone: not on its place
//! in a block, on threads, or on the machine.

mod buckets;
mod choose;
mod cluster;
mod components;
mod directory;
mod family;
mod gaussian;
mod key;
mod links;
mod members;
mod minhash;
mod nearest;
mod parts;
mod probes;
mod projections;
mod radix;
mod set_family;
mod sign;
mod similar;
mod stable;
mod tables;
mod trial;

pub use buckets::{BucketPartial, Collector, Deal};
pub use choose::{Choice, Goal, OutOfReach, choose, set_families, sign_families, stable_families};
pub use cluster::{Clusters, NOISE};
pub use components::{Components, ParentError};
pub use family::{Family, Move, Moves};
pub use key::Key;
pub use links::LinksError;
pub use members::Members;
pub use minhash::{Id, MinHashFamily, Sets, SetsError, jaccard_distance};
pub use nearest::{Effort, Neighbour, Searcher, brute_force, nearest_of};
pub use probes::Probes;
pub use set_family::SetFamily;
pub use sign::SignFamily;
pub use stable::StableFamily;
pub use tables::{Tables, TablesError};
pub use trial::Trial;
pub(crate) use trial::pick;
