//! Reading and writing what every process of a run is told, [`RunConfig`]: written once by whoever starts the run (the
//! standalone launcher or the operator), read by coordinator and workers.

use std::path::Path;

use coterie_crds::run::{CoordinatorAddress, RunConfig};

use crate::error::RunError;

/// Reads a configuration file.
///
/// # Errors
/// When the file cannot be read or is not a run configuration.
pub fn read(path: &Path) -> Result<RunConfig, RunError> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| RunError::transient(format!("read the run configuration {}: {error}", path.display())))?;
    serde_json::from_str(&text)
        .map_err(|error| RunError::spec(format!("{} is not a run configuration: {error}", path.display())))
}

/// Writes a configuration file.
///
/// # Errors
/// When the file cannot be written.
pub fn write(config: &RunConfig, path: &Path) -> Result<(), RunError> {
    let text = serde_json::to_string_pretty(config).map_err(|error| RunError::transient(error.to_string()))?;
    std::fs::write(path, text)
        .map_err(|error| RunError::transient(format!("write the run configuration {}: {error}", path.display())))
}

/// The coordinator's address as of now; a restarted coordinator may have another.
#[must_use]
pub fn current_address(coordinator: &CoordinatorAddress) -> Option<String> {
    match coordinator {
        CoordinatorAddress::Address(address) => Some(address.clone()),
        CoordinatorAddress::File(path) => std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned()),
    }
}
