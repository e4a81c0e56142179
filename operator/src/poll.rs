//! Asks coordinators how far they are.

use std::{collections::HashSet, sync::Arc, time::Duration};

use coterie_crds::run::RunProgress;
use coterie_operator_core::plan::Poll;
use jiff::Timestamp;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use crate::{
    ask::{AskError, Asker},
    failure::chain,
    follow::Followers,
    metrics::{Metrics, PollOutcome},
};

/// Longest time until a coordinator that does not answer is asked again.
const LONGEST_SILENCE: Duration = Duration::from_secs(60);

/// Asks the coordinators of many jobs.
pub(crate) struct Poller {
    questions: Arc<Questions>,
    interval: Duration,
    /// When to ask the coordinators, each on its own.
    runs: Followers<Coordinator, Instant>,
}

/// The coordinator of a run.
#[derive(Clone, PartialEq)]
struct Coordinator {
    run: String,
    pod_ip: String,
}

struct Questions {
    asker: Asker,
    metrics: Arc<Metrics>,
}

// === impl Poller ===

impl Poller {
    /// A poller that asks no coordinator more often than every `interval`.
    pub(crate) fn new(interval: Duration, port: u16, metrics: Arc<Metrics>) -> Self {
        let questions = Questions { asker: Asker::new(interval, port), metrics };
        Self { questions: Arc::new(questions), interval, runs: Followers::default() }
    }

    /// Follows the run that the plan for a job names, and no other. `answered` is given each answer.
    pub(crate) fn follow(
        &self,
        uid: &str,
        poll: Option<&Poll>,
        now: Timestamp,
        answered: impl Fn(RunProgress) + Send + 'static,
    ) {
        let Some(Poll { run, pod_ip, at }) = poll else { return self.runs.leave(uid) };
        let ahead = Duration::try_from(at.duration_since(now)).unwrap_or_default();
        let at = Instant::now() + ahead.min(LONGEST_SILENCE);
        let coordinator = Coordinator { run: run.clone(), pod_ip: pod_ip.clone() };
        let (questions, interval) = (self.questions.clone(), self.interval);
        let asked = coordinator.clone();
        self.runs.follow(uid, coordinator, at, |at| questions.ask_again_and_again(asked, at, interval, answered));
    }

    /// Stops following all jobs but these.
    pub(crate) fn retain(&self, uids: &HashSet<String>) {
        self.runs.retain(uids);
    }
}

// === impl Questions ===

impl Questions {
    async fn ask_again_and_again(
        self: Arc<Self>,
        coordinator: Coordinator,
        mut at: watch::Receiver<Instant>,
        interval: Duration,
        answered: impl Fn(RunProgress),
    ) {
        let mut not_before = Instant::now();
        let mut silence = interval;
        loop {
            loop {
                let due = *at.borrow_and_update();
                tokio::select! {
                    () = sleep_until(due.max(not_before)) => break,
                    changed = at.changed() => if changed.is_err() { return },
                }
            }
            let asked = Instant::now();
            let (outcome, wait) = match self.ask(&coordinator).await {
                Ok(progress) => {
                    answered(progress);
                    silence = interval;
                    (PollOutcome::Answered, interval)
                }
                Err(error) => {
                    let Coordinator { run, pod_ip } = &coordinator;
                    tracing::debug!(run, pod_ip, error = chain(&error), "no progress is known");
                    let wait = silence;
                    silence = (silence * 2).min(LONGEST_SILENCE);
                    let other = matches!(error, AskError::Other(_));
                    (if other { PollOutcome::OtherRun } else { PollOutcome::Failed }, wait)
                }
            };
            self.metrics.polled(outcome);
            not_before = asked + wait;
        }
    }

    async fn ask(&self, Coordinator { run, pod_ip }: &Coordinator) -> Result<RunProgress, AskError> {
        let progress: RunProgress = self.asker.ask(pod_ip, "/status").await?;
        if progress.run == *run { Ok(progress) } else { Err(AskError::Other(progress.run)) }
    }
}

#[cfg(test)]
mod tests {
    use axum::{Json, Router, routing::get};
    use tokio::{net::TcpListener, sync::mpsc, time::timeout};

    use super::*;
    use crate::ask::BODY_LIMIT;

    /// A coordinator that answers with this body.
    async fn coordinator(body: serde_json::Value) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let router = Router::new().route("/status", get(move || std::future::ready(Json(body.clone()))));
        tokio::spawn(async move { axum::serve(listener, router).await });
        port
    }

    fn poll(run: &str) -> Poll {
        Poll { run: run.to_owned(), pod_ip: "127.0.0.1".to_owned(), at: Timestamp::now() }
    }

    async fn outcomes(metrics: &Metrics, line: &str) {
        let seen = async {
            while !metrics.encode().contains(line) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(Duration::from_secs(10), seen).await.unwrap_or_else(|_| panic!("{line}\n{}", metrics.encode()));
    }

    #[tokio::test]
    async fn a_run_is_asked_again_and_again_until_the_plan_drops_it() {
        let progress = RunProgress { run: "songs-r1".to_owned(), iteration: 4, ..RunProgress::default() };
        let port = coordinator(serde_json::to_value(&progress).unwrap()).await;
        let metrics = Arc::new(Metrics::new("test"));
        let poller = Poller::new(Duration::from_millis(10), port, metrics.clone());
        let (sender, mut answers) = mpsc::unbounded_channel();
        poller.follow("uid", Some(&poll("songs-r1")), Timestamp::now(), move |answer| sender.send(answer).unwrap());
        for _ in 0..3 {
            assert_eq!(answers.recv().await, Some(progress.clone()));
        }
        poller.follow("uid", None, Timestamp::now(), |_| ());
        while answers.recv().await.is_some() {}
        assert_eq!(poller.runs.count(), 0);
    }

    #[tokio::test]
    async fn answers_about_other_runs_are_dropped() {
        let other = RunProgress { run: "songs-r1".to_owned(), ..RunProgress::default() };
        let port = coordinator(serde_json::to_value(&other).unwrap()).await;
        let metrics = Arc::new(Metrics::new("test"));
        let poller = Poller::new(Duration::from_millis(10), port, metrics.clone());
        poller.follow("uid", Some(&poll("songs-r2")), Timestamp::now(), |answer| panic!("{answer:?}"));
        outcomes(&metrics, "polls_total{outcome=\"OtherRun\"} 2").await;
    }

    #[tokio::test]
    async fn silence_and_floods_do_no_harm() {
        let metrics = Arc::new(Metrics::new("test"));
        let flood = coordinator(serde_json::Value::String("x".repeat(BODY_LIMIT + 1))).await;
        let poller = Poller::new(Duration::from_millis(10), flood, metrics.clone());
        poller.follow("uid", Some(&poll("songs-r1")), Timestamp::now(), |answer| panic!("{answer:?}"));
        outcomes(&metrics, "polls_total{outcome=\"Failed\"} 1").await;
        let nobody = Poll { pod_ip: "no address".to_owned(), ..poll("songs-r1") };
        poller.follow("uid", Some(&nobody), Timestamp::now(), |answer| panic!("{answer:?}"));
        outcomes(&metrics, "polls_total{outcome=\"Failed\"} 2").await;
    }
}
