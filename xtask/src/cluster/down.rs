//! `cargo xtask cluster down`.

use std::fs;
use std::io::ErrorKind;

use anyhow::{Context as _, Result};

use super::layout::Cluster;
use super::{cgroups, network, up};
use crate::process::note;

/// Ends everything that was started and removes everything that was made, except what was built and the logs.
pub(crate) fn down(cluster: &Cluster) -> Result<()> {
    up::require_root()?;
    clear(cluster)?;
    note(&format!("the cluster is down; its logs are in {}", cluster.logs().display()));
    Ok(())
}

/// The same without a word: also what is left of a cluster that came up half-way.
pub(super) fn clear(cluster: &Cluster) -> Result<()> {
    // With a node's first process, the kernel ends all others of the node and undoes its mounts; the rest only waited for those.
    for (_, process) in cluster.processes() {
        process.kill()?;
    }
    cgroups::remove()?;
    network::remove(cluster);
    // Mount points, unless they were there before and are in use.
    for place in ["/var/lib/kubelet", "/var/lib/cni", "/var/log/containers"] {
        let _ = fs::remove_dir(place);
    }
    let _ = fs::remove_file(cluster.kubeconfig());
    match fs::remove_dir_all(cluster.state()) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", cluster.state().display()))
        }
        _ => Ok(()),
    }
}
