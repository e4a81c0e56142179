//! Carries out the steps of an election.

use std::{
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client, api::PostParams};
use tokio::time::{Instant, sleep, timeout};

use super::{
    Leadership, Timing,
    election::{Election, Step},
};
use crate::{failure::told, metrics::Metrics};

/// Name of the lease.
pub(crate) const LEASE: &str = "coterie-operator";

/// Leadership is over, and this process has to end: another replica may write now.
#[derive(Debug, thiserror::Error)]
#[error("leadership was lost: the lease could not be renewed in time, or another replica holds it")]
pub(crate) struct Lost;

/// Takes part in the election.
pub(crate) struct Elector {
    leases: Api<Lease>,
    election: Election,
    timing: Timing,
    leadership: Leadership,
    metrics: Arc<Metrics>,
}

// === impl Elector ===

impl Elector {
    /// A claimant in the election of a namespace. The name is for people; it is made unique.
    pub(crate) fn new(
        client: Client,
        namespace: &str,
        name: &str,
        timing: Timing,
        leadership: Leadership,
        metrics: Arc<Metrics>,
    ) -> Self {
        // A restarted container has its pod's name, but not its leadership.
        let identity = format!("{name}_{:016x}", RandomState::new().hash_one(Instant::now()));
        Self {
            leases: Api::namespaced(client, namespace),
            election: Election::new(LEASE.to_owned(), identity, timing),
            timing,
            leadership,
            metrics,
        }
    }

    /// Completes when this replica leads. `running` is told when the first attempt succeeded, whoever leads.
    pub(crate) async fn acquire(&mut self, running: impl Fn()) {
        loop {
            match self.attempt().await {
                Ok(Step::Wait) => running(),
                Ok(Step::Read | Step::Write(_)) if self.leadership.holds() => {
                    running();
                    self.metrics.leader(true);
                    return;
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(error = told(&error), lease = LEASE, "could not take part in the election")
                }
            }
            sleep(self.timing.retry).await;
        }
    }

    /// Renews the lease. Completes when leadership is lost; nothing is written from then on.
    pub(crate) async fn hold(&mut self) -> Lost {
        loop {
            sleep(self.timing.retry).await;
            match self.attempt().await {
                Ok(Step::Lost) => break,
                Ok(_) => {}
                Err(error) => tracing::warn!(error = told(&error), lease = LEASE, "could not renew the lease"),
            }
        }
        self.leadership.end();
        self.metrics.leader(false);
        Lost
    }

    /// Gives leadership up, so that another replica need not wait for the lease to end.
    pub(crate) async fn release(&mut self) {
        self.leadership.end();
        self.metrics.leader(false);
        match timeout(self.timing.retry, self.give_up()).await {
            Ok(Ok(true)) => tracing::info!(lease = LEASE, "lease released"),
            Ok(Ok(false)) => {}
            Ok(Err(error)) => tracing::warn!(error = told(&error), lease = LEASE, "could not release the lease"),
            Err(_) => tracing::warn!(lease = LEASE, "releasing the lease took too long"),
        }
    }

    /// Whether there was a lease to release.
    async fn give_up(&mut self) -> Result<bool, kube::Error> {
        let Some(lease) = self.election.release(Timestamp::now()) else { return Ok(false) };
        match self.write(&lease).await {
            // A renewal whose answer nobody waited for came in between.
            Err(kube::Error::Api(status)) if status.code == 409 => self.read().await?,
            result => return result.map(|_| true),
        }
        match self.election.release(Timestamp::now()) {
            Some(lease) => self.write(&lease).await.map(|_| true),
            None => Ok(false),
        }
    }

    /// One step, and the requests that it needs. A request that takes long is given up while there is time for another.
    async fn attempt(&mut self) -> Result<Step, kube::Error> {
        let leading = self.election.deadline().is_some();
        if !leading {
            self.read().await?;
        }
        let sent = Instant::now();
        let step = self.election.step(sent, Timestamp::now());
        let Step::Write(lease) = &step else { return Ok(step) };
        match bounded(self.patience(sent), self.write(lease)).await {
            Ok(lease) => {
                self.election.wrote(lease, sent, Instant::now());
                self.leadership.renewed(sent, self.timing);
                Ok(step)
            }
            Err(kube::Error::Api(status)) if status.code == 409 => {
                self.read().await?;
                // It is ours (an answer was lost), or somebody else's: in both cases it is no step forward.
                Ok(match self.election.step(Instant::now(), Timestamp::now()) {
                    Step::Lost => Step::Lost,
                    Step::Read | Step::Write(_) | Step::Wait => Step::Wait,
                })
            }
            Err(error) => Err(error),
        }
    }

    async fn read(&mut self) -> Result<(), kube::Error> {
        let lease = bounded(self.patience(Instant::now()), self.leases.get_opt(LEASE)).await?;
        self.election.saw(lease, Instant::now());
        Ok(())
    }

    async fn write(&self, lease: &Lease) -> Result<Lease, kube::Error> {
        let parameters = PostParams { field_manager: Some(LEASE.to_owned()), ..PostParams::default() };
        match lease.metadata.resource_version {
            Some(_) => self.leases.replace(LEASE, &parameters, lease).await,
            None => self.leases.create(&parameters, lease).await,
        }
    }

    fn patience(&self, now: Instant) -> Duration {
        let half = self.timing.renew_deadline / 2;
        self.election.deadline().map_or(half, |deadline| half.min(deadline.saturating_duration_since(now)))
    }
}

async fn bounded<T>(
    patience: Duration,
    request: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, kube::Error> {
    timeout(patience, request).await.unwrap_or_else(|elapsed| Err(kube::Error::Service(elapsed.into())))
}

#[cfg(test)]
mod tests {
    use axum::http::Method;
    use serde_json::json;

    use super::*;
    use crate::fake::Fake;

    const PATH: &str = "/apis/coordination.k8s.io/v1/namespaces/music/leases/coterie-operator";

    fn claimant(fake: &Fake, name: &str) -> (Elector, Leadership) {
        let leadership = Leadership::standby();
        let metrics = Arc::new(Metrics::new("test"));
        let elector = Elector::new(fake.client(), "music", name, Timing::default(), leadership.clone(), metrics);
        (elector, leadership)
    }

    fn holder(fake: &Fake) -> String {
        fake.object(PATH).unwrap()["spec"]["holderIdentity"].as_str().unwrap().to_owned()
    }

    #[tokio::test(start_paused = true)]
    async fn another_takes_over_when_the_leader_is_paused_past_the_lease() {
        let fake = Fake::default();
        let ((mut ada, ada_leads), (mut grace, grace_leads)) = (claimant(&fake, "ada"), claimant(&fake, "grace"));
        ada.acquire(|| ()).await;
        assert!(ada_leads.holds() && holder(&fake).starts_with("ada_"));

        // Ada renews, and Grace waits.
        tokio::select! {
            lost = ada.hold() => panic!("{lost}"),
            () = grace.acquire(|| ()) => panic!("two leaders"),
            () = sleep(Duration::from_secs(60)) => {}
        }
        assert!(ada_leads.holds() && !grace_leads.holds());

        // Ada is paused.
        let paused = Instant::now();
        grace.acquire(|| ()).await;
        assert!(!ada_leads.holds(), "ada stopped by herself");
        assert!(paused.elapsed() >= Duration::from_secs(11), "not before ada stopped");
        assert!(grace_leads.holds() && holder(&fake).starts_with("grace_"));

        // Ada wakes, and gives up.
        ada.hold().await;
        assert!(!ada_leads.holds() && holder(&fake).starts_with("grace_"));
        ada.release().await;
        assert!(holder(&fake).starts_with("grace_"), "it was not hers to release");
    }

    #[tokio::test(start_paused = true)]
    async fn a_released_lease_is_taken_at_the_next_attempt() {
        let fake = Fake::default();
        let ((mut ada, ada_leads), (mut grace, grace_leads)) = (claimant(&fake, "ada"), claimant(&fake, "grace"));
        ada.acquire(|| ()).await;
        ada.release().await;
        assert!(!ada_leads.holds());
        assert_eq!(holder(&fake), "");
        timeout(Duration::from_secs(3), grace.acquire(|| ())).await.unwrap();
        assert!(grace_leads.holds());
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_is_away_for_a_moment_costs_nothing_and_for_long_the_lead() {
        let fake = Fake::default();
        let (mut ada, leads) = claimant(&fake, "ada");
        ada.acquire(|| ()).await;
        for _ in 0..2 {
            fake.script(Method::PUT, "/coterie-operator", 503, "ServiceUnavailable", "away");
        }
        tokio::select! {
            lost = ada.hold() => panic!("{lost}"),
            () = sleep(Duration::from_secs(20)) => {}
        }
        assert!(leads.holds());
        for _ in 0..20 {
            fake.script(Method::PUT, "/coterie-operator", 503, "ServiceUnavailable", "away");
        }
        ada.hold().await;
        assert!(!leads.holds());
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_that_somebody_takes_is_lost_at_once() {
        let fake = Fake::default();
        let (mut ada, leads) = claimant(&fake, "ada");
        ada.acquire(|| ()).await;
        let mut lease = fake.object(PATH).unwrap();
        lease["spec"]["holderIdentity"] = json!("grace");
        fake.put(PATH, lease);
        let begun = Instant::now();
        ada.hold().await;
        assert!(!leads.holds() && begun.elapsed() <= Duration::from_secs(4));
        assert_eq!(holder(&fake), "grace");
    }

    #[tokio::test(start_paused = true)]
    async fn a_replica_that_stands_by_says_that_the_election_runs() {
        let fake = Fake::default();
        let (mut ada, _leads) = claimant(&fake, "ada");
        ada.acquire(|| ()).await;
        let (mut grace, _) = claimant(&fake, "grace");
        let running = std::cell::Cell::new(false);
        let waiting = timeout(Duration::from_secs(3), grace.acquire(|| running.set(true))).await;
        assert!(waiting.is_err() && running.get());
    }
}
