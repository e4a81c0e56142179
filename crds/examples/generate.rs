//! Writes the files that are generated from the types: `cargo xtask generate` runs this.
//!
//! The one argument is the root of the repository.

use std::path::Path;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let root = env::args().nth(1).unwrap_or_else(|| ".".to_owned());
    for (path, text) in [
        ("crds/yaml/clusteringjobs.coterie.dev.yaml", coterie_crds::crd::yaml()),
        ("charts/coterie/files/clusteringjobs.coterie.dev.yaml", coterie_crds::crd::yaml()),
        ("docs/api-reference.md", coterie_crds::reference::markdown()),
    ] {
        let path = Path::new(&root).join(path);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(path, text)?;
    }
    Ok(())
}
