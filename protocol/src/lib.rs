//! The wire: proto files compiled to Rust, and who may speak over it.
//!
//! Generated types stay inside this crate and the tonic adapters of `worker` and `serving`.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod bounded;
pub mod identity;

/// Coordination between the coordinator and the workers of one run, and between serving replicas that share the items of a model.
pub mod internal {
    #![allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]
    tonic::include_proto!("coterie.internal.v1");
}

/// The public query API.
pub mod query {
    #![allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]
    tonic::include_proto!("coterie.v1");
}

/// The Open Inference Protocol, version 2.
pub mod inference {
    #![allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]
    tonic::include_proto!("inference");
}

/// The public services with their comments, as an encoded `FileDescriptorSet`, for server reflection.
pub const PUBLIC_DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/public.bin"));

/// Version of the coordination protocol; both sides of a run must agree. Steps and partials are part of it, so it goes up with their form.
pub const PROTOCOL_VERSION: u32 = 3;

/// Largest piece of a chunked message, in bytes.
pub const CHUNK_BYTES: usize = 1 << 20;
