//! The vectors that are asked about.

use std::sync::Arc;

use coterie_crds::resolved::{Columns, InvalidRows, Source, Store};
use coterie_data::{DataError, Want, generate::Blobs, plan, reader::Reader};
use futures::TryStreamExt;

/// Rows that are read of a source, unless more are needed.
const READ: usize = 1 << 16;
/// Blobs that vectors are made of where no source is given.
const BLOBS: usize = 64;

/// Vectors, one after the other; at least one.
#[derive(Debug)]
pub(super) struct Rows {
    values: Vec<f32>,
    dimension: usize,
}

// === impl Rows ===

impl Rows {
    /// The first rows of a source, at least `wanted` if it has them. `vector` names the column with the vector; otherwise all
    /// numeric columns form it.
    pub(super) async fn read(
        uri: String,
        vector: Option<String>,
        store: Store,
        wanted: usize,
    ) -> Result<Self, DataError> {
        let columns = Columns { vector, ..Columns::default() };
        let source = Source { uri, format: None, columns, store, invalid_rows: InvalidRows::Drop };
        let plan = Arc::new(plan::plan(&source).await?);
        let reader = Reader::open(&source, Arc::clone(&plan))?;
        let dimension = plan.dimension;
        let most = wanted.max(READ).saturating_mul(dimension);
        let mut values = Vec::new();
        for split in &plan.splits {
            let mut blocks = Box::pin(reader.read(split.index, Want::default()));
            while let Some(block) = blocks.try_next().await? {
                values.extend_from_slice(&block.values);
                if values.len() >= most {
                    return Ok(Self { values, dimension });
                }
            }
        }
        Ok(Self { values, dimension })
    }

    /// Seeded vectors around some centres, as `coterie generate` makes them.
    pub(super) fn made(dimension: usize, wanted: usize, seed: u64) -> Self {
        let blobs = Blobs { rows: wanted as u64, dimension, clusters: BLOBS, noise: 0.0, deviation: 1.0, seed };
        let (values, _) = blobs.rows(0, wanted);
        Self { values, dimension }
    }

    pub(super) fn len(&self) -> usize {
        self.values.len() / self.dimension.max(1)
    }

    pub(super) fn dimension(&self) -> usize {
        self.dimension
    }

    /// A row; nothing beyond the last.
    pub(super) fn row(&self, row: usize) -> &[f32] {
        let start = row * self.dimension;
        self.values.get(start..start + self.dimension).unwrap_or_default()
    }
}
