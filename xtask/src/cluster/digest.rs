//! Stamps: a file beside something built that says what it was built from.

use std::fs;
use std::hash::{DefaultHasher, Hasher};
use std::path::Path;

use anyhow::{Context as _, Result};

/// A number that changes with any of the files, their order, or the text. A collision or a new hash function costs a needless or a
/// forgotten build on a developer's machine, nothing else.
pub(super) fn of(files: &[&Path], text: &str) -> Result<String> {
    let mut hasher = DefaultHasher::new();
    for file in files {
        let content = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        hasher.write_usize(content.len());
        hasher.write(&content);
    }
    hasher.write(text.as_bytes());
    Ok(format!("{:016x}", hasher.finish()))
}

/// Whether the stamp is there and says this digest.
pub(super) fn is_current(stamp: &Path, digest: &str) -> bool {
    fs::read_to_string(stamp).is_ok_and(|text| text == digest)
}

/// Written after what it vouches for.
pub(super) fn write(stamp: &Path, digest: &str) -> Result<()> {
    fs::write(stamp, digest).with_context(|| format!("cannot write {}", stamp.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_current_until_something_changes() {
        let folder = tempfile::tempdir().unwrap();
        let [one, two, stamp] = ["one", "two", "stamp"].map(|name| folder.path().join(name));
        fs::write(&one, "1").unwrap();
        fs::write(&two, "2").unwrap();
        let digest = of(&[&one, &two], "text").unwrap();
        assert!(!is_current(&stamp, &digest));
        write(&stamp, &digest).unwrap();
        assert!(is_current(&stamp, &of(&[&one, &two], "text").unwrap()));
        assert!(!is_current(&stamp, &of(&[&one, &two], "other").unwrap()));
        assert!(!is_current(&stamp, &of(&[&two, &one], "text").unwrap()));
        fs::write(&two, "3").unwrap();
        assert!(!is_current(&stamp, &of(&[&one, &two], "text").unwrap()));
    }
}
