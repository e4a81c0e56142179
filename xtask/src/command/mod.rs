//! The commands, one file each.

pub(crate) mod bench;
pub(crate) mod client;
pub(crate) mod cluster;
pub(crate) mod generate;
pub(crate) mod image;
pub(crate) mod reduce_sim;
pub(crate) mod test;
