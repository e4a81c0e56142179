//! A node: a first process in namespaces of its own, and in them a container runtime, a kubelet and a service proxy.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::layout::{Cluster, components_name};
use super::network::{self, Node};
use super::process::{self, Process};
use super::{cgroups, config, image, packages, pki, wait};

/// Kept outside this file because the shell reads it.
const FIRST_PROCESS: &str = "node.sh";

/// Something that runs on a node.
pub(super) struct Component {
    pub(super) name: String,
    pub(super) node: Node,
    pub(super) command: Vec<String>,
}

impl Component {
    /// One of the programs in `components`.
    pub(super) fn new(name: impl Into<String>, node: Node, program: &str, options: Vec<String>) -> Self {
        let command = [components_name().to_owned(), program.to_owned()].into_iter().chain(options).collect();
        Component { name: name.into(), node, command }
    }

    /// A program of its own.
    pub(super) fn program(name: impl Into<String>, node: Node, program: &str, options: Vec<String>) -> Self {
        let command = std::iter::once(program.to_owned()).chain(options).collect();
        Component { name: name.into(), node, command }
    }

    /// Starts it in the node's namespaces.
    pub(super) fn start(&self, cluster: &Cluster) -> Result<()> {
        let machine = machine(cluster, self.node)?;
        let (program, options) = self.command.split_first().context("an empty command")?;
        process::start(cluster, &self.name, inside(cluster, machine, program).args(options)).map(drop)
    }
}

/// Makes the node: namespaces, files, network.
pub(super) fn create(cluster: &Cluster, node: Node, nodes: u8) -> Result<()> {
    let folder = cluster.node(node);
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let script = cluster.source(FIRST_PROCESS);
    let script = fs::read_to_string(&script).with_context(|| format!("cannot read {}", script.display()))?;
    let mut command = cluster.hermetic("unshare");
    command.args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    let name = node.name();
    let process = process::start(cluster, &name, command.args(["sh", "-c", &script, &name]).arg(&folder))?;
    let ready = folder.join("ready");
    wait::until(&format!("node {name}"), Duration::from_secs(20), || {
        cluster.process(&name)?;
        Ok(ready.is_file())
    })?;
    cgroups::create(node)?;
    network::join(cluster, node, process.child()?, nodes)?;
    configure(cluster, node)
}

fn configure(cluster: &Cluster, node: Node) -> Result<()> {
    let folder = cluster.node(node);
    let shown = folder.to_string_lossy();
    let (name, pki) = (node.name(), cluster.pki());
    let dns = network::DNS_SERVICE.to_string();
    let write = |name: &str, values: &[(&str, &str)]| config::write(cluster, name, values, &folder.join(name));
    config::write(cluster, "cni.conflist", &[("pods", &node.pods())], &folder.join("cni/pods.conflist"))?;
    write("containerd.toml", &[("folder", &shown), ("pause", image::PAUSE), ("plugins", packages::NETWORK_PLUGINS)])?;
    let pki_shown = pki.to_string_lossy();
    let cgroup = cgroups::of(node);
    write(
        "kubelet.yaml",
        &[("folder", &shown), ("pki", &pki_shown), ("node", &name), ("dns", &dns), ("cgroup", &cgroup)],
    )?;
    let proxy = pki.join("kube-proxy.kubeconfig");
    write("kube-proxy.yaml", &[("node", &name), ("kubeconfig", &proxy.to_string_lossy()), ("pods", network::PODS)])?;
    fs::write(folder.join("resolv.conf"), format!("nameserver {dns}\n")).context("cannot write resolv.conf")?;
    pki::kubelet(cluster, node)
}

/// What can start before there is an API server.
pub(super) fn runtime(cluster: &Cluster, node: Node) -> Component {
    let file = cluster.node(node).join("containerd.toml");
    Component::program(part(node, "containerd"), node, "containerd", vec![format!("--config={}", file.display())])
}

/// What needs the API server.
pub(super) fn agents(cluster: &Cluster, node: Node) -> [Component; 2] {
    let folder = cluster.node(node);
    let kubelet = vec![
        option("config", folder.join("kubelet.yaml")),
        option("kubeconfig", cluster.pki().join(format!("{}.kubeconfig", node.name()))),
        format!("--hostname-override={}", node.name()),
        format!("--node-ip={}", node.address()),
    ];
    let proxy = vec![option("config", folder.join("kube-proxy.yaml"))];
    [
        Component::new(part(node, "kubelet"), node, "kubelet", kubelet),
        Component::new(part(node, "kube-proxy"), node, "kube-proxy", proxy),
    ]
}

/// The container runtime's client, on the node.
pub(super) fn ctr(cluster: &Cluster, node: Node) -> Result<Command> {
    let mut command = inside(cluster, machine(cluster, node)?, "ctr");
    command.args(["--address=/run/containerd/containerd.sock", "--namespace=k8s.io"]);
    Ok(command)
}

/// The first process of the node.
fn machine(cluster: &Cluster, node: Node) -> Result<Process> {
    cluster.process(&node.name())?.child()
}

/// A program to be run in the namespaces of a node.
pub(super) fn inside(cluster: &Cluster, machine: Process, program: &str) -> Command {
    let mut command = cluster.hermetic("nsenter");
    command.args(["--net", "--mount", "--pid", "--target", &machine.id().to_string(), "--", program]);
    command
}

fn part(node: Node, program: &str) -> String {
    format!("{}-{program}", node.name())
}

/// A command-line option that names a file.
pub(super) fn option(name: &str, file: impl AsRef<Path>) -> String {
    format!("--{name}={}", file.as_ref().display())
}
