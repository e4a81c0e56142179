//! A world in memory for the operator's core: an API server, Kubernetes' controllers, the operator's effects, a user, and faults of all of them.
//! Everything that happens in it follows from a seed.

pub mod apiserver;
pub mod controllers;
pub mod deployments;
pub mod dice;
pub mod garbage;
pub mod jobs;
pub mod kinds;
pub mod kstatus;
pub mod kubelet;
pub mod operator;
pub mod oracles;
pub mod training;
pub mod user;
pub mod world;

/// Plans are made of many small objects; the system's allocator would take half of the time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
