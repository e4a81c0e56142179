//! Reads a manifest.

use std::path::Path;

use coterie_crds::resolved::ResolvedJob;

use crate::Failure;

/// Reads and checks a manifest file (`-` for standard input). Its relative paths are relative to the folder it lies in.
pub(crate) fn read(path: &Path) -> Result<ResolvedJob, Failure> {
    let shown = path.display();
    let text =
        if path == Path::new("-") { std::io::read_to_string(std::io::stdin()) } else { std::fs::read_to_string(path) };
    let text =
        text.map_err(|error| Failure::usage(format!("read the manifest {shown}: {error}; give a file with -f")))?;
    let job = coterie_crds::validate(&text).map_err(|violations| {
        let count = violations.len();
        let lines: Vec<String> = violations.iter().map(|violation| format!("  {violation}")).collect();
        let problems = if count == 1 { "a problem".to_owned() } else { format!("{count} problems") };
        Failure::usage(format!("{shown} has {problems}:\n{}", lines.join("\n")))
    })?;
    Ok(job.rebased(path.parent().unwrap_or(Path::new(""))))
}
