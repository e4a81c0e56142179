//! What the operator remembers about jobs between reconciliations. All of it may be lost: a restarted operator asks again, tries again.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use coterie_crds::run::RunProgress;
use coterie_operator_core::{Refusal, traffic::Traffic};
use tokio::time::Instant;

use crate::{
    backoff,
    execute::Report,
    failure::{Class, Failure},
};

/// By uid, so that a job that is made again under its old name starts without a past.
#[derive(Debug, Default)]
pub(crate) struct Memory(Mutex<HashMap<String, Remembered>>);

#[derive(Debug, Default)]
struct Remembered {
    progress: Option<RunProgress>,
    traffic: Option<Traffic>,
    /// What was refused for this generation, and when that was last confirmed.
    refusals: Vec<(Refusal, Instant)>,
    generation: Option<i64>,
    /// Failures since the last success.
    failures: u32,
    /// A version of the job that an own write replaced.
    replaced: Option<String>,
}

// === impl Memory ===

impl Memory {
    /// Whether this version of the job is known to be over.
    pub(crate) fn is_replaced(&self, uid: &str, version: Option<&str>) -> bool {
        self.jobs().get(uid).is_some_and(|job| version.is_some() && job.replaced.as_deref() == version)
    }

    /// The last answer of the job's coordinator.
    pub(crate) fn progress(&self, uid: &str) -> Option<RunProgress> {
        self.jobs().get(uid)?.progress.clone()
    }

    /// Keeps an answer. Whether it differs from the last.
    pub(crate) fn set_progress(&self, uid: &str, progress: RunProgress) -> bool {
        let mut jobs = self.jobs();
        let job = jobs.entry(uid.to_owned()).or_default();
        let news = job.progress.as_ref() != Some(&progress);
        job.progress = Some(progress);
        news
    }

    /// What the job's canary answered in the last interval.
    pub(crate) fn traffic(&self, uid: &str) -> Option<Traffic> {
        self.jobs().get(uid)?.traffic.clone()
    }

    /// Keeps what a canary answered.
    pub(crate) fn set_traffic(&self, uid: &str, traffic: Traffic) {
        self.jobs().entry(uid.to_owned()).or_default().traffic = Some(traffic);
    }

    /// What was refused when plans for this generation of the job were carried out.
    pub(crate) fn refusals(&self, uid: &str, generation: Option<i64>) -> Vec<Refusal> {
        match self.jobs().get(uid) {
            Some(job) if job.generation == generation => {
                job.refusals.iter().map(|(refusal, _)| refusal.clone()).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Keeps what a plan for this version and generation of the job came to. Whether the refusals are others than before: then the job should be
    /// planned again.
    pub(crate) fn record(&self, uid: &str, version: Option<&str>, generation: Option<i64>, report: &Report) -> bool {
        let now = Instant::now();
        let mut jobs = self.jobs();
        let job = jobs.entry(uid.to_owned()).or_default();
        if report.replaced {
            job.replaced = version.map(str::to_owned);
        }
        if job.generation != generation {
            job.generation = generation;
            job.refusals.clear();
        }
        let before: Vec<Refusal> = job.refusals.iter().map(|(refusal, _)| refusal.clone()).collect();
        job.refusals.retain(|(refusal, confirmed)| {
            // A plan that succeeds without the refused object does not want it any more, or has been told not to try: then it is to try again,
            // but not at once.
            let obsolete = report.failure.is_none() && now >= *confirmed + backoff::REFUSED;
            !obsolete && !report.written.contains(&refusal.object)
        });
        match &report.failure {
            None => job.failures = 0,
            Some(failure) => {
                job.failures = job.failures.saturating_add(1);
                if let (Class::Refused, Some(object)) = (failure.class, &failure.object) {
                    let refusal = Refusal { object: object.clone(), message: failure.message.clone() };
                    match job.refusals.iter_mut().find(|(known, _)| known.object == *object) {
                        // Words may change every time (a request's id): that must not make work for ever.
                        Some((_, confirmed)) if now < *confirmed + backoff::REFUSED => {}
                        Some(known) => *known = (refusal, now),
                        None => job.refusals.push((refusal, now)),
                    }
                }
            }
        }
        !before.iter().eq(job.refusals.iter().map(|(refusal, _)| refusal))
    }

    /// How long to wait after a failure that [`Memory::record`] has been told.
    pub(crate) fn delay(&self, uid: &str, failure: &Failure) -> Duration {
        let failures = self.jobs().get(uid).map_or(1, |job| job.failures);
        let delay = backoff::delay(failure.class, failures, uid);
        failure.retry_after.map_or(delay, |asked| delay.max(asked.min(backoff::REFUSED)))
    }

    /// Forgets all jobs but these.
    pub(crate) fn retain(&self, uids: &HashSet<String>) {
        self.jobs().retain(|uid, _| uids.contains(uid));
    }

    fn jobs(&self) -> MutexGuard<'_, HashMap<String, Remembered>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use coterie_operator_core::plan::{Kind, ObjectRef};

    use super::*;
    use crate::failure::Attempt;

    fn object() -> ObjectRef {
        ObjectRef { kind: Kind::Job, name: "songs-r1".to_owned() }
    }

    fn failed(class: Class) -> Report {
        let failure = Failure::new(class, &Attempt::object("create", object()), "no");
        Report { failure: Some(failure), ..Report::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_lasts_until_the_object_is_written_or_the_spec_changes() {
        let memory = Memory::default();
        assert!(memory.record("uid", Some("1"), Some(1), &failed(Class::Refused)), "news");
        assert!(!memory.record("uid", Some("2"), Some(1), &failed(Class::Refused)), "no news");
        assert_eq!(memory.refusals("uid", Some(1)), [Refusal { object: object(), message: "no".to_owned() }]);
        assert_eq!(memory.refusals("uid", Some(2)), []);
        assert_eq!(memory.refusals("other", Some(1)), []);
        assert!(memory.record("uid", Some("3"), Some(1), &Report { written: vec![object()], ..Report::default() }));
        assert_eq!(memory.refusals("uid", Some(1)), []);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_in_other_words_is_no_news_for_a_while() {
        let memory = Memory::default();
        let refused = |message: &str| {
            let failure = Failure::new(Class::Refused, &Attempt::object("create", object()), message);
            Report { failure: Some(failure), ..Report::default() }
        };
        assert!(memory.record("uid", None, Some(1), &refused("request 1")));
        assert!(!memory.record("uid", None, Some(1), &refused("request 2")));
        tokio::time::advance(backoff::REFUSED).await;
        assert!(memory.record("uid", None, Some(1), &refused("request 3")));
        assert_eq!(memory.refusals("uid", Some(1))[0].message, "request 3");
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_that_no_plan_meets_again_is_forgotten_slowly() {
        let memory = Memory::default();
        memory.record("uid", None, Some(1), &failed(Class::Refused));
        assert!(!memory.record("uid", None, Some(1), &Report::default()));
        tokio::time::advance(backoff::REFUSED).await;
        assert!(memory.record("uid", None, Some(1), &Report::default()));
        assert_eq!(memory.refusals("uid", Some(1)), []);
    }

    #[tokio::test(start_paused = true)]
    async fn delays_grow_and_a_success_ends_them() {
        let memory = Memory::default();
        let delays: Vec<Duration> = (0..3)
            .map(|_| {
                let report = failed(Class::Transient);
                memory.record("uid", None, Some(1), &report);
                memory.delay("uid", &report.failure.unwrap())
            })
            .collect();
        assert!(delays[0] < delays[1] && delays[1] < delays[2]);
        memory.record("uid", None, Some(1), &Report::default());
        let report = failed(Class::Transient);
        memory.record("uid", None, Some(1), &report);
        assert_eq!(memory.delay("uid", &report.failure.unwrap()), delays[0]);
    }

    #[test]
    fn an_own_write_is_waited_for() {
        let memory = Memory::default();
        memory.record("uid", Some("7"), Some(1), &Report { replaced: true, ..Report::default() });
        assert!(memory.is_replaced("uid", Some("7")));
        assert!(!memory.is_replaced("uid", Some("8")));
        memory.retain(&HashSet::new());
        assert!(!memory.is_replaced("uid", Some("7")));
    }

    #[test]
    fn only_another_answer_is_news() {
        let memory = Memory::default();
        let progress = RunProgress { iteration: 3, ..RunProgress::default() };
        assert!(memory.set_progress("uid", progress.clone()));
        assert!(!memory.set_progress("uid", progress.clone()));
        assert_eq!(memory.progress("uid"), Some(progress));
    }
}
