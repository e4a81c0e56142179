//! What a pod shows of the run.
//!
//! | request | answer |
//! |---|---|
//! | `GET /healthz` | 200 while the supervisor lives |
//! | `GET /status` | at index 0 where the run stands, as JSON; 503 while the coordinator is away; 404 at other indices |
//! | `GET /metrics` | the same and the restarts, as Prometheus reads it |

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use coterie_crds::run::RunProgress;
use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use crate::supervise::children::Role;

/// Content type of the metrics.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What is shown, shared between supervisor and server.
#[derive(Clone, Debug)]
pub struct Board(Arc<Mutex<Shown>>);

#[derive(Clone, Debug, Default)]
struct Shown {
    run: String,
    /// Whether the coordinator is in this pod.
    leads: bool,
    /// `None` while the coordinator is away.
    progress: Option<RunProgress>,
    /// Ends of processes that were started again.
    restarts: BTreeMap<&'static str, u64>,
}

impl Board {
    /// A board with nothing on it yet.
    #[must_use]
    pub fn new(run: &str, leads: bool) -> Self {
        Self(Arc::new(Mutex::new(Shown { run: run.to_owned(), leads, ..Shown::default() })))
    }

    /// Shows where the run stands.
    pub fn show(&self, progress: Option<RunProgress>) {
        self.lock().progress = progress;
    }

    /// Counts a process that is started again.
    pub fn died(&self, role: &Role) {
        *self.lock().restarts.entry(role.kind()).or_default() += 1;
    }

    /// The endpoints.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/healthz", get(|| async { "ok\n" }))
            .route("/status", get(status))
            .route("/metrics", get(metrics))
            .with_state(self.clone())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Shown> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn status(State(board): State<Board>) -> Response {
    let shown = board.lock().clone();
    match shown {
        Shown { leads: false, .. } => {
            (StatusCode::NOT_FOUND, "the coordinator of this run is in the pod with index 0\n").into_response()
        }
        Shown { progress: None, .. } => {
            (StatusCode::SERVICE_UNAVAILABLE, "the coordinator does not answer yet; ask again\n").into_response()
        }
        Shown { progress: Some(progress), .. } => Json(progress).into_response(),
    }
}

async fn metrics(State(board): State<Board>) -> Response {
    let shown = board.lock().clone();
    match render(&shown) {
        Ok(text) => ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

fn render(shown: &Shown) -> Result<String, std::fmt::Error> {
    let mut registry = Registry::with_prefix("coterie_training");
    let restarts = Family::<Vec<(&'static str, &'static str)>, Counter>::default();
    for process in ["coordinator", "worker"].into_iter().filter(|process| shown.leads || *process == "worker") {
        let count = shown.restarts.get(process).copied().unwrap_or(0);
        restarts.get_or_create(&vec![("process", process)]).inc_by(count);
    }
    registry.register("process_restarts", "Processes of this pod that ended and were started again", restarts);
    if shown.leads {
        let up = Gauge::<i64>::default();
        up.set(i64::from(shown.progress.is_some()));
        registry.register("coordinator_up", "Whether the coordinator answers", up);
    }
    if let Some(progress) = &shown.progress {
        let stage = Family::<Vec<(&'static str, String)>, Gauge>::default();
        stage.get_or_create(&vec![("run", shown.run.clone()), ("stage", progress.stage.clone())]).set(1);
        registry.register("stage_info", "The run and its stage: always 1", stage);
        let mut count = |name: &str, help: &str, value: u64| {
            let gauge = Gauge::<i64>::default();
            gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
            registry.register(name, help, gauge);
        };
        count("epoch", "Incarnation of the coordinator", progress.epoch);
        count("iteration", "Finished passes of the current restart", progress.iteration.into());
        count("iterations_max", "Bound on passes", progress.max_iterations.into());
        count("restart", "Restart of the algorithm, from 1", progress.restart.into());
        count("rows", "Rows in use, once known", progress.rows);
        count("workers", "Workers that hold a lease", progress.workers.into());
        count("splits_done", "Splits done in the current step", progress.splits_done.into());
        count("splits", "Splits of the input", progress.splits_total.into());
        let mut measure = |name: &str, help: &str, value: f64| {
            let gauge = Gauge::<f64, std::sync::atomic::AtomicU64>::default();
            gauge.set(value);
            registry.register(name, help, gauge);
        };
        if let Some(inertia) = progress.inertia {
            measure("inertia", "Inertia of the last pass", inertia);
        }
        measure("rows_per_second", "Rows processed per second by all workers", progress.rows_per_second);
        measure("iteration_seconds", "Seconds that a pass takes", progress.iteration_seconds);
    }
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn progress_is_shown_where_the_coordinator_is_and_while_it_answers() {
        let code = async |board: &Board| status(State(board.clone())).await.status().as_u16();
        assert_eq!(code(&Board::new("a-r1", false)).await, 404);
        let board = Board::new("a-r1", true);
        assert_eq!(code(&board).await, 503);
        board.show(Some(RunProgress::default()));
        assert_eq!(code(&board).await, 200);
        board.show(None);
        assert_eq!(code(&board).await, 503);
    }

    #[test]
    fn metrics_say_what_is_known() {
        let board = Board::new("a-r1", true);
        board.died(&Role::Worker("w".into()));
        let text = render(&board.lock()).unwrap();
        for line in [
            "coterie_training_process_restarts_total{process=\"worker\"} 1",
            "coterie_training_process_restarts_total{process=\"coordinator\"} 0",
            "coterie_training_coordinator_up 0",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
        assert!(!text.contains("inertia"), "{text}");
        board.show(Some(RunProgress { stage: "Hash".into(), ..RunProgress::default() }));
        let text = render(&board.lock()).unwrap();
        assert!(text.contains("coterie_training_iteration 0") && !text.contains("inertia"), "{text}");
        let inertia = Some(2.5);
        board.show(Some(RunProgress { stage: "Iterate".into(), inertia, workers: 3, ..RunProgress::default() }));
        let text = render(&board.lock()).unwrap();
        for line in [
            "coterie_training_stage_info{run=\"a-r1\",stage=\"Iterate\"} 1",
            "coterie_training_inertia 2.5",
            "coterie_training_workers 3",
            "coterie_training_coordinator_up 1",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }
}
