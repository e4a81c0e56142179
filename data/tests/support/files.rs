//! Sources made of a few files, and how reading them fails.

use std::path::PathBuf;

use coterie_crds::resolved::Source;
use coterie_data::{DataError, ErrorClass};

use super::{read, source};

/// A directory with some objects.
pub struct Files {
    pub directory: tempfile::TempDir,
}

impl Files {
    pub fn new(files: &[(&str, Vec<u8>)]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            std::fs::write(directory.path().join(name), bytes).unwrap();
        }
        Self { directory }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn source(&self, edit: impl FnOnce(&mut Source)) -> Source {
        let mut source = source(self.directory.path().to_str().unwrap());
        edit(&mut source);
        source
    }

    /// The error's text with the directory's name replaced by DIR.
    pub fn text(&self, error: &DataError) -> String {
        error.to_string().replace(self.directory.path().to_str().unwrap(), "DIR")
    }

    /// Plans and reads, which must fail.
    pub async fn fails(&self, class: ErrorClass, edit: impl FnOnce(&mut Source)) -> String {
        let error = read(&self.source(edit)).await.expect_err("bad input was accepted");
        assert_eq!(error.class(), class, "{error}");
        assert_eq!(error.class() as u8, class.exit_code());
        self.text(&error)
    }
}
