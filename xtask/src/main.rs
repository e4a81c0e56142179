//! Developer commands: `cargo xtask COMMAND`.
//!
//! One file per command under `command/`; a new command is a file with a `clap::Args` type and a `run`, and a line below.

mod aarch64;
mod bench;
mod cluster;
mod command;
mod context;
mod elf;
mod process;
mod reduction;
mod tools;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use command::{bench as bench_command, client, cluster as cluster_command, generate, image, reduce_sim, test};
use context::Context;
use process::note;

/// Developer commands of Coterie.
#[derive(Parser)]
#[command(bin_name = "cargo xtask", disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Checks everything that must hold: format, lints, licences, the static build, all tests.
    Test(test::Arguments),
    /// Measures our speed beside that of others.
    Bench(bench_command::Arguments),
    /// Predicts the cost of the reduction in an iteration of k-means, by the number of workers.
    ReduceSim(reduce_sim::Arguments),
    /// Writes the generated files: the CustomResourceDefinition and the API reference.
    Generate(generate::Arguments),
    /// Builds the static binary that goes into the image.
    Image(image::Arguments),
    /// A real Kubernetes on this machine, for tests.
    Cluster(cluster_command::Arguments),
    /// kubectl for the cluster: `cargo xtask kubectl -- get pods`.
    Kubectl(client::Arguments),
    /// helm for the cluster: `cargo xtask helm -- list --all-namespaces`.
    Helm(client::Arguments),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = Context::new().and_then(|context| match &arguments.command {
        Command::Test(arguments) => test::run(&context, arguments),
        Command::Bench(arguments) => bench_command::run(&context, arguments),
        Command::ReduceSim(arguments) => reduce_sim::run(&context, arguments),
        Command::Generate(arguments) => generate::run(&context, arguments),
        Command::Image(arguments) => image::run(&context, arguments).map(drop),
        Command::Cluster(arguments) => cluster_command::run(&context, arguments),
        Command::Kubectl(arguments) => client::kubectl(&context, arguments),
        Command::Helm(arguments) => client::helm(&context, arguments),
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            note(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }
}
