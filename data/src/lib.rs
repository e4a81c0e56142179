//! Vectors in object stores, as blocks of `f32` rows.
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
pub mod store;

pub use block::{BLOCK_BYTES, BLOCK_ROWS, Block, Ids, Want, block_rows};
pub use error::{Cause, DataError, ErrorClass};
