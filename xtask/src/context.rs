//! Where things are: the repository, cargo's target folder, the user's cache.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// Folders that commands need.
pub(crate) struct Context {
    /// Root of the repository.
    pub(crate) root: PathBuf,
    /// Folder for what is fetched once and kept between runs.
    pub(crate) cache: PathBuf,
}

impl Context {
    pub(crate) fn new() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the xtask folder has no parent")?;
        Ok(Context { root: root.to_owned(), cache: cache(|name| env::var_os(name).map(PathBuf::from))? })
    }

    /// Cargo's target folder.
    pub(crate) fn target(&self) -> PathBuf {
        let folder = env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
        self.root.join(folder)
    }
}

/// `$XDG_CACHE_HOME/coterie`, or `~/.cache/coterie`.
fn cache(variable: impl Fn(&str) -> Option<PathBuf>) -> Result<PathBuf> {
    let folder = variable("XDG_CACHE_HOME")
        .filter(|folder| folder.is_absolute())
        .or_else(|| Some(variable("HOME")?.join(".cache")))
        .context("neither HOME nor XDG_CACHE_HOME is set; set one of them to a folder that may be written to")?;
    Ok(folder.join("coterie"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_follows_the_environment() {
        let with = |xdg: Option<&'static str>, home: Option<&'static str>| {
            cache(move |name| match name {
                "XDG_CACHE_HOME" => xdg.map(PathBuf::from),
                _ => home.map(PathBuf::from),
            })
        };
        assert_eq!(with(Some("/x"), Some("/h")).unwrap(), Path::new("/x/coterie"));
        assert_eq!(with(Some("relative"), Some("/h")).unwrap(), Path::new("/h/.cache/coterie"));
        assert_eq!(with(None, Some("/h")).unwrap(), Path::new("/h/.cache/coterie"));
        assert!(with(None, None).is_err());
    }
}
