//! `cargo xtask cluster down`.

use std::fs;
use std::io::ErrorKind;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::layout::Cluster;
use super::process::Process;
use super::{cgroups, network, storage, up, wait};
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
    end_processes(cluster)?;
    cgroups::remove()?;
    network::remove(cluster);
    storage::remove_sockets();
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

/// With a node's first process the kernel ends all others of the node and undoes its mounts. What is recorded are the programs that waited
/// for those, outside the node; they end by themselves, and collect their children, when they are given the time.
fn end_processes(cluster: &Cluster) -> Result<()> {
    for node in cluster.nodes() {
        if let Ok(first) = cluster.process(&node.name()).and_then(Process::child) {
            first.kill()?;
        }
    }
    let processes = cluster.processes();
    let ended = || Ok(!processes.iter().any(|(_, process)| process.is_alive()));
    if wait::until("all processes to end", Duration::from_secs(10), ended).is_err() {
        processes.iter().try_for_each(|(_, process)| process.kill())?;
    }
    Ok(())
}
