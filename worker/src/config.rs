//! What every process of a run is told: the resolved job and how to find each other. Written once by whoever starts the
//! run (the standalone launcher or the operator) and read by coordinator and workers.

use std::path::{Path, PathBuf};

use coterie_crds::resolved::ResolvedJob;
use serde::{Deserialize, Serialize};

use crate::error::RunError;

/// Configuration of a run, the same for all its processes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RunConfig {
    /// Unique id of the run within its output: `<job>-r<N>`.
    pub run: String,
    /// The model version it will publish.
    pub version: String,
    /// The job.
    pub job: ResolvedJob,
    /// Where the coordinator is.
    pub coordinator: CoordinatorAddress,
    /// Milliseconds of silence after which a worker loses its splits.
    pub lease_millis: u64,
    /// Milliseconds the coordinator waits for all workers before it starts with those it has.
    pub patience_millis: u64,
    /// Directory with `ca.pem`, `cert.pem`, `key.pem` of this run.
    pub tls: PathBuf,
}

/// How workers find the coordinator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CoordinatorAddress {
    /// `host:port`; the coordinator listens on that port.
    Address(String),
    /// A file the coordinator writes its address to; it listens on a free port of the loopback interface.
    File(PathBuf),
}

impl RunConfig {
    /// Reads a configuration file.
    ///
    /// # Errors
    /// When the file cannot be read or is not a run configuration.
    pub fn read(path: &Path) -> Result<Self, RunError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| RunError::transient(format!("read the run configuration {}: {error}", path.display())))?;
        serde_json::from_str(&text)
            .map_err(|error| RunError::spec(format!("{} is not a run configuration: {error}", path.display())))
    }

    /// Writes a configuration file.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), RunError> {
        let text = serde_json::to_string_pretty(self).map_err(|error| RunError::transient(error.to_string()))?;
        std::fs::write(path, text)
            .map_err(|error| RunError::transient(format!("write the run configuration {}: {error}", path.display())))
    }
}

impl CoordinatorAddress {
    /// The address as of now; a restarted coordinator may have another.
    #[must_use]
    pub fn current(&self) -> Option<String> {
        match self {
            Self::Address(address) => Some(address.clone()),
            Self::File(path) => std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned()),
        }
    }
}
