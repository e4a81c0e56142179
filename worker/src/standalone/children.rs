//! The processes of a run on this machine.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    path::{Path, PathBuf},
    pin::Pin,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use futures::stream::{FuturesUnordered, StreamExt};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{ChildStdin, Command},
    sync::mpsc,
};

use super::{Event, Launch};
use crate::{error::RunError, publish::summary::Summary};

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    Coordinator,
    /// Numbered from 1.
    Worker(u32),
}

impl Role {
    pub(super) fn name(self) -> String {
        match self {
            Self::Coordinator => "coordinator".to_owned(),
            Self::Worker(number) => format!("worker-{number}"),
        }
    }
}

/// What the processes let be known.
#[derive(Debug)]
pub(super) enum News {
    /// A line on standard error, with the process's name before it.
    Line(String),
    /// A process has ended.
    Ended(Role, ExitStatus),
}

type Ending = Pin<Box<dyn Future<Output = (Role, ExitStatus)> + Send>>;

/// All processes of the run.
pub(super) struct Children {
    executable: PathBuf,
    directory: PathBuf,
    threads: usize,
    memory: u64,
    scratch: Option<PathBuf>,
    environment: Vec<(&'static str, String)>,
    endings: FuturesUnordered<Ending>,
    /// A process ends when its standard input does: so none outlives the launcher, however that ends.
    leashes: BTreeMap<Role, ChildStdin>,
    starts: BTreeMap<Role, u32>,
    running: BTreeSet<Role>,
    lines: (mpsc::UnboundedSender<String>, mpsc::UnboundedReceiver<String>),
}

impl Children {
    pub(super) fn new(launch: &Launch, directory: &Path) -> Self {
        Self {
            executable: launch.executable.clone(),
            directory: directory.to_owned(),
            threads: launch.threads,
            memory: launch.memory,
            scratch: launch.scratch.clone(),
            environment: launch.environment.clone(),
            endings: FuturesUnordered::new(),
            leashes: BTreeMap::new(),
            starts: BTreeMap::new(),
            running: BTreeSet::new(),
            lines: mpsc::unbounded_channel(),
        }
    }

    pub(super) fn start(&mut self, role: Role, on_event: &mut (dyn FnMut(Event<'_>) + Send)) -> Result<(), RunError> {
        let name = role.name();
        if role == Role::Coordinator {
            // The word an earlier incarnation left is not this one's.
            let _ = std::fs::remove_file(self.outcome_path());
        }
        let mut command = Command::new(&self.executable);
        command.arg("worker").arg("--run-config").arg(self.directory.join("run.json")).arg("--leashed");
        match role {
            Role::Coordinator => command.arg("--role=coordinator").arg("--outcome").arg(self.outcome_path()),
            Role::Worker(_) => {
                command.arg("--role=worker").arg("--name").arg(&name);
                command.arg("--threads").arg(self.threads.to_string()).arg("--memory").arg(self.memory.to_string());
                if let Some(scratch) = &self.scratch {
                    command.arg("--scratch").arg(scratch);
                }
                &mut command
            }
        };
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command
            .spawn()
            .map_err(|error| RunError::transient(format!("start {name} ({}): {error}", self.executable.display())))?;
        on_event(Event::Started { name: &name, pid: child.id().unwrap_or(0) });
        if let Some(stdin) = child.stdin.take() {
            self.leashes.insert(role, stdin);
        }
        if let Some(stderr) = child.stderr.take() {
            let lines = self.lines.0.clone();
            tokio::spawn(async move {
                let mut reader = BufReader::new(stderr).lines();
                while let Ok(Some(line)) = reader.next_line().await {
                    let _ = lines.send(format!("{name}: {line}"));
                }
            });
        }
        *self.starts.entry(role).or_default() += 1;
        self.running.insert(role);
        self.endings.push(Box::pin(async move {
            // A failed wait means that the process is not ours to wait for any more, which is an ending too.
            let status = child.wait().await.unwrap_or_default();
            (role, status)
        }));
        Ok(())
    }

    /// Whether a role has a process.
    pub(super) fn runs(&self, role: Role) -> bool {
        self.running.contains(&role)
    }

    /// How often a role was started again.
    pub(super) fn restarts(&self, role: Role) -> u32 {
        self.starts.get(&role).map_or(0, |starts| starts - 1)
    }

    /// Waits for whatever comes next: a line on a process's standard error, or a process's end.
    pub(super) async fn news(&mut self) -> News {
        let lines = &mut self.lines.1;
        let endings = &mut self.endings;
        tokio::select! {
            // What a process said comes before the news of its end.
            biased;
            Some(line) = lines.recv() => News::Line(line),
            Some((role, status)) = endings.next(), if !endings.is_empty() => {
                self.running.remove(&role);
                News::Ended(role, status)
            }
        }
    }

    /// How the coordinator says that the run ended, if it left word.
    pub(super) fn outcome(&self) -> Option<Result<Summary, RunError>> {
        let text = std::fs::read(self.outcome_path()).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Lets go of the leashes, waits, and kills what is left.
    pub(super) async fn end(&mut self, grace: Duration) {
        self.leashes.clear();
        let all = async { while self.endings.next().await.is_some() {} };
        let _ = tokio::time::timeout(grace, all).await;
        self.endings.clear();
    }

    fn outcome_path(&self) -> PathBuf {
        self.directory.join("outcome.json")
    }
}
