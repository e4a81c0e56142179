//! Reads a manifest and makes its relative paths independent of where the command was started.

use std::path::{Path, PathBuf};

use coterie_crds::resolved::{Algorithm, Init, ResolvedJob};

use crate::Failure;

/// Reads and checks a manifest file (`-` for standard input).
pub(crate) fn read(path: &Path) -> Result<ResolvedJob, Failure> {
    let shown = path.display();
    let text =
        if path == Path::new("-") { std::io::read_to_string(std::io::stdin()) } else { std::fs::read_to_string(path) };
    let text =
        text.map_err(|error| Failure::usage(format!("read the manifest {shown}: {error}; give a file with -f")))?;
    coterie_crds::validate(&text).map_err(|violations| {
        let count = violations.len();
        let lines: Vec<String> = violations.iter().map(|violation| format!("  {violation}")).collect();
        let problems = if count == 1 { "a problem".to_owned() } else { format!("{count} problems") };
        Failure::usage(format!("{shown} has {problems}:\n{}", lines.join("\n")))
    })
}

/// Resolves relative paths against the manifest's directory.
pub(crate) fn anchor(job: &mut ResolvedJob, manifest: &Path) {
    let directory = match manifest.parent() {
        Some(parent) if manifest != Path::new("-") => parent.to_owned(),
        Some(_) | None => PathBuf::new(),
    };
    let place = |uri: &mut String| {
        if !uri.contains("://") && !Path::new(uri.as_str()).is_absolute() {
            *uri = directory.join(uri.as_str()).display().to_string();
        }
    };
    place(&mut job.source.uri);
    if let Some(output) = &mut job.output {
        place(&mut output.uri);
    }
    let Algorithm::KMeans(params) = &mut job.algorithm;
    if let Init::WarmStart { uri } = &mut params.init {
        place(uri);
    }
}
