//! Control groups of the cluster: one per node, below one of the cluster.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::network::Node;
use super::wait;

const MOUNT: &str = "/sys/fs/cgroup";
const NAME: &str = "coterie-cluster";
/// What the kubelet wants to limit.
const CONTROLLERS: &str = "+cpu +cpuset +memory +pids +io";

/// The node's group, as the kubelet names it.
pub(super) fn of(node: Node) -> String {
    format!("/{NAME}/{}", node.name())
}

/// Makes the node's group in every hierarchy.
pub(super) fn create(node: Node) -> Result<()> {
    for hierarchy in hierarchies(Path::new(MOUNT)) {
        let own = hierarchy.join(NAME);
        let group = own.join(node.name());
        fs::create_dir_all(&group).with_context(|| format!("cannot create {}", group.display()))?;
        // Only the second version hands controllers down on demand; what the kubelet then lacks, it names.
        for parent in [&hierarchy, &own, &group] {
            let control = parent.join("cgroup.subtree_control");
            if control.is_file() {
                let _ = fs::write(control, CONTROLLERS);
            }
        }
    }
    Ok(())
}

/// Removes all groups of the cluster, whose processes have been killed.
pub(super) fn remove() -> Result<()> {
    let groups: Vec<PathBuf> =
        hierarchies(Path::new(MOUNT)).into_iter().map(|hierarchy| hierarchy.join(NAME)).collect();
    wait::until(&format!("the control groups {NAME} to become empty"), Duration::from_secs(20), || {
        groups.iter().for_each(|group| remove_tree(group));
        Ok(!groups.iter().any(|group| group.exists()))
    })
}

/// The files in a group cannot be removed, the group itself can.
fn remove_tree(group: &Path) {
    let Ok(children) = fs::read_dir(group) else { return };
    for child in children.flatten().filter(|child| child.file_type().is_ok_and(|kind| kind.is_dir())) {
        remove_tree(&child.path());
    }
    let _ = fs::remove_dir(group);
}

/// The mount itself with the second version; a folder per controller with the first, where some are links to others.
fn hierarchies(mount: &Path) -> Vec<PathBuf> {
    if mount.join("cgroup.procs").is_file() {
        return vec![mount.to_owned()];
    }
    let Ok(folders) = fs::read_dir(mount) else { return Vec::new() };
    let folders = folders.flatten().filter(|folder| folder.file_type().is_ok_and(|kind| kind.is_dir()));
    folders.map(|folder| folder.path()).filter(|folder| folder.join("cgroup.procs").is_file()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchies_of_both_versions_are_found() {
        let mount = tempfile::tempdir().unwrap();
        let memory = mount.path().join("memory");
        fs::create_dir(&memory).unwrap();
        fs::create_dir(mount.path().join("not-mounted")).unwrap();
        fs::write(memory.join("cgroup.procs"), "").unwrap();
        assert_eq!(hierarchies(mount.path()), [memory]);
        fs::write(mount.path().join("cgroup.procs"), "").unwrap();
        assert_eq!(hierarchies(mount.path()), [mount.path()]);
    }
}
