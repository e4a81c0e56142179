//! The rules of an election, without a client or a clock.
//!
//! Clocks of different nodes are never compared. A claimant remembers when *it* saw the lease change last; a lease that it has seen
//! unchanged for the whole duration is free. Two claimants that think so at once write the same resource version: one fails.

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use tokio::time::Instant;

use super::Timing;

/// One claimant's view of an election.
#[derive(Debug)]
pub(super) struct Election {
    /// Name of the lease.
    name: String,
    /// Who the claimant is. Unique: two claimants must never share it.
    identity: String,
    timing: Timing,
    /// The lease as it was seen last, and since when it has been so.
    seen: Option<(Lease, Instant)>,
    /// When the last acknowledged renewal was sent. `None`: this claimant does not lead.
    renewed: Option<Instant>,
}

/// What a claimant does next.
#[derive(Debug, PartialEq)]
pub(super) enum Step {
    /// Read the lease and ask again.
    Read,
    /// Write this lease, in the resource version that it carries; without one, create it.
    Write(Box<Lease>),
    /// Somebody else leads.
    Wait,
    /// Leadership is over.
    Lost,
}

// === impl Election ===

impl Election {
    pub(super) fn new(name: String, identity: String, timing: Timing) -> Self {
        Self { name, identity, timing, seen: None, renewed: None }
    }

    /// The lease was read; `None`: there is none.
    pub(super) fn saw(&mut self, lease: Option<Lease>, now: Instant) {
        let lease = lease.unwrap_or_else(|| Lease {
            metadata: ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() },
            spec: None,
        });
        // A renewal changes the version, if nothing else: the holder's clock may stand still.
        let unchanged = |seen: &Lease| seen.metadata.resource_version == lease.metadata.resource_version;
        if !self.seen.as_ref().is_some_and(|(seen, _)| unchanged(seen)) {
            self.seen = Some((lease, now));
        }
    }

    /// A [`Step::Write`] that was sent at this time is acknowledged.
    pub(super) fn wrote(&mut self, lease: Lease, sent: Instant, now: Instant) {
        self.saw(Some(lease), now);
        self.renewed = Some(sent);
    }

    /// What to do now; `wall` goes on record for people.
    pub(super) fn step(&self, now: Instant, wall: Timestamp) -> Step {
        let Some((lease, since)) = &self.seen else { return Step::Read };
        let mine = holder(lease) == Some(self.identity.as_str());
        match self.renewed {
            Some(renewed) if !mine || now >= renewed + self.timing.renew_deadline => Step::Lost,
            Some(_) => Step::Write(Box::new(self.claim(lease, wall))),
            None if mine || holder(lease).is_none() || self.expired(lease, *since, now) => {
                Step::Write(Box::new(self.claim(lease, wall)))
            }
            None => Step::Wait,
        }
    }

    /// The time at which leadership ends unless it is renewed.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.renewed.map(|renewed| renewed + self.timing.renew_deadline)
    }

    /// Gives up: the lease without a holder, for the next to take at once. `None`: it is not this claimant's.
    pub(super) fn release(&mut self, wall: Timestamp) -> Option<Lease> {
        self.renewed = None;
        let (lease, _) = self.seen.as_ref()?;
        if holder(lease) != Some(self.identity.as_str()) {
            return None;
        }
        let mut released = self.claim(lease, wall);
        if let Some(spec) = released.spec.as_mut() {
            spec.holder_identity = Some(String::new());
            spec.lease_duration_seconds = Some(1);
        }
        Some(released)
    }

    fn expired(&self, lease: &Lease, since: Instant, now: Instant) -> bool {
        let asked = lease.spec.as_ref().and_then(|spec| spec.lease_duration_seconds).unwrap_or(0);
        let asked = std::time::Duration::from_secs(u64::try_from(asked).unwrap_or(0));
        now >= since + asked.max(self.timing.lease)
    }

    fn claim(&self, lease: &Lease, wall: Timestamp) -> Lease {
        let before = lease.spec.clone().unwrap_or_default();
        let mine = holder(lease) == Some(self.identity.as_str());
        let transitions = before.lease_transitions.unwrap_or(0);
        let spec = LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: Some(i32::try_from(self.timing.lease.as_secs()).unwrap_or(i32::MAX)),
            renew_time: Some(MicroTime(wall)),
            acquire_time: if mine { before.acquire_time.clone() } else { Some(MicroTime(wall)) },
            lease_transitions: Some(if mine || lease.spec.is_none() { transitions } else { transitions + 1 }),
            ..before
        };
        Lease { metadata: lease.metadata.clone(), spec: Some(spec) }
    }
}

fn holder(lease: &Lease) -> Option<&str> {
    lease.spec.as_ref()?.holder_identity.as_deref().filter(|holder| !holder.is_empty())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// A lease in an API server: writes need the newest resource version.
    #[derive(Default)]
    struct Server {
        lease: Option<Lease>,
        version: u64,
    }

    impl Server {
        fn write(&mut self, mut lease: Lease) -> Result<Lease, ()> {
            let current = self.lease.as_ref().and_then(|lease| lease.metadata.resource_version.clone());
            if lease.metadata.resource_version != current {
                return Err(());
            }
            self.version += 1;
            lease.metadata.resource_version = Some(self.version.to_string());
            self.lease = Some(lease.clone());
            Ok(lease)
        }
    }

    fn claimant(name: &str) -> Election {
        Election::new("coterie-operator".to_owned(), name.to_owned(), Timing::default())
    }

    /// One attempt, as the elector makes it. Whether the claimant leads afterwards.
    fn attempt(election: &mut Election, server: &mut Server, now: Instant) -> bool {
        if election.renewed.is_none() {
            election.saw(server.lease.clone(), now);
        }
        match election.step(now, Timestamp::UNIX_EPOCH) {
            Step::Write(lease) => match server.write(*lease) {
                Ok(lease) => election.wrote(lease, now, now),
                Err(()) => election.saw(server.lease.clone(), now),
            },
            Step::Lost => election.renewed = None,
            Step::Read | Step::Wait => {}
        }
        election.renewed.is_some()
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn one_of_several_leads_and_keeps_leading() {
        let (mut server, start) = (Server::default(), Instant::now());
        let mut claimants = ["ada", "grace", "emmy"].map(claimant);
        for round in 0..60 {
            let now = start + seconds(2 * round);
            let leads: Vec<bool> = claimants.iter_mut().map(|one| attempt(one, &mut server, now)).collect();
            assert_eq!(leads, [true, false, false], "round {round}");
        }
        assert_eq!(server.lease.unwrap().spec.unwrap().lease_transitions, Some(0));
    }

    #[test]
    fn a_silent_leader_is_replaced_after_the_lease_as_others_saw_it() {
        let (mut server, start) = (Server::default(), Instant::now());
        let (mut ada, mut grace) = (claimant("ada"), claimant("grace"));
        assert!(attempt(&mut ada, &mut server, start));
        // Grace sees the renewal late, and counts from then.
        assert!(!attempt(&mut grace, &mut server, start + seconds(9)));
        assert!(!attempt(&mut grace, &mut server, start + seconds(23)));
        assert!(attempt(&mut grace, &mut server, start + seconds(24)));
        // Ada wakes: she does not even try.
        assert_eq!(ada.step(start + seconds(25), Timestamp::UNIX_EPOCH), Step::Lost);
        assert_eq!(server.lease.unwrap().spec.unwrap().lease_transitions, Some(1));
    }

    #[test]
    fn of_two_that_see_a_free_lease_one_fails() {
        let (mut server, now) = (Server::default(), Instant::now());
        let (mut ada, mut grace) = (claimant("ada"), claimant("grace"));
        ada.saw(None, now);
        grace.saw(None, now);
        let claims = [&ada, &grace].map(|one| one.step(now, Timestamp::UNIX_EPOCH));
        let written = claims.map(|claim| match claim {
            Step::Write(lease) => server.write(*lease).is_ok(),
            step => panic!("{step:?}"),
        });
        assert_eq!(written, [true, false]);
        assert!(!attempt(&mut grace, &mut server, now));
    }

    #[test]
    fn a_renewal_whose_answer_was_lost_does_not_cost_the_lead() {
        let (mut server, start) = (Server::default(), Instant::now());
        let mut ada = claimant("ada");
        assert!(attempt(&mut ada, &mut server, start));
        let Step::Write(lease) = ada.step(start + seconds(2), Timestamp::UNIX_EPOCH) else { panic!() };
        server.write(*lease).unwrap(); // and the answer never comes
        assert!(attempt(&mut ada, &mut server, start + seconds(4)), "conflict, but the holder is ada");
        assert_eq!(ada.deadline(), Some(start + seconds(10)), "an unacknowledged renewal does not count");
        assert!(attempt(&mut ada, &mut server, start + seconds(6)));
        assert_eq!(ada.deadline(), Some(start + seconds(16)));
    }

    #[test]
    fn a_lease_taken_from_a_leader_is_lost() {
        let (mut server, start) = (Server::default(), Instant::now());
        let (mut ada, mut grace) = (claimant("ada"), claimant("grace"));
        assert!(attempt(&mut ada, &mut server, start));
        grace.saw(server.lease.clone(), start);
        assert!(attempt(&mut grace, &mut server, start + seconds(15)));
        ada.saw(server.lease.clone(), start + seconds(5));
        assert_eq!(ada.step(start + seconds(5), Timestamp::UNIX_EPOCH), Step::Lost);
    }

    #[test]
    fn a_released_lease_is_taken_at_once() {
        let (mut server, start) = (Server::default(), Instant::now());
        let (mut ada, mut grace) = (claimant("ada"), claimant("grace"));
        assert!(attempt(&mut ada, &mut server, start));
        assert!(!attempt(&mut grace, &mut server, start));
        assert_eq!(grace.release(Timestamp::UNIX_EPOCH), None);
        server.write(ada.release(Timestamp::UNIX_EPOCH).unwrap()).unwrap();
        assert!(attempt(&mut grace, &mut server, start + seconds(1)));
    }

    #[test]
    fn a_longer_lease_of_another_version_is_respected() {
        let (mut server, start) = (Server::default(), Instant::now());
        let mut ada = claimant("ada");
        let mut grace = claimant("grace");
        ada.timing.lease = seconds(60);
        assert!(attempt(&mut ada, &mut server, start));
        assert!(!attempt(&mut grace, &mut server, start));
        assert!(!attempt(&mut grace, &mut server, start + seconds(59)));
        assert!(attempt(&mut grace, &mut server, start + seconds(60)));
    }
}
