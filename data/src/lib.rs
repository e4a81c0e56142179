//! Vectors in object stores, as blocks of `f32` rows.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod block;
mod error;
pub mod generate;
pub mod plan;
pub mod reader;
pub mod store;

pub use block::{BLOCK_BYTES, BLOCK_ROWS, Block, Ids, Want, block_rows};
pub use error::{Cause, DataError, ErrorClass};
