//! Every manifest of `examples/` is valid, and what it names beside it is there.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{fs, path::Path};

use coterie_crds::validate;

#[test]
fn every_example_is_valid() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let mut checked = Vec::new();
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let job = validate(&fs::read_to_string(&path).unwrap())
            .unwrap_or_else(|violations| panic!("{}: {violations:#?}", path.display()))
            .rebased(&folder);
        if !job.source.uri.contains("://") {
            assert!(Path::new(&job.source.uri).is_file(), "{}: {} is missing", path.display(), job.source.uri);
        }
        checked.push(path.file_stem().unwrap().to_string_lossy().into_owned());
    }
    checked.sort();
    for expected in ["digits", "geo", "songs-s3"] {
        assert!(checked.iter().any(|name| name == expected), "{expected} is not among {checked:?}");
    }
}
