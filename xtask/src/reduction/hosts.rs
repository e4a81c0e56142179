//! Network namespaces as hosts on one switch, with links of a given bandwidth.

use std::process::Command;

use anyhow::Result;

use crate::process::{check, output};

/// Namespace of the switch; the hosts' names begin with it.
const SWITCH: &str = "coterie-reduce";

/// Hosts, gone when dropped.
pub(crate) struct Hosts {
    count: u64,
}

impl Hosts {
    /// So many hosts, each with a link that carries `bandwidth` Gbit/s in each direction.
    ///
    /// # Errors
    /// When `ip` or `tc` fail, for want of rights say.
    pub(crate) fn up(count: u64, bandwidth: f64) -> Result<Self> {
        // What a killed run has left.
        drop(Self { count: 1024 });
        let hosts = Self { count };
        let rate = format!("{}kbit", (bandwidth * 1e6).round());
        ip(&["netns", "add", SWITCH])?;
        ip(&["-n", SWITCH, "link", "add", "switch", "type", "bridge"])?;
        ip(&["-n", SWITCH, "link", "set", "switch", "up"])?;
        for host in 0..count {
            let (name, port) = (name(host), format!("port{host}"));
            ip(&["netns", "add", &name])?;
            ip(&["-n", SWITCH, "link", "add", &port, "type", "veth", "peer", "name", "eth0", "netns", &name])?;
            ip(&["-n", SWITCH, "link", "set", &port, "master", "switch", "up"])?;
            ip(&["-n", &name, "addr", "add", &format!("{}/16", address(host)), "dev", "eth0"])?;
            for link in ["lo", "eth0"] {
                ip(&["-n", &name, "link", "set", link, "up"])?;
            }
            for (namespace, link) in [(name.as_str(), "eth0"), (SWITCH, port.as_str())] {
                let limit = ["root", "tbf", "rate", &rate, "burst", "128kb", "latency", "400ms"];
                check(Command::new("tc").args(["-n", namespace, "qdisc", "add", "dev", link]).args(limit))?;
            }
        }
        Ok(hosts)
    }

    /// A program on a host.
    pub(crate) fn command(&self, host: u64, program: &std::path::Path) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &name(host)]).arg(program);
        command
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        let known = output(Command::new("ip").args(["netns", "list"])).unwrap_or_default();
        let ours = |name: &str| known.lines().any(|line| line.split(' ').next() == Some(name));
        for name in (0..self.count).map(name).chain([SWITCH.to_owned()]).filter(|name| ours(name)) {
            let _ = ip(&["netns", "del", &name]);
        }
    }
}

fn name(host: u64) -> String {
    format!("{SWITCH}-{host}")
}

/// A host's address.
pub(crate) fn address(host: u64) -> String {
    format!("10.77.{}.{}", host / 250, host % 250 + 1)
}

fn ip(arguments: &[&str]) -> Result<()> {
    check(Command::new("ip").args(arguments))
}
