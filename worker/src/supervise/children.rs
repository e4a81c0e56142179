//! The processes themselves.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    path::PathBuf,
    pin::Pin,
    process::{ExitStatus, Stdio},
    time::{Duration, Instant},
};

use futures::stream::{FuturesUnordered, StreamExt};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{ChildStdin, Command},
    sync::mpsc,
};

use super::Event;
use crate::{error::RunError, publish::summary::Summary};

/// A process that lived so long was well: its earlier ends are forgotten.
const STEADY: Duration = Duration::from_secs(600);

/// What a process does.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// The coordinator of the run.
    Coordinator,
    /// A worker of that name.
    Worker(String),
}

impl Role {
    /// `coordinator`, or the worker's name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Coordinator => "coordinator",
            Self::Worker(name) => name,
        }
    }

    /// `coordinator` or `worker`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Coordinator => "coordinator",
            Self::Worker(_) => "worker",
        }
    }
}

/// What a process left in writing when it ended.
#[derive(Debug, PartialEq)]
pub enum Word {
    /// The coordinator's: there is a model.
    Published(Box<Summary>),
    /// A worker's: the run is over.
    Released,
    /// Why it ended.
    Failed(RunError),
}

/// What the processes let be known.
#[derive(Debug)]
pub(super) enum News {
    /// A line on standard error, with the process's name before it.
    Line(String),
    /// A process has ended.
    Ended(Role, ExitStatus),
    /// The pause before a restart is over.
    Due(Role),
}

/// How to start the processes of a run.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// The `coterie` binary.
    pub executable: PathBuf,
    /// The run's configuration file.
    pub run_config: PathBuf,
    /// Directory where processes leave word; private to the supervisor.
    pub words: PathBuf,
    /// Threads of each worker; its own choice when unset.
    pub threads: Option<usize>,
    /// Memory limit of each worker in bytes.
    pub memory: u64,
    /// Directory for scratch; the system's temporary directory when unset.
    pub scratch: Option<PathBuf>,
    /// Environment variables beside the supervisor's own.
    pub environment: Vec<(&'static str, String)>,
    /// Whether what the processes say is given as events, with their names before it, or goes where the supervisor's own
    /// words go.
    pub listen: bool,
}

type Pending<T> = FuturesUnordered<Pin<Box<dyn Future<Output = T> + Send>>>;

/// All processes of one supervisor.
pub struct Children {
    recipe: Recipe,
    endings: Pending<(Role, ExitStatus)>,
    due: Pending<Role>,
    /// Processes that are there or will be.
    expected: BTreeSet<Role>,
    /// A process ends when its standard input does: so none outlives the supervisor, however that ends.
    leashes: BTreeMap<Role, ChildStdin>,
    started: BTreeMap<Role, Instant>,
    restarts: BTreeMap<Role, u32>,
    lines: (mpsc::UnboundedSender<String>, mpsc::UnboundedReceiver<String>),
}

impl Children {
    /// No processes yet.
    #[must_use]
    pub fn new(recipe: Recipe) -> Self {
        Self {
            recipe,
            endings: Pending::new(),
            due: Pending::new(),
            expected: BTreeSet::new(),
            leashes: BTreeMap::new(),
            started: BTreeMap::new(),
            restarts: BTreeMap::new(),
            lines: mpsc::unbounded_channel(),
        }
    }

    pub(super) fn start(&mut self, role: &Role, on_event: &mut (dyn FnMut(Event<'_>) + Send)) -> Result<(), RunError> {
        let name = role.name().to_owned();
        // The word an earlier incarnation left is not this one's.
        let _ = std::fs::remove_file(self.word_path(role));
        let mut child = self.command(role).spawn().map_err(|error| {
            RunError::transient(format!("start {name} ({}): {error}", self.recipe.executable.display()))
        })?;
        on_event(Event::Started { name: &name, pid: child.id().unwrap_or(0) });
        if let Some(stdin) = child.stdin.take() {
            self.leashes.insert(role.clone(), stdin);
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
        self.started.insert(role.clone(), Instant::now());
        self.expected.insert(role.clone());
        let role = role.clone();
        self.endings.push(Box::pin(async move {
            // A failed wait means that the process is not ours to wait for any more, which is an ending too.
            let status = child.wait().await.unwrap_or_default();
            (role, status)
        }));
        Ok(())
    }

    fn command(&self, role: &Role) -> Command {
        let recipe = &self.recipe;
        let mut command = Command::new(&recipe.executable);
        command.arg("worker").arg("--run-config").arg(&recipe.run_config).arg("--leashed");
        command.arg("--outcome").arg(self.word_path(role)).arg(format!("--role={}", role.kind()));
        command.arg("--memory").arg(recipe.memory.to_string());
        if let Role::Worker(name) = role {
            command.arg("--name").arg(name);
            if let Some(threads) = recipe.threads {
                command.arg("--threads").arg(threads.to_string());
            }
            if let Some(scratch) = &recipe.scratch {
                command.arg("--scratch").arg(scratch);
            }
        }
        command.envs(recipe.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::piped()).stdout(Stdio::null()).kill_on_drop(true);
        command.stderr(if recipe.listen { Stdio::piped() } else { Stdio::inherit() });
        command
    }

    /// Starts a process again after a pause.
    pub(super) fn start_after(&mut self, role: Role, pause: Duration) {
        *self.restarts.entry(role.clone()).or_default() += 1;
        self.expected.insert(role.clone());
        self.due.push(Box::pin(async move {
            tokio::time::sleep(pause).await;
            role
        }));
    }

    /// Whether a role has a process or will have one after its pause.
    pub(super) fn expects(&self, role: &Role) -> bool {
        self.expected.contains(role)
    }

    /// How often a role was started again since it last was well.
    pub(super) fn restarts(&self, role: &Role) -> u32 {
        self.restarts.get(role).copied().unwrap_or(0)
    }

    /// Waits for whatever comes next.
    pub(super) async fn news(&mut self) -> News {
        let Self { lines, endings, due, .. } = self;
        tokio::select! {
            // What a process said comes before the news of its end.
            biased;
            Some(line) = lines.1.recv() => News::Line(line),
            Some((role, status)) = endings.next(), if !endings.is_empty() => {
                self.expected.remove(&role);
                self.leashes.remove(&role);
                if self.started.get(&role).is_some_and(|started| started.elapsed() > STEADY) {
                    self.restarts.remove(&role);
                }
                News::Ended(role, status)
            }
            Some(role) = due.next(), if !due.is_empty() => News::Due(role),
        }
    }

    /// What a process left in writing.
    pub(super) fn word(&self, role: &Role) -> Option<Word> {
        let text = std::fs::read(self.word_path(role)).ok()?;
        let word = match role {
            Role::Coordinator => {
                serde_json::from_slice::<Result<Box<Summary>, RunError>>(&text).ok()?.map(Word::Published)
            }
            Role::Worker(_) => serde_json::from_slice::<Result<(), RunError>>(&text).ok()?.map(|()| Word::Released),
        };
        Some(word.unwrap_or_else(Word::Failed))
    }

    /// Lets go of the leashes, waits, and kills what is left.
    pub async fn end(&mut self, grace: Duration) {
        self.leashes.clear();
        let all = async { while self.endings.next().await.is_some() {} };
        let _ = tokio::time::timeout(grace, all).await;
        self.endings.clear();
    }

    fn word_path(&self, role: &Role) -> PathBuf {
        self.recipe.words.join(format!("{}.json", role.name()))
    }
}
