//! The network: a bridge on this machine, with a leg in each node. Nothing leaves it: nodes have no default route.
//!
//! This machine has an address on the bridge and routes to the pods and Services, so that tests reach all of them. To part a node from
//! the rest: `ip link set coterie-n2 down`.

use std::fs;
use std::net::Ipv4Addr;

use anyhow::Result;

use super::layout::Cluster;
use super::node::inside;
use super::process::Process;
use crate::process::{check, output};

/// The addresses fit more, this machine hardly.
pub(super) const MOST_NODES: u8 = 9;
/// Addresses of all pods.
pub(super) const PODS: &str = "10.244.0.0/16";
/// Addresses of Services.
pub(super) const SERVICES: &str = "10.96.0.0/16";
/// The Service of the API server: the first address.
pub(super) const API_SERVICE: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 1);
/// The Service of the DNS server.
pub(super) const DNS_SERVICE: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 10);
/// This machine on the bridge.
const HOST: Ipv4Addr = Ipv4Addr::new(10, 213, 0, 254);
const BRIDGE: &str = "coterie0";

/// A node, by its number from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Node(u8);

impl Node {
    /// The one that also has the control plane.
    pub(super) const FIRST: Node = Node(1);

    pub(super) fn first(count: u8) -> impl Iterator<Item = Node> {
        (1..=count).map(Node)
    }

    pub(super) fn name(self) -> String {
        format!("n{}", self.0)
    }

    pub(super) fn address(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 213, 0, self.0)
    }

    /// Addresses of the node's pods.
    pub(super) fn pods(self) -> String {
        format!("10.244.{}.0/24", self.0)
    }

    /// The end of its leg on this machine.
    fn link(self) -> String {
        format!("coterie-{}", self.name())
    }
}

/// The bridge, and this machine's address on it.
pub(super) fn create(cluster: &Cluster) -> Result<()> {
    ip(cluster, &["link", "add", BRIDGE, "type", "bridge"])?;
    ip(cluster, &["address", "add", &format!("{HOST}/24"), "dev", BRIDGE])?;
    ip(cluster, &["link", "set", BRIDGE, "up"])
}

/// Gives the node's network namespace a leg on the bridge, and everybody the routes to its pods.
pub(super) fn join(cluster: &Cluster, node: Node, machine: Process, nodes: u8) -> Result<()> {
    let link = node.link();
    ip(cluster, &["link", "add", &link, "type", "veth", "peer", "name", "eth0", "netns", &machine.id().to_string()])?;
    ip(cluster, &["link", "set", &link, "master", BRIDGE, "up"])?;
    let ip_inside = |arguments: &[&str]| check(inside(cluster, machine, "ip").args(arguments));
    ip_inside(&["address", "add", &format!("{}/24", node.address()), "dev", "eth0"])?;
    ip_inside(&["link", "set", "eth0", "up"])?;
    // Where a packet to a Service would leave; by then kube-proxy has sent it to a pod.
    ip_inside(&["route", "add", SERVICES, "dev", "eth0"])?;
    for other in Node::first(nodes).filter(|other| *other != node) {
        ip_inside(&["route", "add", &other.pods(), "via", &other.address().to_string()])?;
    }
    ip(cluster, &["route", "add", &node.pods(), "via", &node.address().to_string()])?;
    if node == Node::FIRST {
        ip(cluster, &["route", "add", SERVICES, "via", &node.address().to_string()])?;
    }
    Ok(())
}

/// Removes what was made on this machine; a node's legs also go with its namespace, but later.
pub(super) fn remove(cluster: &Cluster) {
    for link in Node::first(MOST_NODES).map(Node::link).chain([BRIDGE.to_owned()]) {
        if fs::exists(format!("/sys/class/net/{link}")).unwrap_or(false) {
            output(cluster.hermetic("ip").args(["link", "delete", &link]));
        }
    }
}

fn ip(cluster: &Cluster, arguments: &[&str]) -> Result<()> {
    check(cluster.hermetic("ip").args(arguments))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_have_names_and_addresses() {
        let nodes: Vec<Node> = Node::first(3).collect();
        assert_eq!(nodes[0], Node::FIRST);
        assert_eq!(nodes[2].name(), "n3");
        assert_eq!(nodes[2].address().to_string(), "10.213.0.3");
        assert_eq!(nodes[2].pods(), "10.244.3.0/24");
        // Linux allows 15 bytes.
        assert!(Node(MOST_NODES).link().len() <= 15);
    }
}
