//! How to reach an object store, for commands without a manifest.

use clap::Args;
use coterie_crds::resolved::Store;

/// Settings of an S3-compatible store. Credentials come from the environment.
#[derive(Args)]
pub(crate) struct StoreOptions {
    /// Endpoint of an S3-compatible store.
    #[arg(long, value_name = "URL", env = "COTERIE_STORE_ENDPOINT")]
    endpoint: Option<String>,
    /// Region of the store.
    #[arg(long, env = "COTERIE_STORE_REGION")]
    region: Option<String>,
    /// Allow plain HTTP to the store.
    #[arg(long, env = "COTERIE_STORE_ALLOW_HTTP")]
    allow_http: bool,
    /// PEM file with certificate authorities of the store.
    #[arg(long, value_name = "FILE", env = "COTERIE_STORE_CA_BUNDLE")]
    ca_bundle: Option<String>,
}

impl From<StoreOptions> for Store {
    fn from(options: StoreOptions) -> Self {
        let StoreOptions { endpoint, region, allow_http, ca_bundle } = options;
        Self { endpoint, region, allow_http, ca_bundle }
    }
}
