//! `cargo xtask generate`: the files that are made from the Rust types and committed.

use std::process::Command;

use anyhow::Result;

use crate::context::Context;
use crate::process::{self, cargo};

#[derive(clap::Args)]
pub(crate) struct Arguments {}

pub(crate) fn run(context: &Context, Arguments {}: &Arguments) -> Result<()> {
    // Of the whole workspace, as the tests are built: for one package alone, dependencies would be compiled with other features.
    process::run(cargo(context).args(["build", "--quiet", "--workspace", "--example", "generate"]))?;
    process::run(Command::new(context.target().join("debug/examples/generate")).arg(&context.root))
}
