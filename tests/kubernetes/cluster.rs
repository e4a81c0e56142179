//! The cluster under test: kubectl, namespaces, waiting, processes.

use std::{
    env,
    io::Write,
    path::PathBuf,
    process::{Command, Output, Stdio},
    sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

/// Long enough for anything on a busy machine, short enough to notice.
pub const DEADLINE: Duration = Duration::from_secs(180);

/// The store's name inside the cluster.
pub const STORE: &str = "http://s3.storage.svc:8333";
pub const KEY: &str = "adminkey";
pub const SECRET: &str = "admin-secret-8f3a";

/// Where the operator is installed.
pub const SYSTEM: &str = "coterie-system";

/// Tests that break the cluster for a moment take it for themselves.
static CLUSTER: RwLock<()> = RwLock::new(());

/// The cluster, shared with other tests.
pub fn shared() -> RwLockReadGuard<'static, ()> {
    CLUSTER.read().unwrap_or_else(PoisonError::into_inner)
}

/// The cluster, for this test alone.
pub fn alone() -> RwLockWriteGuard<'static, ()> {
    CLUSTER.write().unwrap_or_else(PoisonError::into_inner)
}

/// Where `cargo xtask cluster` keeps the cluster.
pub fn folder() -> PathBuf {
    let named = env::var_os("COTERIE_CLUSTER").map(PathBuf::from);
    let cache = || env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    named.unwrap_or_else(|| cache().or_else(home).unwrap().join("coterie/cluster"))
}

/// kubectl as the administrator.
pub fn kubectl(arguments: &[&str]) -> Output {
    run(arguments, "")
}

fn run(arguments: &[&str], input: &str) -> Output {
    let program = folder().join("bin/components");
    let mut child = Command::new(&program)
        .arg("kubectl")
        .args(arguments)
        .current_dir(super::support::root())
        .env("KUBECONFIG", folder().join("kubeconfig"))
        .env("NO_PROXY", "*")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}; run `cargo xtask cluster up` first", program.display()));
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// kubectl that must succeed.
pub fn check(arguments: &[&str]) -> String {
    text(arguments, kubectl(arguments))
}

fn text(arguments: &[&str], output: Output) -> String {
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "kubectl {}: {words}", arguments.join(" "));
    String::from_utf8(output.stdout).unwrap()
}

/// A namespace of one test, with the store's credentials, gone with it.
pub struct Namespace {
    pub name: String,
}

impl Namespace {
    pub fn new(name: &str) -> Self {
        let name = format!("test-{name}");
        let _ = kubectl(&["delete", "namespace", &name, "--ignore-not-found", "--timeout=120s"]);
        let this = Self { name };
        this.create();
        this
    }

    fn create(&self) {
        let labels = json!({"pod-security.kubernetes.io/enforce": "restricted"});
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.name, "labels": labels}});
        let arguments = ["apply", "-f", "-"];
        text(&arguments, run(&arguments, &namespace.to_string()));
        self.apply(&json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s3-credentials"},
            "stringData": {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET},
        }));
        self.wait_for("the namespace's service account", || {
            kubectl(&["get", "serviceaccount", "default", "-n", &self.name]).status.success().then_some(())
        });
    }

    pub fn kubectl(&self, arguments: &[&str]) -> String {
        check(&[arguments, &["-n", &self.name]].concat())
    }

    /// Applies objects as a user would.
    pub fn apply(&self, object: &Value) {
        let arguments = ["apply", "-n", &self.name, "-f", "-"];
        text(&arguments, run(&arguments, &object.to_string()));
    }

    /// Applies a manifest of the repository as it is, but in this namespace, under another output.
    pub fn example(&self, file: &str) -> Value {
        let text = std::fs::read_to_string(super::support::root().join("examples").join(file)).unwrap();
        let text = text.replace("namespace: default", &format!("namespace: {}", self.name));
        let text = text.replace("s3://models/", &format!("s3://models/{}/", self.name));
        let documents: Vec<Value> = serde_yaml::Deserializer::from_str(&text)
            .map(|document| serde::Deserialize::deserialize(document).unwrap())
            .collect();
        documents.into_iter().find(|document| document["kind"] == "ClusteringJob").unwrap()
    }

    pub fn get(&self, kind: &str, name: &str) -> Option<Value> {
        let output = kubectl(&["get", kind, name, "-n", &self.name, "-o", "json", "--ignore-not-found"]);
        serde_json::from_slice(&output.stdout).ok()
    }

    pub fn list(&self, kind: &str) -> Vec<Value> {
        let output = kubectl(&["get", kind, "-n", &self.name, "-o", "json"]);
        let list: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        list["items"].as_array().cloned().unwrap_or_default()
    }

    pub fn job(&self, name: &str) -> Value {
        self.get("clusteringjob", name).unwrap_or_default()
    }

    /// Merges a change into a job.
    pub fn patch(&self, name: &str, change: &Value) {
        self.kubectl(&["patch", "clusteringjob", name, "--type=merge", "-p", &change.to_string()]);
    }

    /// Waits until a job satisfies a check.
    pub fn wait<T>(&self, name: &str, what: &str, check: impl Fn(&Value) -> Option<T>) -> T {
        self.wait_for(&format!("{name}: {what}"), || check(&self.job(name)))
    }

    pub fn wait_for<T>(&self, what: &str, mut check: impl FnMut() -> Option<T>) -> T {
        let start = Instant::now();
        loop {
            if let Some(found) = check() {
                return found;
            }
            assert!(start.elapsed() < DEADLINE, "waited {DEADLINE:?} for {what} in {}", self.name);
            std::thread::sleep(Duration::from_millis(250));
        }
    }

    /// Waits until a job is ready for the spec it has now.
    pub fn ready(&self, name: &str) -> Value {
        self.wait(name, "Ready", |job| {
            let current = job["status"]["observedGeneration"] == job["metadata"]["generation"];
            (current && condition(job, "Ready").0 == "True").then(|| job.clone())
        })
    }

    /// Address of a Service's HTTP port, for this machine.
    pub fn address(&self, service: &str) -> String {
        let service = self.get("service", service).unwrap();
        format!("{}:8080", service["spec"]["clusterIP"].as_str().unwrap())
    }

    fn dump(&self) {
        for arguments in [
            vec!["get", "clusteringjobs", "-o", "yaml"],
            vec!["get", "all", "-o", "wide"],
            vec!["get", "events", "--sort-by=.metadata.creationTimestamp"],
            vec!["logs", "-l", "app.kubernetes.io/managed-by=coterie-operator", "--tail=30", "--prefix"],
        ] {
            let output = kubectl(&[&arguments[..], &["-n", &self.name]].concat());
            eprintln!("--- kubectl {}\n{}", arguments.join(" "), String::from_utf8_lossy(&output.stdout));
        }
        let output = kubectl(&["logs", "-n", SYSTEM, "-l", "app.kubernetes.io/name=coterie", "--tail=60", "--prefix"]);
        eprintln!("--- operator\n{}", String::from_utf8_lossy(&output.stdout));
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.dump();
        }
        let _ = kubectl(&["delete", "namespace", &self.name, "--wait=false"]);
    }
}

/// Status and reason of a condition; empty when it is not there.
pub fn condition(job: &Value, kind: &str) -> (String, String) {
    let conditions = job["status"]["conditions"].as_array();
    let found = conditions.into_iter().flatten().find(|condition| condition["type"] == kind);
    let field = |name: &str| found.and_then(|found| found[name].as_str()).unwrap_or_default().to_owned();
    (field("status"), field("reason"))
}

/// A job over generated data that computes for a while, so that something can happen meanwhile: `rounds` passes.
pub fn long_job(namespace: &Namespace, name: &str, rounds: u32) -> Value {
    json!({
        "apiVersion": "coterie.dev/v1alpha1", "kind": "ClusteringJob", "metadata": {"name": name},
        "spec": {
            "source": {
                "uri": "s3://vectors/blobs/", "columns": {"id": "id", "vector": "vector"},
                "store": {"endpoint": STORE, "allowHttp": true, "credentialsSecretRef": {"name": "s3-credentials"}},
            },
            "algorithm": {"kMeans": {"clusters": 256, "init": "Random", "maxIterations": rounds, "tolerance": "0"}},
            "seed": 7,
            "evaluation": {"sampleSize": 1000},
            "workers": {"replicas": 3, "resources": {"cpu": "100m", "memory": "256Mi"}},
            "output": {"uri": format!("s3://models/{}/{name}/", namespace.name)},
        },
    })
}

/// Overlapping blobs in the store that take long to settle; made once.
pub fn blobs() {
    static MADE: std::sync::Once = std::sync::Once::new();
    MADE.call_once(|| {
        let output = super::support::coterie()
            .args([
                "generate",
                "--output",
                "s3://vectors/blobs/",
                "-n",
                "400000",
                "-d",
                "16",
                "-k",
                "64",
                "--deviation",
                "6",
            ])
            .args(["--endpoint", &store_endpoint(), "--allow-http"])
            .env("AWS_ACCESS_KEY_ID", KEY)
            .env("AWS_SECRET_ACCESS_KEY", SECRET)
            .output()
            .unwrap();
        let words = String::from_utf8_lossy(&output.stderr);
        // Objects are never overwritten: a second test run finds them.
        assert!(output.status.success() || words.contains("objects already"), "{words}");
    });
}

/// The store's address for this machine.
pub fn store_endpoint() -> String {
    let address = check(&["get", "service", "s3", "-n", "storage", "-o", "jsonpath={.spec.clusterIP}"]);
    format!("http://{address}:8333")
}

/// Processes of this machine that belong to a pod and whose command line contains some words.
pub fn processes(pod: &Value, words: &str) -> Vec<u32> {
    let uid = pod["metadata"]["uid"].as_str().unwrap();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let groups = std::fs::read_to_string(entry.path().join("cgroup")).unwrap_or_default();
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if groups.contains(uid) && line.contains(words) {
            found.push(pid);
        }
    }
    found.sort_unstable();
    found
}

/// What `cargo xtask cluster ARGUMENTS` does to the cluster.
pub fn xtask(arguments: &[&str]) {
    let status = Command::new(env!("CARGO"))
        .args(["run", "--quiet", "--package", "xtask", "--", "cluster"])
        .args(arguments)
        .current_dir(super::support::root())
        .status()
        .unwrap();
    assert!(status.success(), "cargo xtask cluster {}", arguments.join(" "));
}

/// One HTTP request on a connection of its own: code and body.
pub fn request(address: &str, method: &str, path: &str, body: &str) -> std::io::Result<(u16, String)> {
    use std::io::Read;
    let socket = address.parse().map_err(std::io::Error::other)?;
    let mut stream = std::net::TcpStream::connect_timeout(&socket, Duration::from_secs(5))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let code = answer
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .ok_or_else(|| std::io::Error::other("no answer"))?;
    Ok((code, answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default()))
}
