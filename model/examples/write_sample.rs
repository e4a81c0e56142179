//! Writes the committed sample of the artefact's format into the directory given.
//!
//! ```text
//! cargo run -p coterie-model --example write_sample -- model/tests/samples/v1
//! ```
//!
//! Run it once for each new format version, with a new directory; committed samples are never written again.

#[path = "../tests/fixture/mod.rs"]
mod fixture;

use anyhow::Context;
use object_store::local::LocalFileSystem;
use object_store::path::Path;

fn main() -> anyhow::Result<()> {
    let directory = std::env::args().nth(1).context("give the directory to write to")?;
    std::fs::create_dir_all(&directory)?;
    let store = LocalFileSystem::new_with_prefix(&directory)?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    runtime.block_on(coterie_model::write(&store, &Path::default(), &fixture::model()))?;
    Ok(())
}
