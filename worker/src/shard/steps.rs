//! The steps of a registered worker, one after the other: poll, fetch, compute, submit.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use bytes::Bytes;
use coterie_protocol::internal::{FailRequest, Fence, PollRequest, SplitRef, Work, poll_response::Next};
use tonic::{Code, Status};

use super::{
    Vitals,
    client::{Lease, Life, PAUSES, out_of_reach},
    link::{self, Client},
    relay::{
        self, Relay, Station,
        above::Above,
        ascent::{Ascent, Own},
    },
    store::SplitStore,
};
use crate::{
    error::RunError,
    kmeans::lloyd::Lloyd,
    publish::rows::RowSink,
    training::{self, Step},
};

/// Wait for workers below, or as long as this worker has computed if that is more. The step needs them anyway: only those that have
/// gone are waited for in vain.
const SHORTEST_WAIT: Duration = Duration::from_secs(1);

/// Connections to those above, and what those below see.
pub(super) struct Way {
    pub(super) coordinator: Client,
    pub(super) above: Above,
    pub(super) relay: Relay,
}

impl Drop for Way {
    fn drop(&mut self) {
        self.relay.end();
    }
}

impl Way {
    /// Fetches a step's payload: from the worker above if there is one, from the coordinator otherwise or if that fails.
    async fn fetch(&mut self, fence: &Fence, work: &Work, station: &Station) -> Result<Bytes, Status> {
        if let Some(parent) = relay::parent(work) {
            match self.above.fetch(parent, fence, work.step, &station.feed).await {
                Ok(()) => return Ok(station.feed.complete()),
                Err(status) => {
                    tracing::debug!(parent, %status, "the step is fetched from the coordinator");
                    self.above.forget(parent);
                }
            }
        }
        link::fetch(&mut self.coordinator, fence, work.step, &station.feed).await?;
        Ok(station.feed.complete())
    }
}

/// Polls and computes until the run is over.
pub(super) async fn work(
    mut way: Way,
    lease: &Lease,
    (store, lloyd): (&mut SplitStore, &mut Lloyd),
    sink: &RowSink,
    vitals: &Vitals,
) -> Result<Life, RunError> {
    let fence = &lease.fence;
    let mut current: Option<(u64, Step)> = None;
    loop {
        way.relay.end();
        let next = match way.coordinator.poll(PollRequest { fence: Some(fence.clone()) }).await {
            Ok(response) => response.into_inner().next,
            Err(status) => return lost(&status),
        };
        let work = match next {
            Some(Next::Work(work)) => work,
            Some(Next::Finished(_)) => return Ok(Life::Finished),
            Some(Next::Idle(_)) | None => continue,
        };
        let (station, arrivals) = way.relay.begin(fence, &work);
        let splits: Vec<u32> = work.splits.iter().map(|split| split.split).collect();
        if current.as_ref().is_none_or(|(step, _)| *step != work.step) {
            let payload = match way.fetch(fence, &work, &station).await {
                Ok(payload) => payload,
                Err(status) if status.code() == Code::Aborted => continue,
                Err(status) if is_final(&status) => {
                    let error = RunError::spec(status.message());
                    if let Err(status) = fail(&mut way.coordinator, fence, &work, error).await {
                        return lost(&status);
                    }
                    continue;
                }
                Err(status) => return lost(&status),
            };
            let step = postcard::from_bytes(&payload)
                .map_err(|error| RunError::transient(format!("decode step {}: {error}", work.step)))?;
            current = Some((work.step, step));
            // At the start of a step a worker is told of all the splits it owns.
            store.retain(&splits);
        }
        let Some((_, step)) = &current else { continue };
        let begun = Instant::now();
        let computed = training::compute::compute(step, &splits, store, lloyd, sink).await.and_then(Own::new);
        let sent = match computed {
            Ok(own) => {
                // So that the costs of this step are known before it counts.
                if lease.report(vitals, false).await.is_err() {
                    return Ok(Life::Fenced);
                }
                let patience = begun.elapsed().max(SHORTEST_WAIT);
                let Way { coordinator, above, .. } = &mut way;
                Ascent { coordinator, above, fence, work: &work, arrivals, patience }.send(own).await
            }
            Err(_) if vitals.abandoned.load(Ordering::Relaxed) => return Ok(Life::Fenced),
            Err(error) => fail(&mut way.coordinator, fence, &work, error).await,
        };
        match sent {
            Ok(()) => {}
            Err(status) if status.code() == Code::DataLoss => {}
            Err(status) if is_final(&status) => {
                // The same answer would be refused again: the run ends, and says why.
                let error = RunError::spec(status.message());
                if let Err(status) = fail(&mut way.coordinator, fence, &work, error).await {
                    return lost(&status);
                }
            }
            Err(status) => return lost(&status),
        }
    }
}

/// Tells the coordinator that a step failed for some or all splits of `work`.
pub(super) async fn fail(client: &mut Client, fence: &Fence, work: &Work, error: RunError) -> Result<(), Status> {
    tracing::warn!(step = work.step, %error, "a step failed");
    if error.is_transient() {
        tokio::time::sleep(PAUSES.0).await;
    }
    let concerned = |split: &&SplitRef| error.split.is_none_or(|only| split.split == only);
    let splits = work.splits.iter().filter(concerned).cloned().collect();
    client
        .fail(FailRequest {
            fence: Some(fence.clone()),
            step: work.step,
            exit_code: error.exit_code,
            message: error.message,
            splits,
        })
        .await
        .map(drop)
}

/// Whether a transfer was refused for what it is.
fn is_final(status: &Status) -> bool {
    matches!(status.code(), Code::ResourceExhausted | Code::InvalidArgument | Code::OutOfRange)
}

/// What a failed request means: the lease is lost, or the coordinator is out of reach.
fn lost(status: &Status) -> Result<Life, RunError> {
    if status.code() == Code::FailedPrecondition { Ok(Life::Fenced) } else { Err(out_of_reach(status)) }
}
