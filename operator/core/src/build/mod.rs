//! The objects that the operator makes, from what they are made of. One file per kind of thing; no decisions here.

mod autoscaler;
mod deployment;
mod meta;
mod pod;
mod policies;
mod record;
mod run_job;
mod service;

pub(crate) use autoscaler::autoscaler;
pub(crate) use deployment::{Replica, deployment, hash, hash_of, serve_config};
pub(crate) use meta::Owner;
pub(crate) use policies::{disruption_budget, serving_policy, training_policy};
pub(crate) use record::{Record, record};
pub(crate) use run_job::{TLS_DIRECTORY, credentials, identity, identity_name, run_job, run_service};
pub(crate) use service::{Traffic, service, shard_service};
