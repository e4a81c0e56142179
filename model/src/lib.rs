//! The model artefact: what a training run leaves behind and a server loads.
//!
//! A model must be whole or absent, must never change once published, and must be told apart from a damaged copy of
//! itself. So a version is a directory of immutable files whose manifest is written last, by a put that fails when the
//! object exists already:
//!
//! ```text
//! <output>/models/v3/tensors.safetensors   centroids and feature pipeline, little-endian f32
//! <output>/models/v3/manifest.json         everything else, with size and BLAKE3 digest of each file, and of itself
//! ```
//!
//! A version may hold the rows it was trained on as well ([`items`]), so that similar ones can be asked for.
//!
//! A directory without a manifest is a write that did not finish: [`versions`] does not list it and [`write`] may
//! complete it.
//!
//! # Overview
//! - [`Model`]: the model in memory, with its provenance ([`Training`]).
//! - [`write`], [`read`], [`versions`], [`next_version`], [`locate`]: the artefact in an object store.
//! - [`remove`]: takes a version away that nobody needs any more.
//! - [`digest`]: one string for what the model computes with. Equal digest means equal model.
//!
//! # Example
//! ```no_run
//! # async fn example(model: coterie_model::Model) -> Result<(), Box<dyn std::error::Error>> {
//! use object_store::{local::LocalFileSystem, path::Path};
//!
//! let store = LocalFileSystem::new_with_prefix("/var/lib/songs")?;
//! let output = Path::default();
//! let mut model = model;
//! model.version = coterie_model::next_version(&store, &output).await?;
//! let written = coterie_model::write(&store, &output, &model).await?;
//! let loaded = coterie_model::read(&store, &written.path).await?;
//! assert_eq!(coterie_model::digest(&loaded), written.digest);
//! # Ok(())
//! # }
//! ```
//!
//! # Limits
//! A manifest has at most [`MANIFEST_CAP`] bytes (about 300,000 clusters) and the tensors at most [`TENSORS_CAP`].
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod canonical;
mod digest;
mod error;
pub mod items;
mod manifest;
mod model;
mod paths;
mod read;
mod remove;
mod tensors;
mod validate;
mod write;

pub use digest::{digest, metric_name};
pub use error::ModelError;
pub use model::{ClusterStatistics, DistancePercentiles, Input, InputObject, Metrics, Model, RowId, Training};
pub use paths::{locate, next_version, version_path, versions};
pub use read::{published_digest, read};
pub use remove::remove;
pub use validate::Violation;
pub use write::{Written, write};

/// Version of the artefact's format that this code writes, and the newest that it reads.
pub const FORMAT_VERSION: u32 = 1;

/// Largest manifest that is written or read, in bytes.
pub const MANIFEST_CAP: u64 = 64 << 20;

/// Largest tensors file that is written or read, in bytes: what one conditional put carries in every store.
pub const TENSORS_CAP: u64 = 4 << 30;
