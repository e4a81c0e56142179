//! Where the cluster keeps what: everything lies below one folder in the user's cache.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::network::{self, Node};
use super::process::Process;
use crate::context::Context;
use crate::process::output;

/// The cluster of this user; there is one.
pub(crate) struct Cluster<'a> {
    pub(crate) context: &'a Context,
    folder: PathBuf,
}

impl<'a> Cluster<'a> {
    pub(crate) fn new(context: &'a Context) -> Self {
        Cluster { context, folder: context.cache.join("cluster") }
    }

    /// Programs, built once.
    pub(super) fn bin(&self) -> PathBuf {
        self.folder.join("bin")
    }

    /// Archives of container images, built once.
    pub(super) fn images(&self) -> PathBuf {
        self.folder.join("images")
    }

    /// What the running cluster writes; gone when it is taken down.
    pub(super) fn state(&self) -> PathBuf {
        self.folder.join("state")
    }

    /// Certificates, keys, and the files that name them.
    pub(super) fn pki(&self) -> PathBuf {
        self.state().join("pki")
    }

    /// A node's own files.
    pub(super) fn node(&self, node: Node) -> PathBuf {
        self.state().join("nodes").join(node.name())
    }

    /// Logs, which outlive the cluster.
    pub(super) fn logs(&self) -> PathBuf {
        self.folder.join("logs")
    }

    pub(super) fn audit_log(&self) -> PathBuf {
        self.logs().join("audit.log")
    }

    /// The administrator's kubeconfig.
    pub(super) fn kubeconfig(&self) -> PathBuf {
        self.folder.join("kubeconfig")
    }

    /// Holds the number of nodes once the cluster is complete.
    pub(super) fn marker(&self) -> PathBuf {
        self.state().join("complete")
    }

    /// The nodes of the running cluster, complete or not.
    pub(super) fn nodes(&self) -> Vec<Node> {
        Node::first(network::MOST_NODES).filter(|node| self.node(*node).is_dir()).collect()
    }

    /// A file that ships with the sources.
    pub(super) fn source(&self, name: &str) -> PathBuf {
        self.context.root.join("tests/cluster").join(name)
    }

    /// A command for one of the programs in `components`, with nothing of this process's environment but the search path: neither
    /// proxies nor a kubeconfig of the developer.
    pub(super) fn hermetic(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command.env_clear().env("PATH", self.search_path()).env("HOME", self.state());
        command
    }

    /// kubectl as the administrator.
    pub(crate) fn kubectl(&self) -> Command {
        self.client("kubectl")
    }

    /// helm as the administrator.
    pub(crate) fn helm(&self) -> Command {
        self.client("helm")
    }

    fn client(&self, name: &str) -> Command {
        let mut command = Command::new(self.bin().join(components_name()));
        command.arg(name).env("KUBECONFIG", self.kubeconfig());
        // What an earlier cluster at the same address could do is not to be remembered.
        command.env("KUBECACHEDIR", self.state().join("kubectl"));
        let direct = Node::FIRST.address().to_string();
        for variable in ["NO_PROXY", "no_proxy"] {
            let others = env::var(variable).map(|others| format!(",{others}")).unwrap_or_default();
            command.env(variable, format!("{direct}{others}"));
        }
        command
    }

    /// Whether the API server says that it is ready.
    pub(super) fn answers(&self) -> bool {
        output(self.kubectl().args(["get", "--raw=/readyz", "--request-timeout=5s"])).is_some()
    }

    /// Whether the cluster came up completely and all its processes still run.
    pub(super) fn is_up(&self) -> bool {
        let processes = self.processes();
        self.marker().is_file() && processes.iter().all(|(_, process)| process.is_alive()) && self.answers()
    }

    /// Names and records of all processes that were started and not stopped.
    pub(super) fn processes(&self) -> Vec<(String, Process)> {
        let Ok(folder) = fs::read_dir(self.state().join("processes")) else { return Vec::new() };
        let mut processes: Vec<_> = folder
            .flatten()
            .filter_map(|file| {
                let name = file.file_name().into_string().ok()?;
                Some((name, fs::read_to_string(file.path()).ok()?.parse().ok()?))
            })
            .collect();
        processes.sort_by(|(one, _), (other, _)| one.cmp(other));
        processes
    }

    /// The record of one process.
    pub(super) fn process(&self, name: &str) -> Result<Process> {
        let record = self.record(name);
        let text = fs::read_to_string(&record)
            .with_context(|| format!("{name} is not running: there is no {}", record.display()))?;
        let process: Process =
            text.parse().with_context(|| format!("{} is not a record of a process", record.display()))?;
        if !process.is_alive() {
            bail!("{name} is not running any more; see {}", self.log(name).display());
        }
        Ok(process)
    }

    pub(super) fn record(&self, name: &str) -> PathBuf {
        self.state().join("processes").join(name)
    }

    pub(super) fn log(&self, name: &str) -> PathBuf {
        self.logs().join(format!("{name}.log"))
    }

    /// What is built comes first; administrators' programs are not on everybody's path.
    pub(super) fn search_path(&self) -> OsString {
        let bin = self.bin().into_os_string();
        let own = env::var_os("PATH").unwrap_or_default();
        let path = [bin.as_os_str(), &own, "/usr/sbin:/sbin:/usr/bin:/bin".as_ref()];
        path.join(":".as_ref())
    }
}

/// The one program that contains all components written in Go.
pub(super) fn components_name() -> &'static str {
    "components"
}
