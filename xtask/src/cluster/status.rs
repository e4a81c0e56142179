//! `cargo xtask cluster status`.

use anyhow::Result;

use super::layout::Cluster;
use crate::process::{note, run};

/// Shows what runs and where to look.
pub(crate) fn status(cluster: &Cluster) -> Result<()> {
    let processes = cluster.processes();
    if processes.is_empty() {
        note("no cluster is up; bring one up: cargo xtask cluster up");
        return Ok(());
    }
    for (name, process) in &processes {
        let state = if process.is_alive() { format!("runs as {}", process.id()) } else { "has ended".to_owned() };
        note(&format!("{name:<24} {state:<16} {}", cluster.log(name).display()));
    }
    for (what, path) in [("kubeconfig", cluster.kubeconfig()), ("audit log", cluster.audit_log())] {
        note(&format!("{what:<24} {}", path.display()));
    }
    if cluster.is_up() {
        run(cluster.kubectl().args(["get", "nodes"]))
    } else {
        anyhow::bail!("the cluster is not healthy")
    }
}
