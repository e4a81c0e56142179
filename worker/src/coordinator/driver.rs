//! Drives a machine through its steps: publish the step, merge what comes back, advance, checkpoint.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{sync::mpsc, time::MissedTickBehavior};

use super::{
    checkpoint::{Checkpoint, Saver},
    hub::{Event, Hub},
};
use crate::{
    error::RunError,
    machine::{Machine, Merge},
    reduction::contribution,
    session::StepId,
};

/// How often leases are looked at.
const TICK: Duration = Duration::from_millis(100);
/// The coordinator itself was stopped if a tick comes this late; its workers are not to blame.
const STALL: u64 = 1_000;
/// Longest time without any worker.
const DESERTED: Duration = Duration::from_secs(300);
/// Window over which the speed is measured.
const SPEED_WINDOW: u64 = 3_000;

/// Runs all steps of `machine`; leaves it finished.
///
/// # Errors
/// When the machine or a worker finds that the run cannot go on, when the store fails, or when no worker is there.
pub(super) async fn drive<M: Machine + Clone + Sync>(
    hub: &Arc<Hub>,
    events: &mut mpsc::UnboundedReceiver<Event>,
    machine: &mut M,
    saver: &mut Saver<M>,
    claimed: &Checkpoint<M>,
) -> Result<(), RunError> {
    let mut step = StepId(claimed.step);
    let mut watch = Watch::new(hub);
    while let Some(work) = machine.step() {
        step.0 += 1;
        let payload = encode(&work)?;
        let size = payload.len() as u64 + machine.answer_bytes(&work);
        {
            let mut state = hub.lock();
            state.payload = Some((step, payload));
            state.accepted = 0;
            state.rows_before = state.rows_done();
            let (position, now) = (machine.position(), hub.now());
            state.pace.observe(&position, now);
            state.position = position;
            state.session.begin(step, now);
            state.arrange(size, hub.relay_from_bytes);
        }
        tracing::debug!(step = step.0, stage = machine.position().stage, "step begins");
        hub.ring();
        let merged = tokio::select! {
            merged = gather::<M::Partial>(hub, events, &mut watch) => merged?,
            error = saver.failed() => return Err(error),
        };
        // A merged partial may lead to heavy work (k-means++ on the candidates, say): never on an async thread.
        tokio::task::block_in_place(|| machine.advance(merged))?;
        {
            let mut state = hub.lock();
            let position = machine.position();
            state.pace.observe(&position, hub.now());
            state.position = position;
        }
        saver.offer(Checkpoint { epoch: claimed.epoch, step: step.0, machine: Some(machine.clone()) });
    }
    // What is left is the coordinator's: scores, and the model.
    hub.lock().position.stage = "Publish";
    Ok(())
}

/// Merges contributions until the step is complete.
async fn gather<P: Merge + serde::de::DeserializeOwned>(
    hub: &Arc<Hub>,
    events: &mut mpsc::UnboundedReceiver<Event>,
    watch: &mut Watch,
) -> Result<P, RunError> {
    let mut merged: Option<P> = None;
    let mut count = 0;
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            event = events.recv() => match event {
                Some(Event::Partial(pieces)) => {
                    let partial: P = contribution::decode(&pieces)?;
                    match &mut merged {
                        Some(merged) => tokio::task::block_in_place(|| merged.merge(partial))?,
                        None => merged = Some(partial),
                    }
                    count += 1;
                }
                Some(Event::Fatal(error)) => return Err(error),
                None => return Err(RunError::transient("the coordination service has stopped")),
            },
            _ = ticks.tick() => watch.tick(hub)?,
        }
        let complete = {
            let state = hub.lock();
            state.session.complete() && state.accepted == count
        };
        if complete && let Some(merged) = merged.take() {
            return Ok(merged);
        }
    }
}

/// Looks at leases and speed.
struct Watch {
    last: u64,
    deserted_since: Option<u64>,
    speeds: VecDeque<(u64, u64)>,
}

impl Watch {
    fn new(hub: &Hub) -> Self {
        Self { last: hub.now().0, deserted_since: None, speeds: VecDeque::new() }
    }

    fn tick(&mut self, hub: &Hub) -> Result<(), RunError> {
        let now = hub.now();
        let gap = now.0 - self.last;
        self.last = now.0;
        let mut state = hub.lock();
        if gap > STALL {
            state.session.forgive(now);
        }
        let lost = state.session.expire(now);
        let rows = state.rows_done();
        self.speeds.push_back((now.0, rows));
        while self.speeds.front().is_some_and(|(at, _)| now.0 - at > SPEED_WINDOW) {
            self.speeds.pop_front();
        }
        if let Some((at, before)) = self.speeds.front().filter(|(at, _)| *at < now.0) {
            state.rows_per_second = rows.saturating_sub(*before) as f64 / ((now.0 - at) as f64 / 1e3);
        }
        let live = state.session.live();
        drop(state);
        for worker in &lost {
            tracing::warn!(worker, "worker lost: its splits move to the others");
        }
        if !lost.is_empty() {
            hub.ring();
        }
        if live > 0 {
            self.deserted_since = None;
            return Ok(());
        }
        let since = *self.deserted_since.get_or_insert(now.0);
        if now.0 - since > DESERTED.as_millis() as u64 {
            return Err(RunError::transient(format!(
                "no worker has been there for {} s; look at why the workers do not start or cannot reach the coordinator",
                DESERTED.as_secs()
            )));
        }
        Ok(())
    }
}

fn encode<T: serde::Serialize>(value: &T) -> Result<Bytes, RunError> {
    postcard::to_stdvec(value).map(Bytes::from).map_err(|error| RunError::transient(format!("encode a step: {error}")))
}
