//! What is installed into the cluster: names and storage, then this project's chart.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};

use super::layout::Cluster;
use super::network::{self, Node};
use super::{config, image, storage, wait};
use crate::process::{check, output, run};

const NAMESPACE: &str = "coterie-system";

/// Applies `tests/cluster/config/bootstrap.yaml`, as soon as the API server lets it.
pub(super) fn bootstrap(cluster: &Cluster) -> Result<()> {
    let file = cluster.state().join("bootstrap.yaml");
    let (dns, address) = (network::DNS_SERVICE.to_string(), Node::FIRST.address().to_string());
    let values = [("dns", dns.as_str()), ("address", &address), ("key", storage::KEY), ("secret", storage::SECRET)];
    config::write(cluster, "bootstrap.yaml", &values, &file)?;
    check(cluster.kubectl().args(["apply", "--server-side", "--force-conflicts", "--filename"]).arg(&file))
}

/// Pods need the service account of their namespace.
pub(super) fn wait_for_accounts(cluster: &Cluster) -> Result<()> {
    wait::until("the service account of the namespace default", Duration::from_secs(60), || {
        cluster.process("kube-controller-manager")?;
        Ok(output(cluster.kubectl().args(["get", "serviceaccount", "default"])).is_some())
    })
}

/// Where the chart is; fails when it is not.
pub(super) fn chart(cluster: &Cluster) -> Result<PathBuf> {
    let chart = cluster.context.root.join("charts/coterie");
    if !chart.join("Chart.yaml").is_file() {
        bail!("there is no chart at {}; use --bare for a cluster without Coterie", chart.display());
    }
    Ok(chart)
}

/// Installs this project by its chart, or upgrades it, and waits until it is ready.
pub(super) fn coterie(cluster: &Cluster) -> Result<()> {
    let chart = chart(cluster)?;
    let running = output(cluster.helm().args(["status", "coterie", "--namespace", NAMESPACE])).is_some();
    let changed = image::refresh(cluster)?;
    let mut helm = cluster.helm();
    helm.args(["upgrade", "--install", "coterie"]).arg(chart).args(["--namespace", NAMESPACE, "--create-namespace"]);
    helm.args(["--set", &format!("image.repository={},image.tag={}", image::REPOSITORY, image::TAG)]);
    run(helm.args(["--wait", "--timeout", "180s"]))?;
    if changed && running {
        restart(cluster)?;
    }
    Ok(())
}

/// A running pod keeps the image it was started from, though the tag has another now.
fn restart(cluster: &Cluster) -> Result<()> {
    for step in [["rollout", "restart"], ["rollout", "status"]] {
        check(cluster.kubectl().args(step).args(["deployment", "--namespace", NAMESPACE]))?;
    }
    Ok(())
}
