//! The server's bounds.

use crate::cache::CacheSettings;
use std::time::Duration;

/// Bounds of a server. The defaults suit a replica with a few cores and a gigabyte of memory.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Queries answered at once; more are refused with 429 (`RESOURCE_EXHAUSTED`). Default 256.
    pub max_in_flight: usize,
    /// Queries whose body is still on its way; more are refused likewise. Default 4,096.
    pub max_arriving: usize,
    /// Largest body of one request, in bytes; a larger one is refused with 413 (gRPC: `OUT_OF_RANGE`). Default 32 MiB.
    pub max_body_bytes: usize,
    /// Bytes of all bodies in flight together, and of large answers that are not sent yet; a request that would exceed it is refused
    /// with 429. Default 256 MiB.
    pub max_bytes_in_flight: usize,
    /// Streams of batches open at once; more are refused with `RESOURCE_EXHAUSTED`. Each holds one batch at a time. Default 16.
    pub max_streams: usize,
    /// Most rows in one request. Default 65,536.
    pub max_rows: usize,
    /// Connections held open on each listener; more wait in the kernel's queue. Default 4,096.
    pub max_connections: usize,
    /// How long a connection may take to send a request's headers, or lie idle before them. Default 60 s.
    pub idle_timeout: Duration,
    /// How long a request may take to send its body over REST. Default 20 s.
    pub body_timeout: Duration,
    /// How long a query may take in all; a gRPC client's shorter deadline is honoured. Default 30 s.
    pub request_timeout: Duration,
    /// How long a caller may take to read a large answer; then it is cut off. Default 60 s.
    pub answer_timeout: Duration,
    /// How long to go on accepting after readiness is withdrawn, so that load balancers notice. Default 0.
    pub drain_delay: Duration,
    /// How long requests in flight may take to finish once accepting has stopped. Default 25 s.
    pub drain_timeout: Duration,
    /// Threads that work on large requests. Default: the machine's cores as far as this process may use them.
    pub compute_threads: usize,
    /// Which answers are kept. Default: 64 MiB of them, each for ten minutes.
    pub cache: CacheSettings,
    /// How long answers are compared with those of another model after somebody last asked for the result. Default two hours, twice the longest
    /// interval between two questions.
    pub shadow_interest: Duration,
}

impl Settings {
    /// Most values that the vectors of a request have: so many fit into the largest body, as a digit and a comma each. Sets as rows
    /// have no more.
    pub(crate) fn most_values(&self) -> usize {
        self.max_body_bytes / 2
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_in_flight: 256,
            max_arriving: 4_096,
            max_body_bytes: 32 << 20,
            max_bytes_in_flight: 256 << 20,
            max_streams: 16,
            max_rows: 65_536,
            max_connections: 4_096,
            idle_timeout: Duration::from_secs(60),
            body_timeout: Duration::from_secs(20),
            request_timeout: Duration::from_secs(30),
            answer_timeout: Duration::from_secs(60),
            drain_delay: Duration::ZERO,
            drain_timeout: Duration::from_secs(25),
            compute_threads: std::thread::available_parallelism().map_or(1, usize::from),
            cache: CacheSettings::default(),
            shadow_interest: Duration::from_secs(2 * 3_600),
        }
    }
}
