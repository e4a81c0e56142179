//! Of several replicas one leads: it alone writes.
//!
//! A replica that was paused, or cut off, must not go on writing when it wakes, for another may lead by then. No lock in the API
//! server can prevent that, so each write asks [`Leadership::permit`] immediately before it is sent. The answer needs no network:
//! it compares a monotonic clock with the time at which the last *acknowledged* renewal was sent. Others wait for the whole lease since
//! they saw that renewal, which is later, and a write is given up when the lease ends. What remains (a request that the network holds
//! back for longer) fails on the resource version that writes carry.

mod election;
mod elector;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

pub(crate) use elector::{Elector, Lost};

/// How long a request may take where no lease bounds it.
const PATIENCE: Duration = Duration::from_secs(30);

/// The rhythm of an election.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    /// Others wait this long after the last renewal they saw.
    pub(crate) lease: Duration,
    /// The leader stops writing this long after its last renewal.
    pub(crate) renew_deadline: Duration,
    /// Time between two attempts.
    pub(crate) retry: Duration,
}

/// Whether this replica may write.
#[derive(Clone, Debug)]
pub(crate) struct Leadership(Arc<Mutex<Standing>>);

#[derive(Clone, Copy, Debug)]
enum Standing {
    /// There is no election: this replica is the only one.
    Sole,
    /// Another replica leads, or none.
    Standby,
    /// This replica leads.
    Leading { renewed: Instant, timing: Timing },
}

// === impl Timing ===

impl Default for Timing {
    /// What the controllers of Kubernetes itself use.
    fn default() -> Self {
        Self { lease: Duration::from_secs(15), renew_deadline: Duration::from_secs(10), retry: Duration::from_secs(2) }
    }
}

// === impl Leadership ===

impl Leadership {
    /// Leadership without an election.
    pub(crate) fn sole() -> Self {
        Self(Arc::new(Mutex::new(Standing::Sole)))
    }

    /// Leadership that is yet to be won.
    pub(crate) fn standby() -> Self {
        Self(Arc::new(Mutex::new(Standing::Standby)))
    }

    /// Whether a write may be sent now.
    pub(crate) fn holds(&self) -> bool {
        self.permit().is_some()
    }

    /// The time by which a write that is sent now must be over. `None`: it must not be sent.
    pub(crate) fn permit(&self) -> Option<Instant> {
        let now = Instant::now();
        match *self.standing() {
            Standing::Sole => Some(now + PATIENCE),
            Standing::Standby => None,
            Standing::Leading { renewed, timing } => {
                (now < renewed + timing.renew_deadline).then(|| renewed + timing.lease)
            }
        }
    }

    /// A renewal that was sent at this time is acknowledged.
    fn renewed(&self, sent: Instant, timing: Timing) {
        *self.standing() = Standing::Leading { renewed: sent, timing };
    }

    /// Nothing may be written from now on.
    pub(crate) fn end(&self) {
        *self.standing() = Standing::Standby;
    }

    fn standing(&self) -> std::sync::MutexGuard<'_, Standing> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_leader_that_sleeps_past_its_deadline_does_not_write() {
        let leadership = Leadership::standby();
        assert!(!leadership.holds());
        let sent = Instant::now();
        leadership.renewed(sent, Timing::default());
        assert_eq!(leadership.permit(), Some(sent + Duration::from_secs(15)));
        tokio::time::advance(Duration::from_millis(9_999)).await;
        assert!(leadership.holds());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(!leadership.holds());
        leadership.renewed(Instant::now(), Timing::default());
        assert!(leadership.holds());
        leadership.end();
        assert!(!leadership.holds());
    }
}
