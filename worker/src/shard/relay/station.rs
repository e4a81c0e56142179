//! What is going on in the current step: the payload for those below, and what they have sent up.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use coterie_protocol::internal::{Fence, Share, SubmitRequest, Work};
use tokio::sync::{mpsc, oneshot, watch};
use tonic::{Status, Streaming};

use super::Feed;
use crate::reduction::contribution::Reading;

/// Longest wait of a worker below for this one to come to a step.
const PATIENCE: Duration = Duration::from_secs(2);

/// A contribution from below that has begun to arrive.
#[derive(Debug)]
pub(in crate::shard) struct Arrival {
    /// What it covers.
    pub(in crate::shard) shares: Vec<Share>,
    /// Its pieces.
    pub(in crate::shard) pieces: Reading<Streaming<SubmitRequest>>,
    /// Told whether it counted; dropped when nobody knows.
    pub(in crate::shard) answer: oneshot::Sender<bool>,
}

/// One step at this worker.
#[derive(Debug)]
pub(in crate::shard) struct Station {
    run: String,
    epoch: u64,
    step: u64,
    /// Workers right below that have not come yet.
    awaited: Mutex<BTreeSet<u64>>,
    pub(in crate::shard) feed: Feed,
    arrivals: mpsc::Sender<Arrival>,
}

impl Station {
    /// A worker below has begun to send.
    ///
    /// # Errors
    /// ABORTED when it is not awaited here (any more).
    pub(super) async fn arrive(&self, worker: u64, arrival: Arrival) -> Result<(), Status> {
        let awaited = self.awaited.lock().unwrap_or_else(PoisonError::into_inner).remove(&worker);
        if !awaited {
            return Err(elsewhere());
        }
        self.arrivals.send(arrival).await.map_err(|_gone| elsewhere())
    }
}

fn elsewhere() -> Status {
    Status::aborted("this worker does not merge that contribution; send it to the coordinator")
}

/// The step that a worker is at, shared with its server.
#[derive(Clone, Debug)]
pub(in crate::shard) struct Relay(watch::Sender<Position>);

/// Where a worker stands: the coordinator's epoch and the step it has come to, and the step itself while it goes on.
#[derive(Debug, Default)]
struct Position {
    reached: (u64, u64),
    station: Option<Arc<Station>>,
}

impl Default for Relay {
    fn default() -> Self {
        Self(watch::Sender::new(Position::default()))
    }
}

impl Relay {
    /// Begins a step, with what arrives from the workers below.
    pub(in crate::shard) fn begin(&self, fence: &Fence, work: &Work) -> (Arc<Station>, mpsc::Receiver<Arrival>) {
        let children: BTreeSet<u64> = work.place.iter().flat_map(|place| &place.children).copied().collect();
        let (arrivals, receiver) = mpsc::channel(children.len().max(1));
        let station = Arc::new(Station {
            run: fence.run.clone(),
            epoch: fence.epoch,
            step: work.step,
            awaited: Mutex::new(children),
            feed: Feed::default(),
            arrivals,
        });
        self.0.send_modify(|position| {
            position.reached = (fence.epoch, work.step);
            position.station = Some(Arc::clone(&station));
        });
        (station, receiver)
    }

    /// Ends whatever step is going on: those below turn to the coordinator.
    pub(in crate::shard) fn end(&self) {
        self.0.send_modify(|position| position.station = None);
    }

    /// This worker at a step; waits a little for it to come there, not for one that has been there.
    ///
    /// # Errors
    /// ABORTED when it is at another step or does not come.
    pub(super) async fn at(&self, fence: &Fence, step: u64) -> Result<Arc<Station>, Status> {
        let mut position = self.0.subscribe();
        let there = |position: &Position| position.reached >= (fence.epoch, step);
        let station = match tokio::time::timeout(PATIENCE, position.wait_for(there)).await {
            Ok(Ok(position)) => position.station.clone(),
            Ok(Err(_)) | Err(_) => None,
        };
        station
            .filter(|station| station.run == fence.run && station.epoch == fence.epoch && station.step == step)
            .ok_or_else(|| Status::aborted(format!("this worker is not at step {step}; turn to the coordinator")))
    }
}
