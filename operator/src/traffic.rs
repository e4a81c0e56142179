//! Asks the replicas of canaries what they answer, and adds it up by intervals.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use coterie_crds::run::TrafficReport;
use coterie_operator_core::{
    plan::{Replica, TrafficPoll},
    traffic::{Sums, Traffic},
};
use futures::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use crate::{
    ask::{AskError, Asker},
    failure::chain,
    follow::Followers,
};

/// Shortest interval, whatever a plan says.
const SHORTEST: Duration = Duration::from_secs(1);

/// How long connections to replicas are kept.
const KEPT: Duration = Duration::from_secs(60);

/// Replicas of one canary asked at the same time.
const TOGETHER: usize = 8;

/// Watches the canaries of many jobs.
pub(crate) struct Watcher {
    asker: Arc<Asker>,
    shortest: Duration,
    /// The replicas of the canaries, each on its own.
    canaries: Followers<Canary, Vec<Replica>>,
}

/// What makes a canary another one, whatever replicas it has.
#[derive(PartialEq)]
struct Canary {
    version: String,
    since: Timestamp,
    interval: SignedDuration,
}

// === impl Watcher ===

impl Watcher {
    pub(crate) fn new(port: u16) -> Self {
        Self { asker: Arc::new(Asker::new(KEPT, port)), shortest: SHORTEST, canaries: Followers::default() }
    }

    /// Watches the canary that the plan for a job names, and no other. `judged` is given what it answered in each interval.
    pub(crate) fn follow(
        &self,
        uid: &str,
        poll: Option<&TrafficPoll>,
        judged: impl Fn(Traffic) + Send + Sync + 'static,
    ) {
        let Some(poll) = poll else { return self.canaries.leave(uid) };
        let TrafficPoll { version, since, replicas, interval } = poll.clone();
        let every = Duration::try_from(interval).unwrap_or_default().max(self.shortest);
        let canary = Canary { version: version.clone(), since, interval };
        let asker = self.asker.clone();
        self.canaries.follow(uid, canary, replicas, |replicas| watch_canary(asker, version, every, replicas, judged));
    }

    /// Stops watching for all jobs but these.
    pub(crate) fn retain(&self, uids: &HashSet<String>) {
        self.canaries.retain(uids);
    }
}

/// The first answers are what later ones are held against. A replica that is new, or that did not answer, joins in with the next interval.
async fn watch_canary(
    asker: Arc<Asker>,
    version: String,
    interval: Duration,
    mut replicas: watch::Receiver<Vec<Replica>>,
    judged: impl Fn(Traffic) + Send + Sync,
) {
    let mut known: HashMap<String, TrafficReport> = HashMap::new();
    let mut begin: Option<Timestamp> = None;
    let mut due = Instant::now();
    loop {
        sleep_until(due).await;
        let asked = replicas.borrow_and_update().clone();
        let now = Timestamp::now();
        let reports = reports(&asker, &version, asked).await;
        let mut sums = Sums::default();
        for (name, report) in &reports {
            if let Some(before) = known.get(name) {
                sums.add(before, report);
            }
        }
        if let Some(from) = begin
            && !known.is_empty()
        {
            judged(sums.traffic(&version, from, now));
        }
        let names: HashSet<String> = replicas.borrow().iter().map(|replica| replica.name.clone()).collect();
        known.extend(reports);
        known.retain(|name, _| names.contains(name));
        begin = Some(now);
        due += interval;
        // After a pause of the whole process, no interval is made up for.
        due = due.max(Instant::now());
    }
}

async fn reports(asker: &Asker, version: &str, replicas: Vec<Replica>) -> Vec<(String, TrafficReport)> {
    let answers = replicas.into_iter().map(|Replica { name, ip }| async move {
        match report(asker, version, &ip).await {
            Ok(report) => Some((name, report)),
            Err(error) => {
                tracing::debug!(pod = name, error = chain(&error), "no traffic is known");
                None
            }
        }
    });
    stream::iter(answers).buffer_unordered(TOGETHER).filter_map(std::future::ready).collect().await
}

async fn report(asker: &Asker, version: &str, ip: &str) -> Result<TrafficReport, AskError> {
    let report: TrafficReport = asker.ask(ip, "/v1/traffic").await?;
    if report.model_version == version { Ok(report) } else { Err(AskError::Other(report.model_version)) }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use axum::{Json, Router, routing::get};
    use coterie_crds::run::LatencyReport;
    use tokio::{net::TcpListener, sync::mpsc, time::timeout};

    use super::*;

    /// A replica that has answered ten requests more, one of them badly, each time it is asked.
    async fn replica(version: &'static str) -> (u16, Arc<AtomicU64>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let questions = Arc::new(AtomicU64::new(0));
        let asked = Arc::clone(&questions);
        let answer = move || {
            let asked = asked.fetch_add(1, Ordering::Relaxed);
            let latency = LatencyReport { seconds: vec![0.01], counts: vec![asked * 10] };
            let (requests, errors) = (asked * 10, asked);
            let model_version = version.to_owned();
            std::future::ready(Json(TrafficReport { model_version, requests, errors, latency, shadow: None }))
        };
        let router = Router::new().route("/v1/traffic", get(answer));
        tokio::spawn(async move { axum::serve(listener, router).await });
        (port, questions)
    }

    fn watcher(port: u16) -> Watcher {
        Watcher { shortest: Duration::from_millis(10), ..Watcher::new(port) }
    }

    fn poll(version: &str, names: &[&str]) -> TrafficPoll {
        let replicas =
            names.iter().map(|name| Replica { name: (*name).to_owned(), ip: "127.0.0.1".to_owned() }).collect();
        TrafficPoll {
            version: version.to_owned(),
            since: Timestamp::UNIX_EPOCH,
            replicas,
            interval: SignedDuration::from_millis(10),
        }
    }

    #[tokio::test]
    async fn what_was_answered_before_is_not_counted() {
        let watcher = watcher(replica("v2").await.0);
        let (sender, mut answers) = mpsc::unbounded_channel();
        watcher.follow("uid", Some(&poll("v2", &["a"])), move |traffic| sender.send(traffic).unwrap());
        let mut last: Option<Traffic> = None;
        for _ in 0..3 {
            let traffic = timeout(Duration::from_secs(10), answers.recv()).await.unwrap().unwrap();
            assert_eq!((traffic.requests, traffic.errors), (10, 1));
            assert!(last.is_none_or(|last| last.until == traffic.from), "intervals follow each other");
            last = Some(traffic);
        }
        watcher.follow("uid", None, |_| ());
        while answers.recv().await.is_some() {}
        assert_eq!(watcher.canaries.count(), 0);
    }

    #[tokio::test]
    async fn a_new_replica_joins_in_and_the_canary_stays_the_same() {
        let watcher = watcher(replica("v2").await.0);
        let (sender, mut answers) = mpsc::unbounded_channel();
        watcher.follow("uid", Some(&poll("v2", &["a"])), move |traffic| sender.send(traffic).unwrap());
        watcher.follow("uid", Some(&poll("v2", &["a", "b"])), |traffic| panic!("another watch: {traffic:?}"));
        // Both are the same process: while it answers two questions an interval, its count grows by 20.
        let joined = async { while answers.recv().await.unwrap().requests != 40 {} };
        timeout(Duration::from_secs(10), joined).await.unwrap();
    }

    #[tokio::test]
    async fn answers_of_other_versions_are_dropped() {
        let (port, questions) = replica("v1").await;
        let watcher = watcher(port);
        watcher.follow("uid", Some(&poll("v2", &["a"])), |traffic| panic!("{traffic:?}"));
        let asked = async {
            while questions.load(Ordering::Relaxed) < 5 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(Duration::from_secs(10), asked).await.unwrap();
        assert_eq!(watcher.canaries.count(), 1, "nothing was told");
    }
}
