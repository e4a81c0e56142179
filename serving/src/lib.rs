//! The query server: asks of a trained model over gRPC and REST, with health, readiness and metrics.
//!
//! Services ask which cluster a vector belongs to while other services send batches of thousands of rows, models are
//! replaced, and replicas come and go. So a lone request must not wait behind a batch, an answer must come from one model
//! version and say which, nonsense must be refused with a message that helps, and a replica must leave without failing a
//! request.
//!
//! # Overview
//! - [`query`]: what can be asked of a model, as pure functions. All protocols are thin adapters over it: our own and the Open
//!   Inference Protocol, each over REST and gRPC.
//! - [`run`] and [`Server`]: the servers on sockets that the caller bound, until a future of the caller's completes.
//! - [`Handle`]: puts a newer model in place of the one being served.
//!
//! ```text
//! accept (bounded connections, drained on shutdown)
//!   -> gate (metrics, admission, deadline)      the same for both protocols
//!     -> rest, grpc or oip (parse, spell the answer)
//!       -> cache (answers that take long, once computed)
//!       -> shards (where items are divided: the other replicas' share of the answer)
//!       -> compute (small work at once, large work in fair pieces off the async threads)
//!         -> query (pure)
//! ```
//!
//! # Example
//! ```no_run
//! # async fn example(model: coterie_model::Model) -> Result<(), Box<dyn std::error::Error>> {
//! use coterie_serving::{Listeners, run};
//! use tokio::net::TcpListener;
//!
//! let http = TcpListener::bind("127.0.0.1:8080").await?;
//! let grpc = TcpListener::bind("127.0.0.1:8081").await?;
//! let listeners = Listeners { http: Some(http), grpc: Some(grpc) };
//! let asked_to_stop = async { drop(tokio::signal::ctrl_c().await) };
//! run(listeners, std::sync::Arc::new(model), asked_to_stop).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Limits
//! [`Settings`] bounds bodies, rows, connections, requests in flight and their bytes; what exceeds a bound is refused at once
//! with 413 or 429 (`RESOURCE_EXHAUSTED`). REST bodies are taken as JSON whatever their content type says.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod accept;
mod admission;
mod app;
mod cache;
mod compute;
mod gate;
mod grpc;
mod hot;
mod metrics;
mod oip;
mod outgoing;
pub mod query;
mod reflection;
mod rest;
mod server;
mod settings;
mod shadow;
mod shards;
mod status;
mod threads;
mod traffic;

pub use cache::{CacheSettings, SharedSettings, TlsSettings};
pub use hot::Handle;
pub use server::{Listeners, ServeError, Server, run};
pub use settings::Settings;
