//! Before anything is read, everybody must agree on what is read and in which pieces: the objects as they are now, and
//! the splits that workers take, retry and account for. The plan says both. It depends on the listing and the
//! objects' headers only, and the cutting itself is a pure function (`cut.rs`).
//!
//! Rows have one order: objects by path, and within an object as they are stored. Splits follow it by index.

mod cut;
mod make;

use coterie_algorithms::members::Members;
use coterie_crds::resolved::Format;
use serde::{Deserialize, Serialize};

pub(crate) use cut::Extent;
pub use make::{plan, plan_at};

/// What is read, and in which pieces.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InputPlan {
    /// Format of all objects.
    pub format: Format,
    /// The objects, sorted by path.
    pub objects: Vec<Object>,
    /// The splits in the order of their rows: `splits[i].index == i`.
    pub splits: Vec<Split>,
    /// Number of features, d.
    pub dimension: usize,
    /// Names of the columns that form the vector, in order; empty when the vector is one list column or an array.
    pub feature_names: Vec<String>,
    /// Name of the list column that holds the vector or the set, if that is how the data is laid out.
    pub vector: Option<String>,
    /// What the members of the sets are, where rows are lists of members.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub members: Option<Members>,
    /// Rows in all objects, where the format tells without reading everything (not CSV, not Arrow).
    pub rows: Option<u64>,
}

/// An object as it was when the plan was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Object {
    /// Path inside the store.
    pub path: String,
    /// Size in bytes.
    pub size: u64,
    /// The entity tag; reads are conditional on it.
    pub etag: Option<String>,
}

/// The unit of assignment, retry and statistics.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Split {
    /// Position in [`InputPlan::splits`].
    pub index: u32,
    /// Index in [`InputPlan::objects`].
    pub object: u32,
    /// Which part of the object.
    pub part: Part,
}

/// A part of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Part {
    /// A row group of a Parquet object.
    RowGroup {
        /// Which one.
        index: u32,
        /// Its number of rows.
        rows: u64,
    },
    /// Rows of an NPY object.
    Rows {
        /// First row.
        start: u64,
        /// Number of rows.
        count: u64,
    },
    /// The records of a CSV object that start in this byte range.
    Bytes {
        /// First byte.
        start: u64,
        /// Byte after the last.
        end: u64,
    },
    /// Record batches of an Arrow object.
    Batches {
        /// First batch.
        first: u32,
        /// Number of batches.
        count: u32,
    },
}
