//! Vectors in object stores, as blocks of `f32` rows.
//!
//! A run's input is a URI: a directory, an S3 prefix, one object. Behind it lie Parquet, NPY, CSV or Arrow objects, of
//! any number and size, written by anybody. Everything later in a run wants plain rows of numbers in a fixed order,
//! in pieces that can be given to workers, taken back and read again with the same result. This crate stands between.
//!
//! # Overview
//!
//! 1. [`store::open`] turns a URI, the manifest's settings and the environment into a client.
//! 2. [`plan::plan`] lists the objects, reads their headers, checks that they fit one another and the manifest, and
//!    cuts them into splits. The plan is data: the coordinator makes it once and sends it to the workers.
//! 3. [`reader::Reader::read`] streams a split as [`Block`]s, with ids and labels when asked for.
//!
//! [`generate`] makes test data of any size in the same stores.
//!
//! # Example
//!
//! ```
//! use std::sync::Arc;
//!
//! use coterie_crds::resolved::{Columns, InvalidRows, Source, Store};
//! use coterie_data::{Want, plan, reader::Reader};
//! use futures::TryStreamExt;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let directory = tempfile::tempdir()?;
//! std::fs::write(directory.path().join("a.csv"), "name,x,y\nfirst,1,2\nsecond,3,4\n")?;
//!
//! let source = Source {
//!     uri: directory.path().display().to_string(),
//!     format: None,
//!     columns: Columns { id: Some("name".into()), ..Columns::default() },
//!     store: Store::default(),
//!     invalid_rows: InvalidRows::Fail,
//! };
//! let plan = Arc::new(plan::plan(&source).await?);
//! assert_eq!(plan.feature_names, ["x", "y"]);
//!
//! let reader = Reader::open(&source, Arc::clone(&plan))?;
//! for split in &plan.splits {
//!     let mut blocks = Box::pin(reader.read(split.index, Want::default()));
//!     while let Some(block) = blocks.try_next().await? {
//!         assert_eq!(block.values, [1.0, 2.0, 3.0, 4.0]);
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # What can be relied on
//!
//! - The order of rows is that of the objects' paths, then that in the object. The same rows give the same values in
//!   every format and however they are spread over objects; numbers are rounded to `f32` once.
//! - Invalid rows (NaN, infinity, null) end the run or are counted and left out, as the manifest says; vectors of
//!   another width always end it. Nothing is guessed.
//! - Each error names object and place and says what to do; its [`ErrorClass`] says whether trying again can help.
//! - Memory is bounded by some MiB per split that is being read, whatever the sizes of objects and row groups (Arrow:
//!   by the largest record batch), and damaged objects cannot make it grow.
//! - An object that changes after planning is noticed.
//!
//! # Limits
//!
//! 65,536 features; a million objects; footers of 32 MiB; CSV records of 16 MiB, UTF-8, comma-separated, with a header;
//! Parquet with ZSTD, Snappy, LZ4, Gzip or no compression, unencrypted; Arrow record batches of 1 GiB; NPY of
//! little-endian floats. Top-level columns only. Sets as lists of members in Parquet and Arrow only.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod arrow_rows;
mod block;
mod columns;
mod contain;
mod error;
mod fetch;
mod formats;
pub mod generate;
mod glob;
mod limits;
mod listing;
pub mod plan;
pub mod reader;
mod rows;
mod sets;
pub mod store;

pub use block::{BLOCK_BYTES, BLOCK_ROWS, Block, Ids, Want, block_rows};
pub use error::{Cause, DataError, ErrorClass};
