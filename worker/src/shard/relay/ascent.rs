//! A partial's way up: merged with what came from below, to the worker above or to the coordinator.
//!
//! Whatever goes wrong on the way costs time only. A contribution that the worker above does not take goes to the coordinator as it
//! is; one that the coordinator does not count (a worker in it has lost its lease, say) is taken apart again: each worker then sends
//! its own.

use std::time::Duration;

use bytes::Bytes;
use coterie_protocol::internal::{Fence, Share, SubmitRequest, Work};
use futures::stream;
use serde::{Serialize, de::DeserializeOwned};
use tokio::{sync::mpsc, time::Instant};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::{above::Above, station::Arrival};
use crate::{
    error::RunError,
    machine::Merge,
    reduction::contribution::{self, Spelling},
    session::WorkerId,
    shard::link::Client,
};

/// Messages between merging and sending.
const AHEAD: usize = 4;

/// The way from this worker up, in one step.
pub(in crate::shard) struct Ascent<'a> {
    pub(in crate::shard) coordinator: &'a mut Client,
    pub(in crate::shard) above: &'a mut Above,
    pub(in crate::shard) fence: &'a Fence,
    pub(in crate::shard) work: &'a Work,
    /// What comes from below.
    pub(in crate::shard) arrivals: mpsc::Receiver<Arrival>,
    /// Longest wait for it to begin.
    pub(in crate::shard) patience: Duration,
}

/// A partial of this worker's own splits.
#[derive(Debug)]
pub(in crate::shard) struct Own<P> {
    pieces: Vec<P>,
    encoded: Vec<Bytes>,
}

impl<P: Merge + Serialize> Own<P> {
    /// Cuts and encodes a partial.
    ///
    /// # Errors
    /// When it cannot be encoded (a bug).
    pub(in crate::shard) fn new(partial: P) -> Result<Self, RunError> {
        let pieces = partial.cut();
        let encoded = contribution::encode(&pieces)?;
        Ok(Self { pieces, encoded })
    }
}

impl Ascent<'_> {
    /// Sends it, merged with what comes from below in time. Whoever sent that is told whether it counted.
    ///
    /// # Errors
    /// The coordinator's status for this worker's own contribution.
    pub(in crate::shard) async fn send<P: Merge + Serialize + DeserializeOwned>(
        mut self,
        own: Own<P>,
    ) -> Result<(), Status> {
        let below = self.gather().await;
        let parent = super::parent(self.work);
        let mine = contribution::share(WorkerId(self.fence.worker), self.work.splits.clone());
        if below.is_empty() && parent.is_none() {
            return self.submit(vec![mine], &own.encoded).await.map(drop);
        }
        let alone = below.is_empty();
        let shares: Vec<Share> =
            std::iter::once(&mine).chain(below.iter().flat_map(|arrival| &arrival.shares)).cloned().collect();
        let (answers, readings): (Vec<_>, Vec<_>) =
            below.into_iter().map(|arrival| (arrival.answer, arrival.pieces)).unzip();
        let counted = match (self.pass(parent, &shares, own.pieces, readings).await, parent) {
            (Passed::Counted, _) => true,
            (Passed::Refused(Some(merged)), Some(_)) => match self.submit(shares, &merged).await {
                Err(status) if alone => return Err(status),
                counted => counted.unwrap_or(false) || alone,
            },
            (Passed::Refused(_), _) => false,
        };
        for answer in answers {
            // Whoever has gone does not need it.
            let _ = answer.send(counted);
        }
        if counted { Ok(()) } else { self.submit(vec![mine], &own.encoded).await.map(drop) }
    }

    /// What begins to arrive from below in time.
    async fn gather(&mut self) -> Vec<Arrival> {
        let expected = self.work.place.as_ref().map_or(0, |place| place.children.len());
        let deadline = Instant::now() + self.patience;
        let mut below = Vec::with_capacity(expected);
        while below.len() < expected {
            match tokio::time::timeout_at(deadline, self.arrivals.recv()).await {
                Ok(Some(arrival)) => below.push(arrival),
                Ok(None) | Err(_) => break,
            }
        }
        // Whoever comes later is sent away; whoever came just now is not.
        self.arrivals.close();
        while let Ok(arrival) = self.arrivals.try_recv() {
            below.push(arrival);
        }
        below
    }

    /// Sends the merged pieces to the worker above, or the coordinator, while they are merged.
    async fn pass<P: Merge + Serialize + DeserializeOwned>(
        &mut self,
        parent: Option<&str>,
        shares: &[Share],
        pieces: Vec<P>,
        below: Vec<Pieces>,
    ) -> Passed {
        let (sender, receiver) = mpsc::channel(AHEAD);
        let header = Spelling::header(self.fence, self.work.step, shares.to_vec());
        let merging = merge(header, pieces, below, sender);
        let messages = ReceiverStream::new(receiver);
        let sending = async {
            match parent {
                None => self.coordinator.submit(messages).await,
                Some(address) => {
                    let sent = match self.above.client(address).await {
                        Ok(mut client) => client.merge(messages).await,
                        Err(status) => Err(status),
                    };
                    if let Err(status) = &sent {
                        tracing::debug!(address, %status, "the worker above does not take a contribution");
                        self.above.forget(address);
                    }
                    sent
                }
            }
        };
        let (sent, merged) = tokio::join!(sending, merging);
        match sent {
            Ok(response) if response.get_ref().accepted => Passed::Counted,
            Ok(_) | Err(_) => Passed::Refused(merged),
        }
    }

    /// Submits a whole contribution to the coordinator. Returns whether it was counted.
    async fn submit(&mut self, shares: Vec<Share>, pieces: &[Bytes]) -> Result<bool, Status> {
        let messages = Spelling::whole(self.fence, self.work.step, shares, pieces);
        Ok(self.coordinator.submit(stream::iter(messages)).await?.into_inner().accepted)
    }
}

type Pieces = contribution::Reading<tonic::Streaming<SubmitRequest>>;

/// How a merged contribution fared.
enum Passed {
    Counted,
    /// Not counted, or nobody knows. With its pieces, if all of them came from below.
    Refused(Option<Vec<Bytes>>),
}

/// Merges piece by piece, sending each; `None` if something from below breaks off. Without a seal nothing counts.
async fn merge<P: Merge + Serialize + DeserializeOwned>(
    header: SubmitRequest,
    pieces: Vec<P>,
    mut below: Vec<Pieces>,
    sender: mpsc::Sender<SubmitRequest>,
) -> Option<Vec<Bytes>> {
    // A receiver that has gone away is no reason to stop: the coordinator takes the whole.
    let _ = sender.send(header).await;
    let mut spelling = Spelling::default();
    let mut merged = Vec::with_capacity(pieces.len());
    for mut piece in pieces {
        for reading in &mut below {
            let theirs = reading.piece().await.ok()??;
            piece.merge(contribution::decode_piece(&theirs).ok()?).ok()?;
        }
        let bytes = contribution::piece(&piece).ok()?;
        for message in spelling.piece(&bytes) {
            let _ = sender.send(message).await;
        }
        merged.push(bytes);
    }
    for reading in &mut below {
        // Its seal, which says that what was merged is what was sent.
        if reading.piece().await.ok()?.is_some() {
            return None;
        }
    }
    let _ = sender.send(spelling.seal()).await;
    Some(merged)
}
