//! What the tests of whole processes share.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

pub mod clients;
pub mod input;
pub mod s3;

pub mod serve;

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

/// The binary under test.
pub fn coterie() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_coterie"));
    command.env_remove("COTERIE_LOG").env_remove("COTERIE_STORE_ENDPOINT");
    command
}

/// The repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// A directory for one test, gone with it.
pub fn directory() -> TempDir {
    tempfile::Builder::new().prefix("coterie-test-").tempdir().unwrap()
}

/// Runs to the end and returns what was printed.
pub fn output(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().unwrap()
}

/// Standard error as text.
pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A job to run: a manifest, an output directory of its own, and arguments.
pub struct Job {
    pub directory: TempDir,
    pub manifest: PathBuf,
}

impl Job {
    /// A job whose manifest is given as text.
    pub fn new(manifest: &str) -> Self {
        let directory = directory();
        let path = directory.path().join("job.yaml");
        std::fs::write(&path, manifest).unwrap();
        Self { directory, manifest: path }
    }

    /// The digits example, from the repository.
    pub fn digits() -> Self {
        Self { directory: directory(), manifest: root().join("examples/digits.yaml") }
    }

    /// The command that runs it, with its own output and summary.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = coterie();
        command.arg("run").arg("-f").arg(&self.manifest).arg("--summary").arg(self.summary_path());
        if !arguments.contains(&"--output") {
            command.arg("--output").arg(self.directory.path().join("out"));
        }
        command.args(arguments);
        command
    }

    /// Runs it to the end; it must succeed.
    pub fn run(&self, arguments: &[&str]) -> Value {
        let output = output(&mut self.command(arguments));
        assert!(output.status.success(), "{}: {}", output.status, stderr(&output));
        self.summary()
    }

    /// Where the summary goes.
    pub fn summary_path(&self) -> PathBuf {
        self.directory.path().join("summary.json")
    }

    /// The summary that was written.
    pub fn summary(&self) -> Value {
        serde_json::from_slice(&std::fs::read(self.summary_path()).unwrap()).unwrap()
    }
}

/// A process that is killed when the test ends, however it ends.
pub struct Running(pub Child);

impl Running {
    /// Starts a command.
    pub fn start(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::null()).spawn().unwrap())
    }

    /// Waits for success.
    pub fn finish(&mut self, limit: Duration) {
        let status = wait(limit, "the process to end", || self.0.try_wait().unwrap());
        assert!(status.success(), "{status}");
    }

    /// Process ids of its direct children with the given role, in no order.
    pub fn children(&self, role: &str) -> Vec<u32> {
        children(self.0.id(), role)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Children of a process whose command line names `--role <role>` or `--role=<role>`.
pub fn children(parent: u32, role: &str) -> Vec<u32> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let mut fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        if fields.next() == Some("Z") || fields.next() != Some(&parent.to_string()) {
            continue;
        }
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if line.contains(&format!("--role={role}")) {
            found.push(pid);
        }
    }
    found
}

/// Sends a signal; a process that is gone already is fine.
pub fn signal(pid: u32, name: &str) {
    let _ = Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).stderr(Stdio::null()).status();
}

/// Waits until `check` gives something.
pub fn wait<T>(limit: Duration, what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = check() {
            return found;
        }
        assert!(start.elapsed() < limit, "waited {limit:?} for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A free port on the loopback interface.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
