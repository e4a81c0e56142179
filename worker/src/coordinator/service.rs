//! The coordination service: requests to the session and back, nothing decided here.

use std::{net::SocketAddr, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use coterie_protocol::{
    PROTOCOL_VERSION,
    internal::{
        Chunk, FailRequest, FailResponse, Fence, FetchRequest, Finished, HeartbeatRequest, HeartbeatResponse, Idle,
        Place, PollRequest, PollResponse, RegisterRequest, RegisterResponse, SplitRef, StatusRequest, StatusResponse,
        SubmitRequest, SubmitResponse, Work, coordination_server::Coordination, poll_response::Next,
    },
};
use futures::Stream;
use tonic::{Request, Response, Status, Streaming};

use super::hub::{Event, Hub, Report};
use crate::{
    error::RunError,
    reduction::{
        contribution::{self, Portion, Reading},
        tree,
    },
    session::{AfterFailure, Fenced, Poll, StepId, Verdict, WorkerId},
};

/// Longest wait of a poll before it is answered with nothing.
const LONG_POLL: Duration = Duration::from_secs(2);
/// Bytes of a step sent at once: a worker passes each on while the next one arrives.
const FETCH_BYTES: usize = 64 << 10;

/// The tonic adapter.
#[derive(Clone, Debug)]
pub(super) struct Service(pub(super) Arc<Hub>);

impl Service {
    fn admit(&self, fence: Option<&Fence>) -> Result<WorkerId, Status> {
        let fence = fence.ok_or_else(|| Status::invalid_argument("the request carries no fence"))?;
        if fence.run != self.0.run || fence.epoch != self.0.epoch {
            return Err(Status::failed_precondition(format!(
                "run {} epoch {} is over; this is run {} epoch {}",
                fence.run, fence.epoch, self.0.run, self.0.epoch
            )));
        }
        Ok(WorkerId(fence.worker))
    }
}

fn fenced(error: Fenced) -> Status {
    Status::failed_precondition(error.to_string())
}

fn place(place: tree::Place) -> Place {
    Place {
        parent: place.parent.map_or_else(String::new, |address| address.to_string()),
        children: place.children.into_iter().map(|id| id.0).collect(),
    }
}

#[tonic::async_trait]
impl Coordination for Service {
    async fn register(&self, request: Request<RegisterRequest>) -> Result<Response<RegisterResponse>, Status> {
        let from = request.remote_addr();
        let request = request.into_inner();
        if request.run != self.0.run {
            return Err(Status::permission_denied(format!("this is run {}, not {}", self.0.run, request.run)));
        }
        if request.protocol != PROTOCOL_VERSION {
            return Err(Status::permission_denied(format!(
                "the worker speaks protocol {}, the coordinator {PROTOCOL_VERSION}; run both from the same image",
                request.protocol
            )));
        }
        let port = u16::try_from(request.relay_port).ok().filter(|port| *port > 0);
        let worker = {
            let mut state = self.0.lock();
            let worker = state.session.register(&request.name, self.0.now());
            if let (Some(from), Some(port)) = (from, port) {
                state.addresses.insert(worker, SocketAddr::new(from.ip(), port));
            }
            worker
        };
        tracing::info!(worker = request.name, id = worker.0, threads = request.threads, "worker registered");
        self.0.ring();
        Ok(Response::new(RegisterResponse {
            fence: Some(Fence { run: self.0.run.clone(), epoch: self.0.epoch, worker: worker.0 }),
            lease_millis: self.0.limits.lease,
            job: self.0.brief.job.to_vec(),
            plan: self.0.brief.plan.to_vec(),
            version: self.0.brief.version.clone(),
        }))
    }

    async fn heartbeat(&self, request: Request<HeartbeatRequest>) -> Result<Response<HeartbeatResponse>, Status> {
        let request = request.into_inner();
        let worker = self.admit(request.fence.as_ref())?;
        let report = Report {
            rows_done: request.rows_done,
            bytes_read: request.bytes_read,
            cpu_millis: request.cpu_millis,
            peak_rss_bytes: request.peak_rss_bytes,
        };
        let mut state = self.0.lock();
        state.session.heartbeat(worker, self.0.now()).map_err(fenced)?;
        state.reports.insert(worker, report);
        if request.leaving {
            state.session.leave(worker);
            drop(state);
            tracing::info!(id = worker.0, "worker leaves");
            self.0.ring();
        }
        Ok(Response::new(HeartbeatResponse {}))
    }

    async fn poll(&self, request: Request<PollRequest>) -> Result<Response<PollResponse>, Status> {
        let worker = self.admit(request.into_inner().fence.as_ref())?;
        let mut bell = self.0.listen();
        let deadline = tokio::time::Instant::now() + LONG_POLL;
        let next = loop {
            bell.mark_unchanged();
            {
                let mut state = self.0.lock();
                if let Some(failed) = state.finished {
                    state.session.leave(worker);
                    break Next::Finished(Finished { failed });
                }
                let open = state.payload.is_some();
                match state.session.poll(worker, self.0.now()).map_err(fenced)? {
                    Poll::Work(step, lots) if open => {
                        let splits =
                            lots.iter().map(|lot| SplitRef { split: lot.split, attempt: lot.attempt }).collect();
                        // It holds for the first contribution only.
                        let place = state.places.remove(&worker).map(place);
                        break Next::Work(Work { step: step.0, splits, place });
                    }
                    Poll::Work(..) | Poll::Idle => {}
                }
            }
            if tokio::time::timeout_at(deadline, bell.changed()).await.is_err() {
                break Next::Idle(Idle {});
            }
        };
        Ok(Response::new(PollResponse { next: Some(next) }))
    }

    type FetchStream = Pin<Box<dyn Stream<Item = Result<Chunk, Status>> + Send>>;

    async fn fetch(&self, request: Request<FetchRequest>) -> Result<Response<Self::FetchStream>, Status> {
        let request = request.into_inner();
        self.admit(request.fence.as_ref())?;
        let payload = match &self.0.lock().payload {
            Some((step, payload)) if step.0 == request.step => payload.clone(),
            _ => return Err(Status::aborted(format!("step {} is over; poll again", request.step))),
        };
        let chunks = (0..payload.len().max(1))
            .step_by(FETCH_BYTES)
            .map(move |start| Ok(Chunk { data: payload.slice(start..payload.len().min(start + FETCH_BYTES)) }));
        Ok(Response::new(Box::pin(futures::stream::iter(chunks))))
    }

    async fn submit(&self, request: Request<Streaming<SubmitRequest>>) -> Result<Response<SubmitResponse>, Status> {
        let (header, reading) = Reading::open(request.into_inner()).await?;
        let worker = self.admit(header.fence.as_ref())?;
        let pieces = reading.rest().await?;
        let shares: Vec<Portion> = header.shares.iter().map(contribution::portion).collect();
        let verdict = {
            let mut state = self.0.lock();
            let step = StepId(header.step);
            let verdict = if state.finished.is_some() {
                Verdict::Dropped
            } else {
                state.session.contribute(worker, step, &shares, self.0.now()).map_err(fenced)?
            };
            if verdict == Verdict::Accepted {
                state.accepted += 1;
                // Under the lock, so that the driver never sees a step complete before it has all of it.
                let _ = self.0.events.send(Event::Partial(pieces));
            }
            verdict
        };
        let workers = shares.len();
        tracing::debug!(id = worker.0, step = header.step, workers, ?verdict, "contribution judged");
        if verdict == Verdict::Dropped {
            tracing::info!(id = worker.0, step = header.step, "late or duplicate contribution dropped");
        }
        Ok(Response::new(SubmitResponse { accepted: verdict == Verdict::Accepted }))
    }

    async fn fail(&self, request: Request<FailRequest>) -> Result<Response<FailResponse>, Status> {
        let request = request.into_inner();
        let worker = self.admit(request.fence.as_ref())?;
        let error = RunError { exit_code: request.exit_code, message: request.message, split: None };
        let after = self
            .0
            .lock()
            .session
            .fail(worker, StepId(request.step), &contribution::lots(&request.splits), self.0.now())
            .map_err(fenced)?;
        let fatal = match (error.is_transient(), after) {
            (true, AfterFailure::Retry) => {
                tracing::warn!(id = worker.0, step = request.step, %error, "splits failed and will be tried again");
                None
            }
            (true, AfterFailure::GiveUp(split)) => {
                let message = format!("split {split} failed too often; last: {}", error.message);
                Some(RunError { message, ..error })
            }
            (false, _) => Some(error),
        };
        if let Some(error) = fatal {
            let _ = self.0.events.send(Event::Fatal(error));
        }
        self.0.ring();
        Ok(Response::new(FailResponse {}))
    }

    async fn status(&self, request: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        if request.into_inner().run != self.0.run {
            return Err(Status::not_found(format!("this is run {}", self.0.run)));
        }
        let state = self.0.lock();
        let position = &state.position;
        let (stage, outcome, exit_code, message) = match &state.outcome {
            None => (position.stage, Bytes::new(), 0, String::new()),
            Some(Ok(summary)) => ("Done", summary.clone(), 0, String::new()),
            Some(Err(error)) => ("Failed", Bytes::new(), error.exit_code, error.message.clone()),
        };
        Ok(Response::new(StatusResponse {
            run: self.0.run.clone(),
            epoch: self.0.epoch,
            stage: stage.to_owned(),
            iteration: position.iteration,
            max_iterations: position.max_iterations,
            inertia: position.inertia,
            shift: position.shift,
            rows: position.rows,
            rows_per_second: state.rows_per_second,
            workers_live: state.session.live() as u32,
            splits_done: state.session.done() as u32,
            splits_total: state.session.len() as u32,
            restart: position.restart,
            restarts: position.restarts,
            outcome: outcome.to_vec(),
            exit_code,
            message,
            step_rows: state.rows_done() - state.rows_before,
            iteration_seconds: state.pace.seconds(),
        }))
    }
}
