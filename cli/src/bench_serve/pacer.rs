//! Waits that end on time. Tokio's timers tick in milliseconds, which is longer than an answer takes.

use std::io;
use std::time::Instant;

/// Waits for one moment after the other.
pub(super) struct Pacer {
    #[cfg(target_os = "linux")]
    timer: timer::Timer,
}

impl Pacer {
    /// Must be called within a runtime.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            #[cfg(target_os = "linux")]
            timer: timer::Timer::new()?,
        })
    }

    /// Completes when `due` has come; at once when it has passed. May be dropped and asked again.
    pub(super) async fn until(&mut self, due: Instant) -> io::Result<()> {
        while let Some(left) = due.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            #[cfg(target_os = "linux")]
            self.timer.wait(due, left).await?;
            #[cfg(not(target_os = "linux"))]
            tokio::time::sleep(left).await;
        }
        Ok(())
    }
}

#[cfg(target_os = "linux")]
mod timer {
    use std::io;
    use std::time::{Duration, Instant};

    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
    };
    use tokio::net::unix::pipe::Receiver;

    /// A timer of the kernel, to the microsecond.
    pub(super) struct Timer {
        /// To the runtime, a pipe from which the number of rings is read.
        timer: Receiver,
        /// What it is set to.
        set: Option<Instant>,
    }

    impl Timer {
        pub(super) fn new() -> io::Result<Self> {
            let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
            let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
            Ok(Self { timer: Receiver::from_owned_fd_unchecked(timer)?, set: None })
        }

        /// Completes when the timer rings, `left` from now, or sooner.
        pub(super) async fn wait(&mut self, due: Instant, left: Duration) -> io::Result<()> {
            if self.set != Some(due) {
                let it_value = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
                let it_interval = Timespec { tv_sec: 0, tv_nsec: 0 };
                timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &Itimerspec { it_interval, it_value })?;
                self.set = Some(due);
            }
            self.timer.readable().await?;
            match self.timer.try_read(&mut [0; 8]) {
                // It may have been set anew since it rang.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
                rung => {
                    self.set = None;
                    rung.map(drop)
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn moments_are_waited_for_and_never_early() {
        let mut pacer = Pacer::new().unwrap();
        let start = Instant::now();
        for number in 0..200 {
            let due = start + Duration::from_micros(150 * number);
            pacer.until(due).await.unwrap();
            assert!(Instant::now() >= due);
        }
    }

    #[tokio::test]
    async fn a_wait_that_was_dropped_begins_again() {
        let mut pacer = Pacer::new().unwrap();
        let due = Instant::now() + Duration::from_millis(30);
        for _ in 0..3 {
            let cut = tokio::time::timeout(Duration::from_millis(1), pacer.until(due)).await;
            assert!(cut.is_err() || Instant::now() >= due);
        }
        pacer.until(due).await.unwrap();
        assert!(Instant::now() >= due);
        pacer.until(Instant::now()).await.unwrap();
    }
}
