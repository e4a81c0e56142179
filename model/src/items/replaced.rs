//! Files that an index has taken the place of.
//!
//! Indexes are as large as their items, and whoever serves one version after the other from the same directory needs the newest only. But a
//! directory may be shared: by shards, by models, by servers that are not replaced yet. So a file goes only if it says that it is of the same
//! model and shard, and only while nobody has it mapped: whoever maps a file holds a lock on it. A file that is mapped in the moment before it
//! goes stays readable without its name.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::file::{Claim, claim_of};
use super::{EXTENSION, Shard};

/// What an index has taken the place of: those of the same model and shard in the same directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replaced {
    /// The file of the index itself.
    pub(super) by: PathBuf,
    /// The model's name.
    pub(super) name: String,
    pub(super) shard: Shard,
}

/// Tells others that a file is mapped, as long as it is open here. Where the file system knows no locks nobody will remove it either.
pub(super) fn hold(file: &File) {
    if let Err(TryLockError::Error(error)) = file.try_lock_shared() {
        tracing::debug!(%error, "the item index cannot be locked");
    }
}

impl Replaced {
    /// Removes the files that nobody has mapped, and returns them. One that cannot be read, locked or removed stays.
    ///
    /// # Errors
    /// If the directory cannot be read.
    pub fn remove(&self) -> io::Result<Vec<PathBuf>> {
        let Some(directory) = self.by.parent() else { return Ok(Vec::new()) };
        let mut removed = Vec::new();
        for entry in std::fs::read_dir(directory)? {
            let path = entry?.path();
            let index = path.extension().is_some_and(|extension| extension == EXTENSION);
            if index && path != self.by && self.remove_one(&path) {
                removed.push(path);
            }
        }
        Ok(removed)
    }

    fn remove_one(&self, path: &Path) -> bool {
        let Ok(file) = File::open(path) else { return false };
        let ours = |claim: &Claim| claim.name.as_ref() == Some(&self.name) && claim.options.shard == self.shard;
        if !claim_of(&file).is_ok_and(|claim| ours(&claim)) || file.try_lock().is_err() {
            return false;
        }
        std::fs::remove_file(path)
            .inspect_err(|error| tracing::warn!(%error, file = %path.display(), "cannot remove an old item index"))
            .is_ok()
    }
}
