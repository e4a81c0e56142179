//! Artefacts written by earlier code must stay readable, with the same digest, for ever.
#![allow(clippy::unwrap_used)]

mod fixture;

use coterie_model::{digest, locate, read};
use object_store::local::LocalFileSystem;
use object_store::path::Path;

/// Digest of the fixture as format version 1 spells it.
const V1: &str = "blake3:7d7894bb1ef852282f9607063f9a43d8f980f03b9e27964ca83fd976a02b54a1";

#[tokio::test]
async fn format_version_1_is_readable() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/samples/v1");
    let store = LocalFileSystem::new_with_prefix(directory).unwrap();
    let path = locate(&store, &Path::default()).await.unwrap();
    let model = read(&store, &path).await.unwrap();
    assert_eq!(digest(&model), V1);
    fixture::assert_same(&model, &fixture::model());
}
