//! The product on a real Kubernetes: upstream's control plane and kubelet, the chart, the examples, a real S3 server.
//!
//! Needs the cluster of `cargo xtask cluster up`, which `cargo xtask test` starts. Each test works in a namespace of its own under the restricted
//! Pod Security Standard, waits on conditions with a deadline, and says on failure how things stood.
#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr
)]

#[path = "../support/mod.rs"]
mod support;

mod canary;
mod cluster;
mod faults;
mod idle;
mod kstatus;
mod load;
mod quickstart;
mod replicas;
mod retrain;
mod schedule;
mod security;
mod shards;
mod surroundings;
