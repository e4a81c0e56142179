//! A look at a run from outside: its status, nothing else.

use coterie_protocol::internal::coordination_client::CoordinationClient;
use tonic::transport::Channel;

use super::link;
use crate::{config::RunConfig, error::RunError};

/// A client that only asks for status.
pub type Observer = CoordinationClient<Channel>;

/// Connects to wherever the coordinator is now.
///
/// # Errors
/// When it cannot be reached; try again.
pub async fn connect(config: &RunConfig) -> Result<Observer, RunError> {
    link::pulse(config).await
}
