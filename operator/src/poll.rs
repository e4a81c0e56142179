//! Asks coordinators how far they are.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use coterie_crds::run::RunProgress;
use coterie_operator_core::plan::Poll;
use jiff::Timestamp;
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep_until},
};

use crate::{
    ask::{AskError, Asker},
    failure::chain,
    metrics::{Metrics, PollOutcome},
};

/// Longest time until a coordinator that does not answer is asked again.
const LONGEST_SILENCE: Duration = Duration::from_secs(60);

/// Asks the coordinators of many jobs.
pub(crate) struct Poller {
    follower: Arc<Follower>,
    interval: Duration,
    followed: Mutex<HashMap<String, Followed>>,
}

/// A run that is being followed, until this is dropped.
struct Followed {
    run: String,
    pod_ip: String,
    at: watch::Sender<Instant>,
    task: JoinHandle<()>,
}

struct Follower {
    asker: Asker,
    metrics: Arc<Metrics>,
}

// === impl Poller ===

impl Poller {
    /// A poller that asks no coordinator more often than every `interval`.
    pub(crate) fn new(interval: Duration, port: u16, metrics: Arc<Metrics>) -> Self {
        let follower = Follower { asker: Asker::new(interval, port), metrics };
        Self { follower: Arc::new(follower), interval, followed: Mutex::default() }
    }

    /// Follows the run that the plan for a job names, and no other. `answered` is given each answer.
    pub(crate) fn follow(
        &self,
        uid: &str,
        poll: Option<&Poll>,
        now: Timestamp,
        answered: impl Fn(RunProgress) + Send + 'static,
    ) {
        let mut followed = self.followed();
        let Some(Poll { run, pod_ip, at }) = poll else {
            followed.remove(uid);
            return;
        };
        let ahead = Duration::try_from(at.duration_since(now)).unwrap_or_default();
        let at = Instant::now() + ahead.min(LONGEST_SILENCE);
        match followed.get(uid) {
            Some(one) if one.run == *run && one.pod_ip == *pod_ip => {
                one.at.send_replace(at);
            }
            _ => {
                let (sender, receiver) = watch::channel(at);
                let asking =
                    self.follower.clone().follow(run.clone(), pod_ip.clone(), receiver, self.interval, answered);
                let task = tokio::spawn(asking);
                let one = Followed { run: run.clone(), pod_ip: pod_ip.clone(), at: sender, task };
                followed.insert(uid.to_owned(), one);
            }
        }
    }

    /// Stops following all jobs but these.
    pub(crate) fn retain(&self, uids: &HashSet<String>) {
        self.followed().retain(|uid, _| uids.contains(uid));
    }

    fn followed(&self) -> MutexGuard<'_, HashMap<String, Followed>> {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

// === impl Follower ===

impl Follower {
    async fn follow(
        self: Arc<Self>,
        run: String,
        pod_ip: String,
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
            let (outcome, wait) = match self.ask(&run, &pod_ip).await {
                Ok(progress) => {
                    answered(progress);
                    silence = interval;
                    (PollOutcome::Answered, interval)
                }
                Err(error) => {
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

    async fn ask(&self, run: &str, pod_ip: &str) -> Result<RunProgress, AskError> {
        let progress: RunProgress = self.asker.ask(pod_ip, "/status").await?;
        if progress.run == run { Ok(progress) } else { Err(AskError::Other(progress.run)) }
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
        assert!(poller.followed().is_empty());
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
