//! The items of a model: the rows it was trained on, kept so that similar ones can be asked for.
//!
//! A run that keeps them writes one Parquet object per split, with each row's id, its cluster and its vector in the space of
//! the centroids:
//!
//! ```text
//! <output>/models/v3/items/part-00000.parquet   id, cluster, vector
//! ```
//!
//! The manifest, written after them, lists every part with its size and digest. Parts are in the order of the splits and may come
//! from different workers. A server puts them in order of their cluster in one local file, the [`ItemIndex`], which it maps
//! into memory: so the vectors take no memory of their own, and a server that starts again has them at once. Where one server has no room
//! for all, several hold a [`Shard`] each.
//!
//! # Overview
//! - [`PartWriter`]: writes a part and tells its digest.
//! - [`Items`]: what the manifest says of them.
//! - [`ItemIndex::open`]: the index of a version, made from the parts unless its file is there already.

mod build;
mod column;
mod count;
mod error;
mod fetch;
mod file;
mod index;
mod parameters;
mod replaced;
mod setting;
mod shard;
mod stop;
mod tables;
mod write;

use std::collections::BTreeSet;

use object_store::path::Path;
use serde::{Deserialize, Serialize};

pub use error::ItemsError;
pub use index::{ItemIndex, Options};
pub use parameters::{ParametersError, TableOptions, TableParameters};
pub use replaced::Replaced;
pub use shard::{MOST_SHARDS, Shard, ShardError};
pub use stop::Stop;
pub use tables::{ItemTables, TablesSearcher};
pub use write::PartWriter;

/// What the names of index files end with.
const EXTENSION: &str = "items";

/// Most items of one index: their places are numbered with 32 bits.
pub const MOST_ITEMS: u64 = u32::MAX as u64;

/// The items, as the manifest lists them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Items {
    /// All rows.
    pub rows: u64,
    /// The objects, in the order of the splits.
    pub parts: Vec<Part>,
}

/// One object of items.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Part {
    /// Name within the version's directory of items.
    pub name: String,
    /// Rows in it.
    pub rows: u64,
    /// Size in bytes.
    pub size: u64,
    /// `blake3:` and 64 hexadecimal digits.
    pub digest: String,
}

/// Directory of the items of the version in `version`.
pub fn items_path(version: &Path) -> Path {
    version.clone().join("items")
}

/// Name of a split's part.
pub fn part_name(split: u32) -> String {
    format!("part-{split:05}.parquet")
}

// === impl Items ===

impl Items {
    /// The items made up of these parts.
    pub fn new(parts: Vec<Part>) -> Self {
        Self { rows: parts.iter().map(|part| part.rows).sum(), parts }
    }

    /// Whether the parts can be what a run of `rows` rows has written.
    pub(crate) fn fit(&self, rows: u64) -> bool {
        let names: BTreeSet<&str> = self.parts.iter().map(|part| part.name.as_str()).collect();
        let sum = self.parts.iter().fold(0u64, |sum, part| sum.saturating_add(part.rows));
        let plain = |name: &str| {
            let digits = name.strip_prefix("part-").and_then(|rest| rest.strip_suffix(".parquet"));
            digits.is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
        };
        sum == rows && self.rows == rows && names.len() == self.parts.len() && names.into_iter().all(plain)
    }

    /// One string for all that the parts hold.
    pub(crate) fn digest(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for part in &self.parts {
            hasher.update(part.digest.as_bytes());
        }
        crate::digest::spell(hasher.finalize())
    }
}
