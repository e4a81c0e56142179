//! What the end of a process means for the run. Pure: how it ended and what it said go in, what to do comes out.

use std::{os::unix::process::ExitStatusExt, process::ExitStatus, time::Duration};

use super::children::{Role, Word};
use crate::{error::RunError, publish::summary::Summary};

/// How patient a supervisor is.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// Restarts of one process that was killed.
    pub killed: u32,
    /// Restarts of one process that ended by itself: it will probably do so again.
    pub ended: u32,
    /// Restarts of a coordinator that gave up for a passing reason.
    pub gave_up: u32,
    /// First pause before a restart, and the longest; it doubles in between.
    pub pauses: (Duration, Duration),
}

/// What to do about the end of a process.
#[derive(Debug, PartialEq)]
pub(super) enum Verdict {
    /// The run is over and has a model.
    Succeeded(Box<Summary>),
    /// The worker is not needed any more.
    Released,
    /// The run, or this part of it, cannot go on.
    Failed(RunError),
    /// Start it again after the pause; the text says how it ended.
    Restart(Duration, String),
}

impl Policy {
    /// Judges the end of `role`, which left `word` or died without, after it had been started again `restarts` times.
    pub(super) fn judge(&self, role: &Role, status: ExitStatus, word: Option<Word>, restarts: u32) -> Verdict {
        let name = role.name();
        let (most, how) = match word {
            // A success counts even if the process died right after it had said so.
            Some(Word::Published(summary)) => return Verdict::Succeeded(summary),
            Some(Word::Released) => return Verdict::Released,
            Some(Word::Failed(error)) if !error.is_transient() => return Verdict::Failed(error),
            Some(Word::Failed(error)) if *role == Role::Coordinator => {
                if restarts >= self.gave_up {
                    return Verdict::Failed(error);
                }
                (self.gave_up, format!("{status}: {error}"))
            }
            Some(Word::Failed(error)) => (self.ended, format!("{status}: {error}")),
            None => match status.code() {
                Some(0) if *role != Role::Coordinator => return Verdict::Released,
                Some(code @ 64..=66) => {
                    let message = format!("{name} ended with {status}; its messages above say why");
                    return Verdict::Failed(RunError { exit_code: code, message, split: None });
                }
                Some(_) => (self.ended, status.to_string()),
                None => (self.killed, status.to_string()),
            },
        };
        if restarts >= most {
            return Verdict::Failed(RunError::transient(format!(
                "{name} ended {restarts} times; the last time: {how}"
            )));
        }
        let (first, longest) = self.pauses;
        // Killed from outside, it is most likely well: it must be back at once.
        let doublings = restarts.min(if status.signal().is_some() { 2 } else { 16 });
        Verdict::Restart((first * (1 << doublings)).min(longest), how)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Policy =
        Policy { killed: 50, ended: 6, gave_up: 2, pauses: (Duration::from_millis(250), Duration::from_secs(8)) };

    fn worker() -> Role {
        Role::Worker("w".into())
    }

    fn exit(code: i32) -> ExitStatus {
        ExitStatus::from_raw(code << 8)
    }

    fn killed() -> ExitStatus {
        ExitStatus::from_raw(9)
    }

    fn restarts(verdict: &Verdict) -> Option<u64> {
        if let Verdict::Restart(pause, _) = verdict { Some(pause.as_millis() as u64) } else { None }
    }

    fn failure(verdict: Verdict) -> RunError {
        if let Verdict::Failed(error) = verdict { error } else { panic!("{verdict:?}") }
    }

    #[test]
    fn what_was_killed_is_back_within_two_seconds_and_errors_wait_longer_and_longer() {
        for role in [worker(), Role::Coordinator] {
            let pauses: Vec<u64> =
                (0..5).map(|before| restarts(&POLICY.judge(&role, killed(), None, before)).unwrap()).collect();
            assert_eq!(pauses, [250, 500, 1_000, 1_000, 1_000]);
            assert_eq!(failure(POLICY.judge(&role, killed(), None, 50)).exit_code, 75);
        }
        let word = || Some(Word::Failed(RunError::transient("no store")));
        let pauses: Vec<u64> =
            (0..6).map(|before| restarts(&POLICY.judge(&worker(), exit(75), word(), before)).unwrap()).collect();
        assert_eq!(pauses, [250, 500, 1_000, 2_000, 4_000, 8_000]);
        let error = failure(POLICY.judge(&worker(), exit(75), word(), 6));
        assert!(error.is_transient() && error.message.contains("no store"), "{error}");
    }

    #[test]
    fn permanent_errors_end_it_at_once_with_their_code_and_message() {
        for role in [worker(), Role::Coordinator] {
            let error = RunError::data("a.parquet, row group 3: NaN");
            assert_eq!(failure(POLICY.judge(&role, exit(65), Some(Word::Failed(error.clone())), 0)), error);
            // One that could not even leave word.
            assert_eq!(failure(POLICY.judge(&role, exit(64), None, 0)).exit_code, 64);
        }
    }

    #[test]
    fn a_coordinator_that_gave_up_is_tried_again_and_then_its_own_words_end_it() {
        let word = || Some(Word::Failed(RunError::transient("no worker")));
        assert!(restarts(&POLICY.judge(&Role::Coordinator, exit(75), word(), 1)).is_some());
        assert_eq!(failure(POLICY.judge(&Role::Coordinator, exit(75), word(), 2)).message, "no worker");
    }

    #[test]
    fn a_worker_that_was_sent_home_is_done_and_a_coordinator_needs_words_for_that() {
        assert_eq!(POLICY.judge(&worker(), exit(0), Some(Word::Released), 0), Verdict::Released);
        assert_eq!(POLICY.judge(&worker(), exit(0), None, 0), Verdict::Released);
        assert!(restarts(&POLICY.judge(&Role::Coordinator, exit(0), None, 0)).is_some());
    }
}
