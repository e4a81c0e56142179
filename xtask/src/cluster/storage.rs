//! The object store: a real S3 server on the first node, with the examples' data.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::layout::Cluster;
use super::network::Node;
use super::node::{Component, option};
use super::{config, wait};
use crate::process::{check, output};
use crate::tools;

/// The one identity, which may do everything.
pub(super) const KEY: &str = "adminkey";
pub(super) const SECRET: &str = "admin-secret-8f3a";
const BUCKETS: [&str; 2] = ["vectors", "models"];
/// File of `examples/data`, and the object it becomes.
const OBJECTS: [(&str, &str); 2] =
    [("digits.parquet", "vectors/digits/digits.parquet"), ("airports.csv", "vectors/geo/airports.csv")];

/// The server, which pods know as `http://s3.storage.svc:8333`.
pub(super) fn server(cluster: &Cluster) -> Result<Component> {
    let folder = cluster.state().join("s3");
    let identities = folder.join("s3.json");
    config::write(cluster, "s3.json", &[("key", KEY), ("secret", SECRET)], &identities)?;
    let (data, logs) = (folder.join("data"), folder.join("logs"));
    for folder in [&data, &logs] {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    }
    let options = [
        option("logdir", logs),
        "server".to_owned(),
        option("dir", data),
        // Only S3 itself is reachable from elsewhere.
        "--ip=127.0.0.1".to_owned(),
        "--ip.bind=127.0.0.1".to_owned(),
        "--s3.ip.bind=0.0.0.0".to_owned(),
        "--master.volumeSizeLimitMB=64".to_owned(),
        "--master.electionTimeout=1s".to_owned(),
        "--volume.max=100".to_owned(),
        "--volume.minFreeSpace=1MiB".to_owned(),
        "--filer.localSocket=/run/weed-filer.sock".to_owned(),
        "--s3".to_owned(),
        "--s3.localSocket=/run/weed-s3.sock".to_owned(),
        "--s3.port=8333".to_owned(),
        "--s3.port.iceberg=0".to_owned(),
        "--s3.port.lance=0".to_owned(),
        option("s3.config", identities),
    ];
    let weed = tools::weed(cluster.context)?;
    Ok(Component::program("s3", Node::FIRST, &weed.to_string_lossy(), options.to_vec()))
}

/// The server's address for this machine.
pub(super) fn endpoint() -> String {
    format!("http://{}:8333", Node::FIRST.address())
}

/// The server makes these beside its ports and leaves them when it is killed.
pub(super) fn remove_sockets() {
    for socket in ["master-grpc-19333", "volume-grpc-18080", "filer-grpc-18888", "s3-grpc-18333"] {
        let _ = fs::remove_file(format!("/tmp/seaweedfs-{socket}.sock"));
    }
}

/// Makes the buckets and uploads the examples' data, once the server takes them.
pub(super) fn fill(cluster: &Cluster) -> Result<()> {
    wait::until("the S3 server to make a bucket", Duration::from_secs(60), || {
        cluster.process("s3")?;
        Ok(output(curl(cluster).args(["--request", "PUT", &url(BUCKETS[0])])).is_some())
    })?;
    for bucket in &BUCKETS[1..] {
        check(curl(cluster).args(["--request", "PUT", &url(bucket)]))?;
    }
    let data = cluster.context.root.join("examples/data");
    OBJECTS.iter().try_for_each(|(file, object)| upload(cluster, &data.join(file), object))
}

fn upload(cluster: &Cluster, file: &Path, object: &str) -> Result<()> {
    check(curl(cluster).arg("--upload-file").arg(file).arg(url(object)))
}

fn url(object: &str) -> String {
    format!("{}/{object}", endpoint())
}

fn curl(cluster: &Cluster) -> std::process::Command {
    let mut command = cluster.hermetic("curl");
    command.args(["--silent", "--show-error", "--fail-with-body", "--max-time", "20"]);
    command.args(["--aws-sigv4", "aws:amz:us-east-1:s3", "--user", &format!("{KEY}:{SECRET}")]);
    command
}
