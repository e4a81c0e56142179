//! Objects come from outside. Nothing they say about their own size is believed beyond these bounds, so a damaged
//! or hostile object costs an error and not the machine's memory.

/// Most features of a row.
pub(crate) const DIMENSION: usize = 65_536;
/// Most objects below one URI.
pub(crate) const OBJECTS: usize = 1_000_000;
/// Most columns of a table: all features plus room for others.
pub(crate) const COLUMNS: usize = 131_072;
/// Longest footer of a Parquet or Arrow object, in bytes.
pub(crate) const FOOTER: u64 = 32 << 20;
/// Longest NPY header, in bytes.
pub(crate) const NPY_HEADER: usize = 64 << 10;
/// Longest CSV record, in bytes: 65,536 numbers of 24 characters are 1.6 MB.
pub(crate) const CSV_RECORD: usize = 16 << 20;
/// Largest record batch of an Arrow object, in bytes; a batch is held in memory as a whole.
pub(crate) const BATCH: u64 = 1 << 30;
/// Largest page of a Parquet column once decompressed, in bytes.
pub(crate) const PAGE: u64 = 1 << 30;
/// Deepest nesting of a Parquet schema.
pub(crate) const DEPTH: usize = 64;
