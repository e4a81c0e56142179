//! A look at a run from outside: its status, nothing else.

use std::time::Duration;

use coterie_crds::run::{RunConfig, RunProgress};
use coterie_protocol::internal::{StatusRequest, StatusResponse};
use tokio::sync::mpsc;

use super::link;

/// Where a run stands.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Progress {
    /// What the operator is told, too.
    pub run: RunProgress,
    /// Squared centroid movement of the last pass.
    pub shift: f64,
    /// Rows processed within the current step.
    pub step_rows: u64,
}

/// Asks the coordinator how it goes, again and again, until nobody listens. `None`: it does not answer.
pub async fn watch(config: RunConfig, every: Duration, reports: mpsc::Sender<Option<Progress>>) {
    let mut ask = tokio::time::interval(every);
    ask.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut observer = None;
    loop {
        ask.tick().await;
        if observer.is_none() {
            observer = link::pulse(&config).await.ok();
        }
        let progress = match &mut observer {
            Some(asked) => match asked.status(StatusRequest { run: config.run.clone() }).await {
                Ok(response) => Some(Progress::from(response.into_inner())),
                // It may be another coordinator at another address the next time.
                Err(_) => {
                    observer = None;
                    None
                }
            },
            None => None,
        };
        if reports.send(progress).await.is_err() {
            return;
        }
    }
}

impl From<StatusResponse> for Progress {
    fn from(status: StatusResponse) -> Self {
        Self {
            run: RunProgress {
                run: status.run,
                epoch: status.epoch,
                stage: status.stage,
                iteration: status.iteration,
                max_iterations: status.max_iterations,
                restart: status.restart,
                restarts: status.restarts,
                inertia: status.inertia,
                iteration_seconds: status.iteration_seconds,
                rows: status.rows,
                rows_per_second: status.rows_per_second,
                workers: status.workers_live,
                splits_done: status.splits_done,
                splits_total: status.splits_total,
            },
            shift: status.shift,
            step_rows: status.step_rows,
        }
    }
}
