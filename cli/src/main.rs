//! `coterie`: every role of the product in one binary, chosen by a subcommand.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]
// A command-line program talks to its terminal.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod bench_serve;
mod crd;
mod failure;
mod generate;
mod manifest;
mod member;
mod observability;
mod operator;
mod progress;
mod results;
mod run;
mod serve;
mod signals;
mod size;
mod store;
mod validate;
mod worker;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::failure::Failure;

// musl's own allocator is slow when threads share it.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Finds the groups in millions to billions of vectors, and serves the answer.
///
/// Exit codes: 0 done; 64 the manifest or the command line asks for something impossible; 65 the data cannot be used; 66
/// access denied; 75 a failure that may pass, try again.
#[derive(Parser)]
#[command(name = "coterie", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    logging: observability::Logging,
}

#[derive(Subcommand)]
enum Command {
    Run(run::Run),
    Serve(serve::Serve),
    BenchServe(bench_serve::BenchServe),
    Validate(validate::Validate),
    Crd(crd::Crd),
    Generate(generate::Generate),
    Worker(worker::Worker),
    Operator(operator::Operator),
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            // Help and version are answers, not errors.
            return if error.use_stderr() { ExitCode::from(64) } else { ExitCode::SUCCESS };
        }
    };
    // All TLS of the process: object stores, and the run's own connections.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let result = cli.logging.init().and_then(|()| match cli.command {
        Command::Run(command) => command.execute(&cli.logging),
        Command::Serve(command) => command.execute(),
        Command::BenchServe(command) => command.execute(),
        Command::Validate(command) => command.execute(),
        Command::Crd(command) => command.execute(),
        Command::Generate(command) => command.execute(),
        Command::Worker(command) => command.execute(&cli.logging),
        Command::Operator(command) => command.execute(),
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let message = failure.to_string();
            if !message.is_empty() {
                eprintln!("error: {message}");
            }
            ExitCode::from(failure.exit_code)
        }
    }
}
