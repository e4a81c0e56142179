//! A real Kubernetes on this machine, for tests: upstream's components, built from source, without a container engine.
//!
//! Each node is a process in network, mount and process namespaces of its own (`node.rs`); whatever belongs to the node runs inside
//! them and ends with that process. The control plane, the DNS server and the S3 server run on the first node. See
//! `tests/cluster/README.md`.

mod cgroups;
pub(crate) mod components;
mod config;
mod control;
mod digest;
mod dns;
mod down;
pub(crate) mod faults;
pub(crate) mod image;
mod install;
mod layout;
mod network;
mod node;
mod packages;
mod pki;
mod process;
mod status;
mod storage;
mod up;
mod wait;

pub(crate) use down::down;
pub(crate) use layout::Cluster;
pub(crate) use status::status;
pub(crate) use up::{is_root, up};
