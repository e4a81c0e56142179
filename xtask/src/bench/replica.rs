//! A server that is measured: a model trained on rows, served by a process of its own.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::process;

/// How long a server may take until it answers.
const PATIENCE: Duration = Duration::from_secs(60);
/// Pause between two looks at a server that begins.
const LOOK: Duration = Duration::from_millis(20);

/// A `coterie serve` process, which ends with this value.
#[derive(Debug)]
pub(crate) struct Replica {
    process: Child,
    http: u16,
    grpc: u16,
}

/// Trains a model of so many clusters on the rows of an .npy file, and says where it is.
pub(crate) fn train(coterie: &Path, rows: &Path, work: &Path, clusters: u32, passes: u32) -> Result<PathBuf> {
    let output = work.join("model");
    if output.exists() {
        fs::remove_dir_all(&output).with_context(|| format!("cannot remove {}", output.display()))?;
    }
    let job = work.join("serve.yaml");
    let manifest = format!(
        "apiVersion: coterie.dev/v1alpha1\nkind: ClusteringJob\nmetadata: {{name: bench}}\nspec:\n  source: {{uri: {}}}\n  \
         algorithm: {{kMeans: {{clusters: {clusters}, init: Random, maxIterations: {passes}, tolerance: \"0\"}}}}\n  output: {{uri: {}}}\n",
        rows.display(),
        output.display()
    );
    fs::write(&job, manifest).with_context(|| format!("cannot write {}", job.display()))?;
    process::check(Command::new(coterie).args(["run", "--quiet", "-f"]).arg(&job))?;
    Ok(output)
}

// === impl Replica ===

impl Replica {
    /// Serves a model, and waits until it is ready.
    pub(crate) fn start(coterie: &Path, model: &Path) -> Result<Self> {
        let (http, grpc) = (free_port()?, free_port()?);
        let mut command = Command::new(coterie);
        command.arg("serve").arg("--model").arg(model);
        command.args(["--http", &format!("127.0.0.1:{http}"), "--grpc", &format!("127.0.0.1:{grpc}")]);
        let process = command.stdin(Stdio::null()).spawn().context("cannot start coterie serve")?;
        let mut replica = Self { process, http, grpc };
        let began = Instant::now();
        while replica.get("/healthz/ready").is_err() {
            if let Some(status) = replica.process.try_wait()? {
                bail!("coterie serve ended ({status})");
            }
            if began.elapsed() > PATIENCE {
                bail!("coterie serve was not ready after {} s", PATIENCE.as_secs());
            }
            thread::sleep(LOOK);
        }
        Ok(replica)
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Where REST is.
    pub(crate) fn rest(&self) -> String {
        format!("http://127.0.0.1:{}", self.http)
    }

    /// Where gRPC is.
    pub(crate) fn grpc(&self) -> String {
        format!("http://127.0.0.1:{}", self.grpc)
    }

    /// The centroids, row after row, and how long a row is.
    pub(crate) fn centroids(&self) -> Result<(Vec<f32>, usize)> {
        let answer = self.get("/v1/clusters?limit=10000&centroids=true")?;
        let clusters = answer["clusters"].as_array().context("the server told no clusters")?;
        let mut values = Vec::new();
        for cluster in clusters {
            let centroid = cluster["centroid"].as_array().context("a cluster has no centroid")?;
            values.extend(centroid.iter().filter_map(Value::as_f64).map(|value| value as f32));
        }
        let dimension = values.len() / clusters.len().max(1);
        Ok((values, dimension))
    }

    /// What the server answers to a GET, which must succeed.
    fn get(&self, path: &str) -> Result<Value> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.http))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("the server answered no HTTP")?;
        if !head.starts_with("HTTP/1.1 200 ") {
            bail!("GET {path}: {}", head.lines().next().unwrap_or_default());
        }
        Ok(serde_json::from_str(body)?)
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Writes rows as .npy, for programs that read that.
pub(crate) fn write_npy(path: &Path, values: &[f32], columns: usize) -> Result<()> {
    let mut header = format!(
        "{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, {columns}), }}",
        values.len() / columns.max(1)
    );
    // With ten bytes before it and a line feed behind, values begin at a multiple of 64 bytes.
    header.push_str(&" ".repeat(63 - (10 + header.len()) % 64));
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend(u16::try_from(header.len())?.to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0").context("there is no free port")?.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn npy_has_an_aligned_header() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npy");
        write_npy(&path, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 3).unwrap();
        let bytes = fs::read(path).unwrap();
        let start = bytes.len() - 24;
        assert_eq!(start % 64, 0);
        assert_eq!(bytes[start - 1], b'\n');
        assert_eq!(usize::from(u16::from_le_bytes([bytes[8], bytes[9]])), start - 10);
        assert!(String::from_utf8_lossy(&bytes[10..start]).contains("'shape': (2, 3)"));
        assert_eq!(bytes[start..start + 4], 1f32.to_le_bytes());
    }
}
