//! The components written in Go: built from source once, kept in the cache.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::digest;
use super::layout::{Cluster, components_name};
use crate::process::{find, note, run};

/// The container runtime is a Go module of its own: it needs other versions of what Kubernetes uses.
const CONTAINERD: &str = "v2.4.2";
const CONTAINERD_PROGRAMS: [&str; 3] = ["containerd", "containerd-shim-runc-v2", "ctr"];
const CONTAINERD_TAGS: &str = "no_btrfs,no_zfs,no_devmapper";

/// Builds what is missing or stale. The first time takes a quarter of an hour.
pub(crate) fn build(cluster: &Cluster) -> Result<()> {
    let source = cluster.source("components");
    let files = ["main.go", "go.mod", "go.sum"].map(|name| source.join(name));
    let digest = digest::of(&files.each_ref().map(PathBuf::as_path), CONTAINERD)?;
    let (bin, stamp) = (cluster.bin(), cluster.bin().join("stamp"));
    let programs = CONTAINERD_PROGRAMS.into_iter().chain([components_name()]);
    if digest::is_current(&stamp, &digest) && programs.into_iter().all(|program| bin.join(program).is_file()) {
        return Ok(());
    }
    let go = go()?;
    fs::create_dir_all(&bin).with_context(|| format!("cannot create {}", bin.display()))?;
    note("building Kubernetes and the container runtime; without Go's build cache this takes a quarter of an hour");

    let modules = fs::read_to_string(source.join("go.mod")).context("cannot read go.mod")?;
    let version = version(&modules).context("tests/cluster/components/go.mod does not require k8s.io/kubernetes")?;
    let flags = linker_flags(version)?;
    let mut components = Command::new(&go);
    components.current_dir(&source).args(["build", "-trimpath", "-ldflags", &flags, "-o"]);
    run(components.arg(bin.join(components_name())).arg("."))?;

    let mut containerd = Command::new(&go);
    containerd.env("GOBIN", &bin).args(["install", "-trimpath", "-tags", CONTAINERD_TAGS, "-ldflags", "-s -w"]);
    let packages =
        CONTAINERD_PROGRAMS.map(|name| format!("github.com/containerd/containerd/v2/cmd/{name}@{CONTAINERD}"));
    run(containerd.args(packages))?;
    digest::write(&stamp, &digest)
}

fn go() -> Result<PathBuf> {
    match find("go") {
        Some(go) => Ok(go),
        None => bail!(
            "the cluster's components are built with Go, which is not on the search path; see https://go.dev/doc/install"
        ),
    }
}

/// The version of Kubernetes that a go.mod requires.
fn version(modules: &str) -> Option<&str> {
    let mut lines = modules.lines().map(|line| line.trim().trim_start_matches("require "));
    lines.find_map(|line| line.strip_prefix("k8s.io/kubernetes ")).map(str::trim)
}

/// Components tell each other their version, which is not in the source.
fn linker_flags(version: &str) -> Result<String> {
    let numbers = version.strip_prefix('v').and_then(|numbers| numbers.split_once('.'));
    let (major, rest) = numbers.with_context(|| format!("{version} is not a version"))?;
    let minor = rest.split('.').next().unwrap_or(rest);
    let variables = [("gitVersion", version), ("gitMajor", major), ("gitMinor", minor)];
    let variables = variables.map(|(name, value)| format!(" -X k8s.io/component-base/version.{name}={value}"));
    Ok(format!("-s -w{}", variables.concat()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_comes_from_the_required_module() {
        let modules = "module x\n\nrequire (\n\tk8s.io/kubectl v0.37.1\n\tk8s.io/kubernetes v1.37.2\n)\n";
        assert_eq!(version(modules), Some("v1.37.2"));
        assert_eq!(version("require k8s.io/kubernetes v1.2.3"), Some("v1.2.3"));
        assert_eq!(version("module k8s.io/kubernetes"), None);
        let flags = linker_flags("v1.37.2").unwrap();
        assert!(flags.starts_with("-s -w -X k8s.io/component-base/version.gitVersion=v1.37.2 "), "{flags}");
        assert!(flags.ends_with("version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=37"), "{flags}");
        assert!(linker_flags("main").is_err());
    }
}
