//! Asks coordinators how far they are, aside from reconciliations: a coordinator that does not answer must not hold up anything else.

use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use coterie_crds::run::RunProgress;
use coterie_operator_core::plan::Poll;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use jiff::Timestamp;
use tokio::{
    sync::{Semaphore, watch},
    task::JoinHandle,
    time::{Instant, sleep_until, timeout},
};

use crate::{
    failure::chain,
    metrics::{Metrics, PollOutcome},
};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// Size of an answer that is worth reading.
const BODY_LIMIT: usize = 64 << 10;

/// Coordinators asked at the same time.
const CONCURRENCY: usize = 32;

/// Longest time until a coordinator that does not answer is asked again.
const LONGEST_SILENCE: Duration = Duration::from_secs(60);

/// Asks the coordinators of many jobs.
pub(crate) struct Poller {
    asker: Arc<Asker>,
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

struct Asker {
    client: Client<HttpConnector, Empty<Bytes>>,
    permits: Semaphore,
    port: u16,
    metrics: Arc<Metrics>,
}

/// There is no answer.
#[derive(Debug, thiserror::Error)]
enum AskError {
    #[error("the pod's address is none: {0}")]
    Address(String),
    #[error("no answer within two seconds")]
    Timeout,
    #[error("ask the coordinator")]
    Request(#[from] hyper_util::client::legacy::Error),
    #[error("the coordinator answered with status {0}")]
    Status(http::StatusCode),
    #[error("read the coordinator's answer")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the coordinator's answer is no progress")]
    Json(#[from] serde_json::Error),
    #[error("the answer is about run {0}")]
    OtherRun(String),
}

// === impl Poller ===

impl Poller {
    /// A poller that asks no coordinator more often than every `interval`.
    pub(crate) fn new(interval: Duration, port: u16, metrics: Arc<Metrics>) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(PATIENCE));
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(interval * 2)
            .pool_max_idle_per_host(1)
            .build(connector);
        let asker = Asker { client, permits: Semaphore::new(CONCURRENCY), port, metrics };
        Self { asker: Arc::new(asker), interval, followed: Mutex::default() }
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
                let asking = self.asker.clone().follow(run.clone(), pod_ip.clone(), receiver, self.interval, answered);
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

// === impl Asker ===

impl Asker {
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
                    let other = matches!(error, AskError::OtherRun(_));
                    (if other { PollOutcome::OtherRun } else { PollOutcome::Failed }, wait)
                }
            };
            self.metrics.polled(outcome);
            not_before = asked + wait;
        }
    }

    async fn ask(&self, run: &str, pod_ip: &str) -> Result<RunProgress, AskError> {
        // The semaphore is never closed.
        let _permit = self.permits.acquire().await;
        let progress = timeout(PATIENCE, self.get(pod_ip)).await.map_err(|_| AskError::Timeout)??;
        if progress.run == run { Ok(progress) } else { Err(AskError::OtherRun(progress.run)) }
    }

    async fn get(&self, pod_ip: &str) -> Result<RunProgress, AskError> {
        let no_address = || AskError::Address(pod_ip.to_owned());
        let address = SocketAddr::new(pod_ip.parse::<IpAddr>().map_err(|_| no_address())?, self.port);
        let uri = format!("http://{address}/status").parse().map_err(|_| no_address())?;
        let response = self.client.get(uri).await?;
        if !response.status().is_success() {
            return Err(AskError::Status(response.status()));
        }
        let body = Limited::new(response.into_body(), BODY_LIMIT).collect().await.map_err(AskError::Body)?;
        Ok(serde_json::from_slice(&body.to_bytes())?)
    }
}

#[cfg(test)]
mod tests {
    use axum::{Json, Router, routing::get};
    use tokio::{net::TcpListener, sync::mpsc};

    use super::*;

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
