//! `cargo xtask image`: the one static binary that runs in an image FROM scratch.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::context::Context;
use crate::elf;
use crate::process::{self, cargo, find, note, output};
use crate::tools;

/// Rust's name for Linux with the musl C library, which links statically.
const TARGET: &str = "x86_64-unknown-linux-musl";

/// What is said when the C compiler for musl is missing.
pub(crate) const NO_COMPILER: &str =
    "musl-gcc is needed for the static build; install it (on Debian: apt-get install musl-tools)";

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Optimise across crates, as for a published image: smaller and faster, but slow to link.
    #[arg(long)]
    pub(crate) published: bool,
    /// Fail when Cargo.lock is not up to date.
    #[arg(long)]
    pub(crate) locked: bool,
}

/// Whether the C compiler for musl is there.
pub(crate) fn can_build() -> bool {
    find("musl-gcc").is_some()
}

/// Sees to it that the compilers for the target are there.
pub(crate) fn prepare() -> Result<()> {
    if !can_build() {
        bail!(NO_COMPILER);
    }
    tools::add_target(TARGET)
}

/// Builds the binary, makes sure that it is static and starts, and returns its path.
pub(crate) fn run(context: &Context, arguments: &Arguments) -> Result<PathBuf> {
    prepare()?;
    let profile = if arguments.published { "image" } else { "release" };
    let mut command = cargo(context);
    command.args(["build", "--package", "coterie", "--target", TARGET, "--profile", profile]);
    if arguments.locked {
        command.arg("--locked");
    }
    process::run(command.env("CC_x86_64_unknown_linux_musl", "musl-gcc"))?;

    let binary = context.target().join(TARGET).join(profile).join("coterie");
    let content = fs::read(&binary).with_context(|| format!("cannot read {}", binary.display()))?;
    if let Some(loader) = elf::interpreter(&content).with_context(|| binary.display().to_string())? {
        bail!("{} is not static: it asks for the loader {loader}", binary.display());
    }
    let version = output(Command::new(&binary).arg("--version"))
        .with_context(|| format!("{} --version fails", binary.display()))?;
    note(&format!("{}: {}, static, {} MiB", binary.display(), version.trim(), content.len() >> 20));
    Ok(binary)
}
