//! Processes that outlive this one: started with a log, remembered by id and start time, and ended by nothing but that record.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::process::{Command, Stdio};
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context as _, Error, Result, bail};

use super::layout::Cluster;
use super::wait;

/// A process. Ids are used again, so the time of its start (in clock ticks since the machine's) is part of its identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Process {
    id: u32,
    started: u64,
}

impl Process {
    /// The process that has this id now.
    fn with_id(id: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        Some(Process { id, started: start_time(&stat)? })
    }

    pub(super) fn id(self) -> u32 {
        self.id
    }

    pub(super) fn is_alive(self) -> bool {
        Process::with_id(self.id) == Some(self)
    }

    /// The only child: what a wrapper such as nsenter runs.
    pub(super) fn child(self) -> Result<Self> {
        let children = format!("/proc/{0}/task/{0}/children", self.id);
        let children = fs::read_to_string(&children).with_context(|| format!("cannot read {children}"))?;
        let child = children.split_whitespace().next().and_then(|id| Process::with_id(id.parse().ok()?));
        child.with_context(|| format!("process {} has no child", self.id))
    }

    /// Sends a signal, if the process still is what it was.
    pub(super) fn signal(self, signal: &str) -> Result<()> {
        if !self.is_alive() {
            return Ok(());
        }
        let status = Command::new("sh")
            .args(["-c", "kill -s \"$0\" \"$1\"", signal, &self.id.to_string()])
            .stderr(Stdio::null())
            .status()
            .context("cannot start sh")?;
        if !status.success() && self.is_alive() {
            bail!("cannot send {signal} to process {}", self.id);
        }
        Ok(())
    }

    /// Kills the process and waits until it is gone.
    pub(super) fn kill(self) -> Result<()> {
        self.signal("KILL")?;
        wait::until(&format!("process {} to end", self.id), Duration::from_secs(20), || Ok(!self.is_alive()))
    }
}

/// The start time in the text of `/proc/ID/stat`, unless the process has ended and only waits to be noticed.
fn start_time(stat: &str) -> Option<u64> {
    // The name, in parentheses, may contain anything.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    let state = fields.next()?;
    let started = fields.nth(18)?.parse().ok()?;
    (!matches!(state, "Z" | "X")).then_some(started)
}

impl fmt::Display for Process {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.id, self.started)
    }
}

impl FromStr for Process {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (id, started) = text.trim().split_once(' ').context("an id and a start time are expected")?;
        Ok(Process { id: id.parse()?, started: started.parse()? })
    }
}

/// Starts a process that outlives this one, in a session of its own, with its log and its record.
pub(super) fn start(cluster: &Cluster, name: &str, command: &Command) -> Result<Process> {
    let log = cluster.log(name);
    let open = || {
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)
            .with_context(|| format!("cannot write {}", log.display()))
    };
    let mut session = Command::new("setsid");
    session.arg(command.get_program()).args(command.get_args()).env_clear();
    session.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    session.stdin(Stdio::null()).stdout(open()?).stderr(open()?).current_dir(cluster.state());
    let child = session.spawn().context("cannot start setsid")?;
    let process =
        Process::with_id(child.id()).with_context(|| format!("{name} ended at once; see {}", log.display()))?;
    let record = cluster.record(name);
    fs::write(&record, process.to_string()).with_context(|| format!("cannot write {}", record.display()))?;
    Ok(process)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let process = Process { id: 7, started: 123_456 };
        assert_eq!(process.to_string().parse::<Process>().unwrap(), process);
        assert!("7".parse::<Process>().is_err());
        assert!("7 x".parse::<Process>().is_err());
    }

    #[test]
    fn the_start_time_is_found_behind_any_name() {
        let stat = |state: &str| {
            format!("7 (a ) b) {state} 1 7 7 0 -1 4194560 167 0 0 0 0 0 0 0 20 0 1 0 1353521 3805184 523")
        };
        assert_eq!(start_time(&stat("S")), Some(1_353_521));
        assert_eq!(start_time(&stat("Z")), None);
        assert_eq!(start_time("7 (cut short"), None);
    }

    #[test]
    fn a_used_again_id_is_another_process() {
        let own = Process::with_id(std::process::id()).unwrap();
        assert!(own.is_alive());
        let earlier = Process { started: own.started - 1, ..own };
        assert!(!earlier.is_alive());
        // Would end this test if it were sent.
        earlier.signal("KILL").unwrap();
    }

    #[test]
    fn a_child_can_be_found_and_killed() {
        let mut shell = Command::new("sh").args(["-c", "sleep 60 & wait"]).spawn().unwrap();
        let parent = Process::with_id(shell.id()).unwrap();
        wait::until("a child", Duration::from_secs(10), || Ok(parent.child().is_ok())).unwrap();
        let child = parent.child().unwrap();
        child.kill().unwrap();
        assert!(!child.is_alive());
        shell.wait().unwrap();
    }
}
