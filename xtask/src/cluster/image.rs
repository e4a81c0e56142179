//! Container images: built FROM scratch around a static binary, and imported into every node.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::layout::Cluster;
use super::network::Node;
use super::{digest, node};
use crate::command::image;
use crate::process::{check, note, run};

/// The image whose process holds a pod's namespaces.
pub(super) const PAUSE: &str = "localhost/pause:1";
/// The image of [`tools`].
const TOOLS: &str = "localhost/busybox:1";
/// This project's image, without its tag.
pub(super) const REPOSITORY: &str = "localhost/coterie";
pub(super) const TAG: &str = "dev";

/// An image in a file.
pub(super) struct Archive {
    /// Short name, for files.
    name: &'static str,
    file: PathBuf,
    digest: String,
}

/// `cargo xtask cluster image`: builds this project's image and imports it where it is not there yet.
pub(crate) fn refresh(cluster: &Cluster) -> Result<bool> {
    import(cluster, &coterie(cluster)?)
}

/// This project's image, of the sources as they are.
pub(super) fn coterie(cluster: &Cluster) -> Result<Archive> {
    let binary = image::run(cluster.context, &image::Arguments { published: false, locked: false })?;
    let containerfile = cluster.context.root.join("Containerfile");
    build(cluster, "coterie", &format!("{REPOSITORY}:{TAG}"), &containerfile, &binary)
}

/// The image of what every pod needs.
pub(super) fn pause(cluster: &Cluster) -> Result<Archive> {
    let source = cluster.source("pause");
    let binary = cluster.images().join("pause");
    fs::create_dir_all(cluster.images()).with_context(|| format!("cannot create {}", cluster.images().display()))?;
    check(Command::new("musl-gcc").args(["-static", "-Os", "-s", "-o"]).arg(&binary).arg(source.join("pause.c")))?;
    build(cluster, "pause", PAUSE, &source.join("Containerfile"), &binary)
}

/// An image with the usual small programs, for pods that ask others.
pub(super) fn tools(cluster: &Cluster) -> Result<Archive> {
    build(cluster, "busybox", TOOLS, &cluster.source("tools/Containerfile"), Path::new("/bin/busybox"))
}

/// Builds an image from a folder with nothing but the binary in it, unless its archive is current.
fn build(cluster: &Cluster, name: &'static str, image: &str, containerfile: &Path, binary: &Path) -> Result<Archive> {
    let images = cluster.images();
    let [file, stamp, work] = ["tar", "digest", "build"].map(|kind| images.join(format!("{name}.{kind}")));
    let digest = digest::of(&[containerfile, binary], image)?;
    let archive = Archive { name, file: file.clone(), digest: digest.clone() };
    if file.is_file() && digest::is_current(&stamp, &digest) {
        return Ok(archive);
    }
    remove(&work)?;
    remove(&stamp)?;
    // Images are added to an archive that exists.
    remove(&file)?;
    let content = work.join("content");
    fs::create_dir_all(&content).with_context(|| format!("cannot create {}", content.display()))?;
    fs::copy(binary, content.join(name)).with_context(|| format!("cannot copy {}", binary.display()))?;
    let buildah = || {
        let mut command = Command::new("buildah");
        command.args(["--storage-driver=vfs", "--root"]).arg(work.join("storage"));
        command.arg("--runroot").arg(work.join("run"));
        command
    };
    check(buildah().args(["build", "--isolation=chroot", "--tag", image, "--file"]).arg(containerfile).arg(&content))?;
    run(buildah().args(["push", "--quiet", image, &format!("oci-archive:{}:{image}", file.display())]))?;
    remove(&work)?;
    digest::write(&stamp, &digest)?;
    Ok(archive)
}

/// Imports the image into the nodes that lack it; tells whether there were any.
pub(super) fn import(cluster: &Cluster, archive: &Archive) -> Result<bool> {
    let mut changed = false;
    for node in cluster.nodes() {
        let stamp = cluster.node(node).join(format!("{}.digest", archive.name));
        if digest::is_current(&stamp, &archive.digest) {
            continue;
        }
        load(cluster, node, &archive.file)?;
        digest::write(&stamp, &archive.digest)?;
        changed = true;
    }
    Ok(changed)
}

/// Imports all images of an archive into all nodes.
pub(crate) fn load_everywhere(cluster: &Cluster, archive: &Path) -> Result<()> {
    let archive = std::path::absolute(archive).with_context(|| format!("cannot find {}", archive.display()))?;
    cluster.nodes().into_iter().try_for_each(|node| load(cluster, node, &archive))
}

fn load(cluster: &Cluster, node: Node, archive: &Path) -> Result<()> {
    note(&format!("importing {} into {}", archive.display(), node.name()));
    check(node::ctr(cluster, node)?.args(["images", "import"]).arg(archive))
}

fn remove(path: &Path) -> Result<()> {
    let result = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match result {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}
