//! What the coordinator's handlers and its driver share: the session behind one lock, and a bell that rings on change.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use bytes::Bytes;
use tokio::sync::{mpsc, watch};

use super::pace::Pace;
use crate::{
    error::RunError,
    machine::Position,
    publish::summary::Cost,
    reduction::tree::{self, Place},
    session::{Limits, Millis, Session, StepId, WorkerId},
};

/// What handlers tell the driver.
#[derive(Debug)]
pub(super) enum Event {
    /// The pieces of an accepted partial of the current step.
    Partial(Vec<Bytes>),
    /// The run cannot go on.
    Fatal(RunError),
}

/// What every worker is told when it registers.
#[derive(Debug)]
pub(super) struct Brief {
    /// The resolved job, JSON.
    pub(super) job: Bytes,
    /// The input plan, JSON.
    pub(super) plan: Bytes,
    /// The version that the run will publish.
    pub(super) version: String,
}

impl Brief {
    /// Digest of all that the steps depend on: a checkpoint of another one is not resumed.
    pub(super) fn identity(&self) -> String {
        let mut identity = blake3::Hasher::new();
        for part in [&self.job[..], &self.plan[..], self.version.as_bytes(), env!("CARGO_PKG_VERSION").as_bytes()] {
            identity.update(blake3::hash(part).as_bytes());
        }
        identity.finalize().to_hex().to_string()
    }
}

/// What a worker last said of itself.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Report {
    pub(super) rows_done: u64,
    pub(super) bytes_read: u64,
    pub(super) cpu_millis: u64,
    pub(super) peak_rss_bytes: u64,
}

/// The part behind the lock. Nothing slow happens while it is held.
#[derive(Debug)]
pub(super) struct State {
    pub(super) session: Session,
    /// The current step, encoded.
    pub(super) payload: Option<(StepId, Bytes)>,
    /// Where workers can be reached by others.
    pub(super) addresses: BTreeMap<WorkerId, SocketAddr>,
    /// Places in the tree of the current step, of workers that have not asked for work yet.
    pub(super) places: BTreeMap<WorkerId, Place>,
    /// Contributions accepted in the current step.
    pub(super) accepted: usize,
    /// The run is over; `true` if it failed.
    pub(super) finished: Option<bool>,
    pub(super) reports: BTreeMap<WorkerId, Report>,
    pub(super) position: Position,
    /// Rows that all workers had processed when the current step began.
    pub(super) rows_before: u64,
    pub(super) rows_per_second: f64,
    pub(super) pace: Pace,
    /// Summary or error, once the run is over.
    pub(super) outcome: Option<Result<Bytes, RunError>>,
}

impl State {
    /// Makes the tree of the current step, of which each worker receives and sends so many bytes, if that pays.
    pub(super) fn arrange(&mut self, bytes: u64, threshold: u64) {
        let owners = self.session.owners();
        let reachable = |id: WorkerId| (id, self.addresses.get(&id).copied());
        self.places = if tree::is_worth(owners.len(), bytes, threshold) {
            tree::arrange(&owners.into_iter().map(reachable).collect::<Vec<_>>())
        } else {
            BTreeMap::new()
        };
    }

    /// Rows that all workers have processed since the run began.
    pub(super) fn rows_done(&self) -> u64 {
        self.reports.values().map(|report| report.rows_done).sum()
    }
}

/// Shared by all handlers.
#[derive(Debug)]
pub(super) struct Hub {
    pub(super) run: String,
    pub(super) epoch: u64,
    pub(super) limits: Limits,
    pub(super) brief: Brief,
    /// Bytes of all workers' messages in a step from which on they form a tree.
    pub(super) relay_from_bytes: u64,
    pub(super) events: mpsc::UnboundedSender<Event>,
    opened: Instant,
    state: Mutex<State>,
    bell: watch::Sender<u64>,
}

impl Hub {
    pub(super) fn new(
        (run, epoch): (String, u64),
        (limits, relay_from_bytes): (Limits, u64),
        brief: Brief,
        weights: Vec<u64>,
        events: mpsc::UnboundedSender<Event>,
    ) -> Self {
        Self {
            run,
            epoch,
            limits,
            brief,
            relay_from_bytes,
            events,
            opened: Instant::now(),
            state: Mutex::new(State {
                session: Session::new(weights, limits, Millis(0)),
                payload: None,
                addresses: BTreeMap::new(),
                places: BTreeMap::new(),
                accepted: 0,
                finished: None,
                reports: BTreeMap::new(),
                position: Position::default(),
                rows_before: 0,
                rows_per_second: 0.0,
                pace: Pace::default(),
                outcome: None,
            }),
            bell: watch::Sender::new(0),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> Millis {
        Millis(self.opened.elapsed().as_millis() as u64)
    }

    /// Tells waiting polls that there may be something for them.
    pub(super) fn ring(&self) {
        self.bell.send_modify(|rings| *rings += 1);
    }

    pub(super) fn listen(&self) -> watch::Receiver<u64> {
        self.bell.subscribe()
    }

    pub(super) fn cost(&self) -> Cost {
        let state = self.lock();
        let mut cost = Cost { seconds: self.opened.elapsed().as_secs_f64(), ..Cost::default() };
        for report in state.reports.values() {
            cost.cpu_seconds += report.cpu_millis as f64 / 1e3;
            cost.bytes_read += report.bytes_read;
            cost.peak_rss_bytes = cost.peak_rss_bytes.max(report.peak_rss_bytes);
        }
        cost
    }
}
