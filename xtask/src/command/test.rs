//! `cargo xtask test`: everything that must hold before a change is merged.
//!
//! The cheap checks come first; cargo's own tests come last, so that their summary ends the output.

use std::env;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::aarch64;
use crate::cluster::{self, Cluster};
use crate::command::image;
use crate::context::Context;
use crate::process::{self, Aside, cargo, find, note, output};
use crate::tools;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Fail when a check cannot be made because a tool is missing, and when Cargo.lock is not up to date. For continuous integration.
    #[arg(long)]
    strict: bool,
    /// Leave out the static build, the slowest part.
    #[arg(long, conflicts_with = "strict")]
    no_image: bool,
    /// Leave out the tests on a real Kubernetes, which need root.
    #[arg(long)]
    no_cluster: bool,
    /// Only the tests whose name contains this text, without the other checks.
    filter: Option<String>,
}

pub(crate) fn run(context: &Context, arguments: &Arguments) -> Result<()> {
    // First, so that a missing tool is known before minutes of compilation.
    let programs = [(tools::WEED, tools::weed(context)?), (tools::REDIS_SERVER, tools::redis_server(context)?)];
    if arguments.filter.is_none() {
        process::run(cargo(context).args(["fmt", "--all", "--check"]))?;
        lint(context, arguments)?;
        dependencies(context)?;
        // Both have stretches that one processor is enough for, and neither keeps the other from a folder of cargo's.
        let build = static_build(arguments)?;
        let emulated = aarch64::tests(context, arguments.strict);
        // Also after a failure: no build is left behind.
        build.map_or(Ok(()), Aside::wait)?;
        emulated?;
    }
    tests(context, arguments, &programs)?;
    if arguments.filter.is_none() {
        on_a_cluster(context, arguments)?;
    }
    Ok(())
}

/// The tests on a real Kubernetes, which is left running for a look when they fail.
fn on_a_cluster(context: &Context, arguments: &Arguments) -> Result<()> {
    if arguments.no_cluster || arguments.no_image {
        note("skipped: tests on a real Kubernetes (--no-cluster, --no-image)");
        return Ok(());
    }
    if !arguments.strict && !cluster::is_root() {
        note("skipped: tests on a real Kubernetes (they need root)");
        return Ok(());
    }
    let kubernetes = Cluster::new(context);
    cluster::up(&kubernetes, 1, false)?;
    let mut command = cargo(context);
    // The same packages as above, so that nothing is compiled in another way.
    command.args(["test", "--workspace", "--test", "kubernetes"]);
    if arguments.strict {
        command.arg("--locked");
    }
    process::run(&mut command)?;
    cluster::down(&kubernetes)
}

fn lint(context: &Context, arguments: &Arguments) -> Result<()> {
    let mut command = cargo(context);
    command.args(["clippy", "--workspace", "--all-targets"]);
    if arguments.strict {
        command.arg("--locked");
    }
    process::run(command.args(["--", "--deny", "warnings"]))
}

/// Licences, banned crates and known vulnerabilities, where cargo-deny is installed.
fn dependencies(context: &Context) -> Result<()> {
    if find("cargo-deny").is_none() {
        note(
            "skipped: licences and advisories of dependencies (cargo-deny is not installed; cargo install cargo-deny)",
        );
        return Ok(());
    }
    process::run(cargo(context).args(["deny", "check", "bans", "licenses", "sources"]))?;
    if output(cargo(context).args(["deny", "fetch", "db"])).is_none() {
        note("skipped: advisories (the advisory database cannot be fetched)");
        return Ok(());
    }
    process::run(cargo(context).args(["deny", "check", "advisories"]))
}

/// Starts the static build, unless it is left out. By a process of its own, whose output can be kept for later.
fn static_build(arguments: &Arguments) -> Result<Option<Aside>> {
    if arguments.no_image {
        note("skipped: static build (--no-image)");
        return Ok(None);
    }
    if !arguments.strict && !image::can_build() {
        note(&format!("skipped: static build ({})", image::NO_COMPILER));
        return Ok(None);
    }
    // Here, as rustup adds one target at a time.
    image::prepare()?;
    let mut command = Command::new(env::current_exe().context("cannot find this program")?);
    command.arg("image").args(arguments.strict.then_some("--locked"));
    Ok(Some(process::aside(command)))
}

fn tests(context: &Context, arguments: &Arguments, programs: &[(&str, PathBuf)]) -> Result<()> {
    let mut command = cargo(context);
    command.envs(programs.iter().map(|(variable, program)| (variable, program))).args(["test", "--workspace"]);
    if arguments.strict {
        command.arg("--locked");
    }
    if let Some(filter) = &arguments.filter {
        command.arg("--").arg(filter);
    }
    process::run(&mut command)
}
