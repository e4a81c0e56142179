//! A block is what every later step sees of the data: some rows of numbers, whatever the format was.

/// Most rows in one block.
pub const BLOCK_ROWS: usize = 8192;
/// Bytes of values that a block aims at; one row may exceed it.
pub const BLOCK_BYTES: usize = 1 << 20;

/// Consecutive rows of one split.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Block {
    /// The kept rows, row-major: `rows * dimension` finite numbers.
    pub values: Vec<f32>,
    /// Number of kept rows; may be 0 when all were dropped.
    pub rows: usize,
    /// Rows left out because they were invalid.
    pub dropped: u64,
    /// Identifiers of the kept rows, when asked for and when the source names an id column.
    pub ids: Option<Ids>,
    /// Known classes of the kept rows, when asked for and when the source names a label column. A null is "".
    pub labels: Option<Vec<String>>,
}

/// Identifiers, one per row. All blocks of one source hold the same kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ids {
    /// From signed integer columns and unsigned ones up to 32 bits.
    Int(Vec<i64>),
    /// From text columns, from 64-bit unsigned columns, and from CSV.
    Text(Vec<String>),
}

impl Ids {
    /// Number of identifiers.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Int(ids) => ids.len(),
            Self::Text(ids) => ids.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What is wanted beside the vectors; what is not wanted is not read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Want {
    /// The id column.
    pub ids: bool,
    /// The label column.
    pub labels: bool,
}

/// Rows of one block for vectors of this dimension: at most [`BLOCK_ROWS`] and about [`BLOCK_BYTES`], at least one.
#[must_use]
pub fn block_rows(dimension: usize) -> usize {
    (BLOCK_BYTES / 4 / dimension.max(1)).clamp(1, BLOCK_ROWS)
}
