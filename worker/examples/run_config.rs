//! Writes the configuration and the certificates of a run whose processes are started by hand, each on a host of its own:
//! `run_config MANIFEST DIRECTORY COORDINATOR_ADDRESS RELAY_FROM_BYTES`. Then, everywhere,
//! `coterie worker --role coordinator|worker --run-config DIRECTORY/run.json`. Used by `cargo xtask reduce-sim --real`.

#![allow(clippy::print_stderr)] // what is wrong with the arguments

use std::{path::PathBuf, process::ExitCode};

use coterie_crds::run::{CoordinatorAddress, RunConfig};
use coterie_worker::{config, error::RunError, tls};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [manifest, directory, address, relay_from] = &arguments[..] else {
        eprintln!("usage: run_config MANIFEST DIRECTORY COORDINATOR_ADDRESS RELAY_FROM_BYTES");
        return ExitCode::from(64);
    };
    match write(manifest, directory.into(), address, relay_from) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn write(manifest: &str, directory: PathBuf, address: &str, relay_from: &str) -> Result<(), RunError> {
    let text = std::fs::read_to_string(manifest).map_err(|error| RunError::spec(format!("{manifest}: {error}")))?;
    let job = coterie_crds::validate(&text).map_err(|violations| {
        RunError::spec(violations.iter().map(|violation| format!("{violation}\n")).collect::<String>())
    })?;
    let relay_from_bytes = relay_from.parse().map_err(|error| RunError::spec(format!("{relay_from}: {error}")))?;
    tls::create(&directory)?;
    let config = RunConfig {
        run: "by-hand".to_owned(),
        version: None,
        job,
        coordinator: CoordinatorAddress::Address(address.to_owned()),
        lease_millis: 30_000,
        patience_millis: 60_000,
        tls: directory.clone(),
        retention: None,
        relay_from_bytes,
    };
    config::write(&config, &directory.join("run.json"))
}
