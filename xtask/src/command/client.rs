//! `cargo xtask kubectl` and `cargo xtask helm`: the clients that were built with the cluster, as its administrator.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::cluster::Cluster;
use crate::context::Context;

#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Arguments {
    /// Handed to the client as they are.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

pub(crate) fn kubectl(context: &Context, arguments: &Arguments) -> Result<()> {
    become_client(Cluster::new(context).kubectl(), arguments)
}

pub(crate) fn helm(context: &Context, arguments: &Arguments) -> Result<()> {
    become_client(Cluster::new(context).helm(), arguments)
}

/// The client takes this process's place, so that its exit status and the terminal's signals are its own.
fn become_client(mut client: Command, Arguments { arguments }: &Arguments) -> Result<()> {
    Err(client.args(arguments).exec()).context("cannot start the client; build it first: cargo xtask cluster build")
}
