//! `cargo xtask generate`: the files that are made from the Rust types and committed.

use anyhow::Result;

use crate::context::Context;
use crate::process::{self, cargo};

#[derive(clap::Args)]
pub(crate) struct Arguments {}

pub(crate) fn run(context: &Context, Arguments {}: &Arguments) -> Result<()> {
    let mut command = cargo(context);
    command.args(["run", "--quiet", "--package", "coterie-crds", "--example", "generate", "--"]);
    process::run(command.arg(&context.root))
}
