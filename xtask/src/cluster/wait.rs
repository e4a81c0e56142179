//! Waiting for a condition, with a deadline.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Asks again and again until the condition holds; an error of the condition ends the waiting.
pub(super) fn until(what: &str, limit: Duration, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    let start = Instant::now();
    while !holds()? {
        if start.elapsed() > limit {
            bail!("waited {} s for {what}, in vain", limit.as_secs());
        }
        sleep(Duration::from_millis(100));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_until_the_condition_holds() {
        let mut left = 3;
        let hold = || {
            left -= 1;
            Ok(left == 0)
        };
        until("three calls", Duration::from_secs(10), hold).unwrap();
        assert_eq!(left, 0);
    }

    #[test]
    fn gives_up_at_the_deadline_and_at_an_error() {
        let error = until("a miracle", Duration::ZERO, || Ok(false)).unwrap_err();
        assert_eq!(error.to_string(), "waited 0 s for a miracle, in vain");
        assert!(until("a miracle", Duration::from_secs(60), || bail!("impossible")).is_err());
    }
}
