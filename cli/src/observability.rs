//! Logs on standard error.

use std::io::IsTerminal;

use tracing_subscriber::{EnvFilter, fmt};

use crate::Failure;

/// Starts logging. `filter` is in the syntax of tracing's `EnvFilter`.
pub(crate) fn init(filter: &str, json: bool) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(filter).map_err(|error| {
        Failure::usage(format!("--log {filter}: {error}; use a level such as info, or target=level"))
    })?;
    let builder = fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    if json {
        builder.json().init()
    } else {
        builder.compact().init()
    }
    Ok(())
}
