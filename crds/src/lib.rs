//! The `ClusteringJob` resource: types, schema, validation. No client.

pub mod resolved;
