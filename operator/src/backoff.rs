//! How long to wait before a job is tried again.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use crate::failure::Class;

/// How long what the server refuses is left alone, unless the job or one of its objects changes.
pub(crate) const REFUSED: Duration = Duration::from_secs(60);

/// The delay after `failures` failures in a row, the last of this class. Jobs that fail together come back apart.
pub(crate) fn delay(class: Class, failures: u32, job: &str) -> Duration {
    let (first, longest) = match class {
        Class::Stale => (Duration::from_millis(200), Duration::from_secs(5)),
        Class::Transient => (Duration::from_secs(1), Duration::from_secs(60)),
        Class::Refused | Class::Bug => (REFUSED, REFUSED),
        Class::NotLeading => (Duration::from_secs(5), Duration::from_secs(5)),
    };
    let doublings = failures.saturating_sub(1).min(16);
    let delay = first.saturating_mul(1 << doublings).min(longest);
    delay.mul_f64(0.75 + 0.25 * fraction(job, failures))
}

/// A number in 0..1 that looks random but follows from its arguments.
fn fraction(job: &str, failures: u32) -> f64 {
    let mut hasher = DefaultHasher::new();
    (job, failures).hash(&mut hasher);
    f64::from((hasher.finish() >> 32) as u32) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_a_bound() {
        for (class, first, longest) in [(Class::Stale, 0.2, 5.0), (Class::Transient, 1.0, 60.0)] {
            let seconds = |failures| delay(class, failures, "job").as_secs_f64();
            assert!((0.75 * first..=first).contains(&seconds(1)));
            assert!((1.5 * first..=2.0 * first).contains(&seconds(2)));
            for failures in [20, 1000, u32::MAX] {
                assert!((0.75 * longest..=longest).contains(&seconds(failures)));
            }
        }
    }

    #[test]
    fn jobs_come_back_apart() {
        assert_ne!(delay(Class::Transient, 3, "one"), delay(Class::Transient, 3, "other"));
    }
}
