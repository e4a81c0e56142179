//! The commands, one file each.

pub(crate) mod client;
pub(crate) mod cluster;
pub(crate) mod generate;
pub(crate) mod image;
pub(crate) mod test;
