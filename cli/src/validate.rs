//! `coterie validate`.

use std::path::PathBuf;

use clap::Args;

use crate::{Failure, manifest};

/// Check a ClusteringJob manifest offline, with the rules the cluster applies.
///
/// Reports every problem with its place, what was expected, and what to do. Exits with 64 if there is any.
#[derive(Args)]
pub(crate) struct Validate {
    /// The manifest; - for standard input.
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
}

impl Validate {
    pub(crate) fn execute(self) -> Result<(), Failure> {
        let job = manifest::read(&self.file)?;
        println!("{}: ClusteringJob {} is valid", self.file.display(), job.name);
        Ok(())
    }
}
