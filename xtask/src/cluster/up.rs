//! `cargo xtask cluster up`.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};

use super::layout::Cluster;
use super::network::{self, Node};
use super::node::Component;
use super::{components, control, dns, down, image, install, node, packages, pki, storage, wait};
use crate::process::{note, output};
use crate::tools;

/// A busy machine may take this long for one step.
const LIMIT: Duration = Duration::from_secs(120);

/// Brings a cluster up, unless it is, and installs this project into it, unless it is to be bare.
pub(crate) fn up(cluster: &Cluster, nodes: u8, bare: bool) -> Result<()> {
    require_root()?;
    packages::check(cluster)?;
    if !bare {
        install::chart(cluster)?;
    }
    tools::weed(cluster.context)?;
    components::build(cluster)?;
    if cluster.is_up() {
        let present = cluster.nodes().len();
        if present != usize::from(nodes) {
            bail!("a cluster with {present} node(s) is up; take it down first: cargo xtask cluster down");
        }
        note("the cluster is up already");
    } else {
        down::clear(cluster)?;
        let start = Instant::now();
        bring_up(cluster, nodes)?;
        note(&format!("the cluster is up after {:.0} s", start.elapsed().as_secs_f64()));
    }
    if !bare {
        install::coterie(cluster)?;
    }
    note(&format!("export KUBECONFIG={}", cluster.kubeconfig().display()));
    note(&format!("S3: {}, in pods http://s3.storage.svc:8333", storage::endpoint()));
    note(&format!("logs: {}", cluster.logs().display()));
    Ok(())
}

/// Namespaces, mounts and control groups are made, which only root may do.
pub(super) fn require_root() -> Result<()> {
    if !is_root() {
        bail!("a cluster needs namespaces, mounts and control groups: run this as root");
    }
    Ok(())
}

/// Whether this is root.
pub(crate) fn is_root() -> bool {
    output(std::process::Command::new("id").arg("-u")).as_deref().map(str::trim) == Some("0")
}

fn bring_up(cluster: &Cluster, nodes: u8) -> Result<()> {
    let pause = image::pause(cluster)?;
    let tools = image::tools(cluster)?;
    let _ = fs::remove_dir_all(cluster.logs());
    for folder in [cluster.logs(), cluster.state().join("processes")] {
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    }
    note("creating certificates, nodes and their network");
    pki::create(cluster)?;
    network::create(cluster)?;
    for node in Node::first(nodes) {
        node::create(cluster, node, nodes)?;
    }

    note("starting the control plane");
    start(cluster, control::database(cluster))?;
    start(cluster, control::api_server(cluster))?;
    start(cluster, storage::server(cluster)?)?;
    for node in cluster.nodes() {
        start(cluster, node::runtime(cluster, node))?;
    }
    for node in cluster.nodes() {
        let name = node::runtime(cluster, node).name;
        wait_for(cluster, &name, || Ok(output(node::ctr(cluster, node)?.arg("version")).is_some()))?;
    }
    image::import(cluster, &pause)?;
    image::import(cluster, &tools)?;
    wait_for(cluster, "kube-apiserver", || Ok(cluster.answers()))?;

    note("starting the nodes");
    install::bootstrap(cluster)?;
    let agents = cluster.nodes().into_iter().flat_map(|node| node::agents(cluster, node));
    for component in control::controllers(cluster).into_iter().chain([control::names(cluster)?]).chain(agents) {
        start(cluster, component)?;
    }
    storage::fill(cluster)?;
    for node in cluster.nodes() {
        let [kubelet, _] = node::agents(cluster, node);
        wait_for(cluster, &kubelet.name, || Ok(is_ready(cluster, node)))?;
    }
    // Through a Service, so that its proxy is known to work as well.
    wait_for(cluster, "coredns", || Ok(dns::knows(network::DNS_SERVICE, "s3.storage.svc.cluster.local")))?;
    install::wait_for_accounts(cluster)?;
    fs::write(cluster.marker(), nodes.to_string()).context("cannot write the mark of completion")
}

fn start(cluster: &Cluster, component: Component) -> Result<()> {
    component.start(cluster).with_context(|| format!("cannot start {}", component.name))
}

fn is_ready(cluster: &Cluster, node: Node) -> bool {
    let ready = r#"jsonpath={.status.conditions[?(@.type=="Ready")].status}"#;
    let status = output(cluster.kubectl().args(["get", "node", &node.name(), "--output", ready]));
    status.as_deref() == Some("True")
}

/// Waits for a component to do what is asked; shows the end of its log when it does not or ends.
fn wait_for(cluster: &Cluster, name: &str, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    let waited = wait::until(&format!("{name} to be ready"), LIMIT, || {
        cluster.process(name)?;
        holds()
    });
    waited.map_err(|error| {
        let log = cluster.log(name);
        anyhow!("{error:#}; the end of {}:\n{}", log.display(), tail(&log))
    })
}

/// The last lines of a log.
fn tail(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_is_the_end_of_the_log() {
        let log = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(tail(log.path()), "");
        let lines: Vec<String> = (1..=30).map(|line| line.to_string()).collect();
        fs::write(log.path(), lines.join("\n")).unwrap();
        assert_eq!(tail(log.path()), lines[10..].join("\n"));
        assert_eq!(tail(Path::new("/no/such/log")), "");
    }
}
