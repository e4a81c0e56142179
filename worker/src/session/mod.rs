//! The session between a coordinator and its workers, as a pure state machine.
//!
//! The problem: workers come, die, stall and return, and messages arrive late or twice, yet every step of a run must
//! count each split exactly once. The machine holds who is alive, who owns which split, and which splits the current
//! step still lacks. It is told the time and never asks for it; it knows nothing of the algorithm or the network.
//!
//! Fencing: a contribution names (worker, step, split, attempt). It is accepted only while the worker holds its lease,
//! the step is the current one, and every split it lists is owned by that worker at that attempt and not yet counted.
//! A split's attempt grows whenever it changes hands, so what a lost worker sends later can never be counted.
//! A contribution may hold several workers' shares, merged on the way; they count together or not at all.

mod splits;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use self::splits::Splits;

/// Milliseconds on the coordinator's monotonic clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Millis(pub u64);

/// A registered incarnation of a worker process; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerId(pub u64);

/// Sequence number of a step within the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct StepId(pub u64);

/// A split handed to a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lot {
    /// Index of the split in the input plan.
    pub split: u32,
    /// How often the split has changed hands.
    pub attempt: u32,
}

/// Limits of a session.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// A worker silent for longer loses its splits.
    pub lease: u64,
    /// Workers to wait for before the first splits are handed out.
    pub expected_workers: usize,
    /// Longest wait for them, in milliseconds.
    pub patience: u64,
    /// Times a split may fail with a transient error within one step before the run is given up.
    pub split_failures: u32,
}

/// What a poll is answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Poll {
    /// Process these splits for this step.
    Work(StepId, Vec<Lot>),
    /// Nothing to do at the moment.
    Idle,
}

/// The caller is not (or no longer) a live worker of this session and has to register again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("worker {} holds no lease in this session", .0.0)]
pub struct Fenced(pub WorkerId);

/// Verdict on a contribution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Counted; the caller merges it.
    Accepted,
    /// Late or duplicate; the caller drops it.
    Dropped,
}

/// What a failed split leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterFailure {
    /// The splits will be tried again, by another worker if there is one.
    Retry,
    /// This split has failed too often.
    GiveUp(u32),
}

#[derive(Debug)]
struct Worker {
    name: String,
    heard: Millis,
}

/// The session's state. See the module documentation.
#[derive(Debug)]
pub struct Session {
    limits: Limits,
    opened: Millis,
    next_worker: u64,
    workers: BTreeMap<WorkerId, Worker>,
    splits: Splits,
    step: StepId,
    started: bool,
}

impl Session {
    /// A session over splits of the given weights (rows or bytes: anything proportional to their work), with no worker yet.
    #[must_use]
    pub fn new(weights: Vec<u64>, limits: Limits, now: Millis) -> Self {
        Self {
            limits,
            opened: now,
            next_worker: 1,
            workers: BTreeMap::new(),
            splits: Splits::new(weights),
            step: StepId(0),
            started: false,
        }
    }

    /// Admits a worker. An earlier incarnation of the same name is gone for good, so its splits are free at once.
    pub fn register(&mut self, name: &str, now: Millis) -> WorkerId {
        let earlier: Vec<WorkerId> =
            self.workers.iter().filter(|(_, worker)| worker.name == name).map(|(id, _)| *id).collect();
        for id in earlier {
            self.remove(id);
        }
        let id = WorkerId(self.next_worker);
        self.next_worker += 1;
        self.workers.insert(id, Worker { name: name.to_owned(), heard: now });
        self.start_if_ready(now);
        self.place();
        id
    }

    /// Renews a worker's lease.
    ///
    /// # Errors
    /// [`Fenced`] when the worker holds no lease.
    pub fn heartbeat(&mut self, id: WorkerId, now: Millis) -> Result<(), Fenced> {
        let worker = self.workers.get_mut(&id).ok_or(Fenced(id))?;
        worker.heard = now;
        Ok(())
    }

    /// A worker says goodbye: its splits move at once.
    pub fn leave(&mut self, id: WorkerId) {
        self.remove(id);
        self.place();
    }

    /// Takes the splits of workers that were silent for longer than the lease. Returns the names of those lost.
    pub fn expire(&mut self, now: Millis) -> Vec<String> {
        let lost: Vec<WorkerId> = self
            .workers
            .iter()
            .filter(|(_, worker)| now.0.saturating_sub(worker.heard.0) > self.limits.lease)
            .map(|(id, _)| *id)
            .collect();
        let mut names = Vec::with_capacity(lost.len());
        for id in lost {
            if let Some(worker) = self.remove(id) {
                names.push(worker.name);
            }
        }
        if !names.is_empty() {
            self.place();
        }
        names
    }

    /// The coordinator itself was stopped until now: no worker is silent on that account.
    pub fn forgive(&mut self, now: Millis) {
        for worker in self.workers.values_mut() {
            worker.heard = worker.heard.max(now);
        }
    }

    /// Opens a step: every split is to be processed once more. Loads that have become uneven are evened out here,
    /// between steps, when no split is being worked on.
    pub fn begin(&mut self, step: StepId, now: Millis) {
        self.step = step;
        self.splits.reopen();
        self.start_if_ready(now);
        if self.started {
            let live: Vec<WorkerId> = self.workers.keys().copied().collect();
            self.splits.rebalance(&live);
        }
    }

    /// Work for an idle worker: all that it still owes the current step.
    ///
    /// # Errors
    /// [`Fenced`] when the worker holds no lease.
    pub fn poll(&mut self, id: WorkerId, now: Millis) -> Result<Poll, Fenced> {
        self.heartbeat(id, now)?;
        self.start_if_ready(now);
        let lots = self.splits.owed(id);
        Ok(if lots.is_empty() { Poll::Idle } else { Poll::Work(self.step, lots) })
    }

    /// Judges a contribution of `id`, with what it has merged of other workers: all shares count, or none.
    ///
    /// # Errors
    /// [`Fenced`] when the sender holds no lease. Where another worker holds none, its splits are no longer its own.
    pub fn contribute(
        &mut self,
        id: WorkerId,
        step: StepId,
        shares: &[(WorkerId, Vec<Lot>)],
        now: Millis,
    ) -> Result<Verdict, Fenced> {
        self.heartbeat(id, now)?;
        if step != self.step || shares.iter().all(|(_, lots)| lots.is_empty()) || !self.splits.close(shares) {
            return Ok(Verdict::Dropped);
        }
        Ok(Verdict::Accepted)
    }

    /// A worker could not process some splits for a passing reason.
    ///
    /// # Errors
    /// [`Fenced`] when the worker holds no lease.
    pub fn fail(&mut self, id: WorkerId, step: StepId, lots: &[Lot], now: Millis) -> Result<AfterFailure, Fenced> {
        self.heartbeat(id, now)?;
        if step != self.step {
            return Ok(AfterFailure::Retry);
        }
        let mut worst = AfterFailure::Retry;
        for lot in lots {
            if let Some(failures) = self.splits.release(id, *lot)
                && failures > self.limits.split_failures
                && worst == AfterFailure::Retry
            {
                worst = AfterFailure::GiveUp(lot.split);
            }
        }
        self.place_avoiding(Some(id));
        Ok(worst)
    }

    /// Workers that own splits.
    #[must_use]
    pub fn owners(&self) -> Vec<WorkerId> {
        self.splits.owners()
    }

    /// Whether every split has been counted in the current step.
    #[must_use]
    pub fn complete(&self) -> bool {
        self.splits.open() == 0
    }

    /// Splits counted in the current step.
    #[must_use]
    pub fn done(&self) -> usize {
        self.splits.len() - self.splits.open()
    }

    /// Number of splits.
    #[must_use]
    pub fn len(&self) -> usize {
        self.splits.len()
    }

    /// Whether there are no splits at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.splits.len() == 0
    }

    /// Workers that hold a lease.
    #[must_use]
    pub fn live(&self) -> usize {
        self.workers.len()
    }

    /// The current step.
    #[must_use]
    pub fn step(&self) -> StepId {
        self.step
    }

    fn remove(&mut self, id: WorkerId) -> Option<Worker> {
        let worker = self.workers.remove(&id)?;
        self.splits.orphan(id);
        Some(worker)
    }

    fn start_if_ready(&mut self, now: Millis) {
        let waited = now.0.saturating_sub(self.opened.0) >= self.limits.patience;
        if !self.started && !self.workers.is_empty() && (self.workers.len() >= self.limits.expected_workers || waited) {
            self.started = true;
            self.place();
        }
    }

    fn place(&mut self) {
        self.place_avoiding(None);
    }

    fn place_avoiding(&mut self, avoid: Option<WorkerId>) {
        if !self.started {
            return;
        }
        let others: Vec<WorkerId> = self.workers.keys().copied().filter(|id| Some(*id) != avoid).collect();
        let live = if others.is_empty() { self.workers.keys().copied().collect() } else { others };
        self.splits.place(&live);
    }
}
