//! Logs on standard error.

use std::io::IsTerminal;

use clap::Args;
use tracing_subscriber::{EnvFilter, fmt};

use crate::Failure;

/// What is logged and how.
#[derive(Args)]
pub(crate) struct Logging {
    /// What to log on standard error, as in `info` or `coterie_worker=debug`.
    #[arg(long = "log", global = true, env = "COTERIE_LOG", default_value = "warn", value_name = "FILTER")]
    filter: String,
    /// Log lines as JSON.
    #[arg(long = "log-json", global = true, env = "COTERIE_LOG_JSON")]
    json: bool,
}

impl Logging {
    /// Starts logging.
    pub(crate) fn init(&self) -> Result<(), Failure> {
        let filter = &self.filter;
        let parsed = EnvFilter::try_new(filter).map_err(|error| {
            Failure::usage(format!("--log {filter}: {error}; use a level such as info, or target=level"))
        })?;
        let ansi = std::io::stderr().is_terminal();
        let builder = fmt().with_env_filter(parsed).with_writer(std::io::stderr).with_ansi(ansi);
        if self.json {
            builder.json().init()
        } else {
            builder.compact().init()
        }
        Ok(())
    }

    /// The same settings for child processes.
    pub(crate) fn environment(&self) -> Vec<(&'static str, String)> {
        vec![("COTERIE_LOG", self.filter.clone()), ("COTERIE_LOG_JSON", self.json.to_string())]
    }
}
