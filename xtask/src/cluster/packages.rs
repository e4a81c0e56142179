//! Programs that Debian brings.

use std::collections::BTreeSet;
use std::env;
use std::path::Path;

use anyhow::{Result, bail};

use super::layout::Cluster;

/// Where Debian puts plugins that connect pods to the network.
pub(super) const NETWORK_PLUGINS: &str = "/usr/lib/cni";

/// Program or file, and the package that has it.
const NEEDED: [(&str, &str); 13] = [
    ("etcd", "etcd-server"),
    ("runc", "runc"),
    ("/usr/lib/cni/ptp", "containernetworking-plugins"),
    ("iptables", "iptables"),
    ("nft", "nftables"),
    ("conntrack", "conntrack"),
    ("buildah", "buildah"),
    ("ip", "iproute2"),
    ("nsenter", "util-linux"),
    ("openssl", "openssl"),
    ("curl", "curl"),
    ("/bin/busybox", "busybox-static"),
    ("musl-gcc", "musl-tools"),
];

/// Fails with what to install when something is missing.
pub(super) fn check(cluster: &Cluster) -> Result<()> {
    let folders: Vec<_> = env::split_paths(&cluster.search_path()).collect();
    let missing = missing(|program| folders.iter().any(|folder| folder.join(program).is_file()));
    if !missing.is_empty() {
        let missing = Vec::from_iter(missing).join(" ");
        bail!(
            "the cluster needs programs that are not installed; on Debian: apt-get install --no-install-recommends {missing}"
        );
    }
    Ok(())
}

fn missing(exists: impl Fn(&Path) -> bool) -> BTreeSet<&'static str> {
    NEEDED.iter().filter(|(program, _)| !exists(Path::new(program))).map(|(_, package)| *package).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_programs_are_named_by_package() {
        assert!(missing(|_| true).is_empty());
        let missing = missing(|program| !matches!(program.to_str(), Some("etcd" | "nft")));
        assert_eq!(Vec::from_iter(missing), ["etcd-server", "nftables"]);
    }
}
