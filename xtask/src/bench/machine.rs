//! The machine: its name for the record, and how busy it is.

use std::fs;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::process::output;

/// Pause over which business is judged.
const GLANCE: Duration = Duration::from_secs(1);
/// Processors' worth of others' work up to which a machine counts as quiet.
pub(crate) const QUIET: f64 = 0.2;

/// What figures depend on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Machine {
    /// The processor's name.
    pub(crate) cpu: String,
    /// Processors that may be used.
    pub(crate) cores: usize,
}

impl Machine {
    /// This machine.
    pub(crate) fn this() -> Self {
        let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        Machine {
            cpu: model_name(&processors).unwrap_or("unknown processor").to_owned(),
            cores: thread::available_parallelism().map_or(1, usize::from),
        }
    }
}

fn model_name(processors: &str) -> Option<&str> {
    let line = processors.lines().find(|line| line.starts_with("model name"))?;
    line.split_once(':').map(|(_, name)| name.trim())
}

/// Today, as in 2026-11-26.
pub(crate) fn today() -> String {
    output(Command::new("date").args(["-u", "+%Y-%m-%d"])).unwrap_or_default().trim().to_owned()
}

/// Waits until the machine is quiet, at most so long.
pub(crate) fn wait_until_quiet(most: Duration) {
    let began = Instant::now();
    while began.elapsed() < most {
        let before = busy_seconds();
        thread::sleep(GLANCE);
        if busy_seconds() - before < QUIET * GLANCE.as_secs_f64() {
            return;
        }
    }
}

/// CPU seconds of everything on the machine so far, with those that its host gave to others.
pub(crate) fn busy_seconds() -> f64 {
    busy_ticks(&fs::read_to_string("/proc/stat").unwrap_or_default()) as f64 / 100.0
}

/// CPU seconds of the processes that this one has started and waited for, and of those that they have waited for.
pub(crate) fn children_seconds() -> f64 {
    children_ticks(&fs::read_to_string("/proc/self/stat").unwrap_or_default()) as f64 / 100.0
}

/// CPU seconds of a process so far.
pub(crate) fn process_seconds(pid: u32) -> f64 {
    own_ticks(&fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default()) as f64 / 100.0
}

/// `cutime` and `cstime` of proc_pid_stat(5).
fn children_ticks(stat: &str) -> u64 {
    two_ticks(stat, 13)
}

/// `utime` and `stime` of proc_pid_stat(5).
fn own_ticks(stat: &str) -> u64 {
    two_ticks(stat, 11)
}

/// Two fields of proc_pid_stat(5) together. The name in parentheses before them may contain anything.
fn two_ticks(stat: &str, first: usize) -> u64 {
    let fields = stat.rsplit(')').next().into_iter().flat_map(str::split_whitespace).skip(first).take(2);
    fields.filter_map(|field| field.parse::<u64>().ok()).sum()
}

/// All but idle and waiting for disks.
fn busy_ticks(stat: &str) -> u64 {
    let fields = stat.lines().next().into_iter().flat_map(str::split_whitespace).skip(1).take(8);
    let numbers = fields.filter_map(|field| field.parse::<u64>().ok()).enumerate();
    numbers.filter(|&(i, _)| i != 3 && i != 4).map(|(_, ticks)| ticks).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_time_is_not_work() {
        assert_eq!(busy_ticks("cpu  1 2 3 1000 2000 4 5 6 70 80\ncpu0 9"), 21);
        assert_eq!(busy_ticks(""), 0);
    }

    #[test]
    fn what_children_did_follows_the_name() {
        assert_eq!(children_ticks("1 (a) b) S 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17"), 29);
        assert_eq!(own_ticks("1 (a) b) S 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17"), 25);
        assert_eq!(children_ticks(""), 0);
    }

    #[test]
    fn the_processor_has_a_name() {
        assert_eq!(model_name("processor\t: 0\nmodel name\t: A 1 @ 2GHz\n"), Some("A 1 @ 2GHz"));
        assert_eq!(model_name("processor\t: 0\n"), None);
    }
}
