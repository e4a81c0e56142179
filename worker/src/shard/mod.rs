//! A worker process: it registers with the coordinator, asks for work, computes, and submits merged partials.
//!
//! | module | concern |
//! |---|---|
//! | [`budget`] | memory for rows |
//! | [`client`] | a worker's life: registration, heartbeats, beginning anew |
//! | `steps` | what it does in between: poll, fetch, compute, submit |
//! | `link` | connections to the coordinator |
//! | `relay` | what workers do for each other: steps down, merged partials up |
//! | [`store`] | the splits a worker holds, loaded from the source when first needed |
//! | [`rows`] | chunks of rows in memory or scratch |
//! | [`pass`] | one pass over chunks by all threads |
//! | [`usage`] | CPU and memory of the process |

pub mod budget;
pub mod client;
mod link;
pub mod observe;
pub mod pass;
mod relay;
pub mod rows;
mod steps;
pub mod store;
pub mod usage;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

pub use client::run;

use crate::error::RunError;

/// Settings of a worker process.
#[derive(Clone, Debug)]
pub struct ShardOptions {
    /// Unique in the run: a second worker of the same name replaces the first. The pod's name on Kubernetes.
    pub name: String,
    /// Threads that compute.
    pub threads: usize,
    /// Bytes of rows kept in memory; the rest goes to scratch.
    pub row_budget: u64,
    /// Directory for scratch.
    pub scratch: PathBuf,
}

/// Counters and the flag shared between computation and heartbeats, of one registration.
#[derive(Debug, Default)]
pub struct Vitals {
    /// Rows processed.
    pub rows_done: AtomicU64,
    /// Bytes fetched from the source.
    pub bytes_read: AtomicU64,
    /// Bytes fetched before this registration.
    bytes_before: AtomicU64,
    /// The worker has lost its lease or is to stop: what it computes would be dropped.
    pub abandoned: AtomicBool,
}

impl Vitals {
    /// Starts counting; `bytes` were fetched before.
    pub fn begin(&self, bytes: u64) {
        self.bytes_before.store(bytes, Ordering::Relaxed);
    }

    /// `bytes` were fetched since the process started.
    pub fn read_so_far(&self, bytes: u64) {
        self.bytes_read.store(bytes - self.bytes_before.load(Ordering::Relaxed).min(bytes), Ordering::Relaxed);
    }

    /// Fails when the work has become pointless.
    ///
    /// # Errors
    /// When the lease is lost.
    pub fn check(&self) -> Result<(), RunError> {
        if self.abandoned.load(Ordering::Relaxed) {
            return Err(RunError::transient("the lease was lost in the middle of a step"));
        }
        Ok(())
    }
}

/// Threads for computation, apart from those that move bytes.
#[derive(Clone, Debug)]
pub struct Threads(Arc<rayon::ThreadPool>);

impl Threads {
    /// A pool of `count` threads.
    ///
    /// # Errors
    /// When the system refuses threads.
    pub fn new(count: usize) -> Result<Self, RunError> {
        rayon::ThreadPoolBuilder::new()
            .num_threads(count.max(1))
            .thread_name(|at| format!("compute-{at}"))
            .build()
            .map(|pool| Self(Arc::new(pool)))
            .map_err(|error| RunError::transient(format!("start {count} compute threads: {error}")))
    }
}
