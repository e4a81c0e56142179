//! What the tests share: the same rows written in every format, and a real S3 server.
#![allow(dead_code, unreachable_pub, missing_docs)]

pub mod files;
pub mod weed;
pub mod write;

use std::sync::Arc;

use coterie_crds::resolved::{Columns, InvalidRows, Source, Store};
use coterie_data::plan::{InputPlan, plan};
use coterie_data::reader::Reader;
use coterie_data::{Block, DataError, Ids, Want};
use futures::TryStreamExt;

/// A source with default settings.
pub fn source(uri: &str) -> Source {
    Source {
        uri: uri.to_owned(),
        format: None,
        columns: Columns::default(),
        store: Store::default(),
        invalid_rows: InvalidRows::Fail,
    }
}

/// All rows of a source.
#[derive(Debug, Default, PartialEq)]
pub struct Everything {
    pub dimension: usize,
    pub values: Vec<f32>,
    pub rows: usize,
    pub dropped: u64,
    pub int_ids: Vec<i64>,
    pub text_ids: Vec<String>,
    pub labels: Vec<String>,
    pub splits: usize,
}

impl Everything {
    pub fn add(&mut self, block: Block) {
        assert_eq!(block.values.len(), block.rows * self.dimension);
        assert!(block.rows <= coterie_data::BLOCK_ROWS);
        assert!(block.values.len() * 4 <= coterie_data::BLOCK_BYTES.max(self.dimension * 4));
        assert!(block.values.iter().all(|value| value.is_finite()));
        self.values.extend(block.values);
        self.rows += block.rows;
        self.dropped += block.dropped;
        match block.ids {
            Some(Ids::Int(ids)) => self.int_ids.extend(ids),
            Some(Ids::Text(ids)) => self.text_ids.extend(ids),
            None => {}
        }
        self.labels.extend(block.labels.unwrap_or_default());
    }
}

/// Reads all splits of a plan in order, with ids and labels.
pub async fn read_plan(reader: &Reader, plan: &InputPlan) -> Result<Everything, DataError> {
    let mut all = Everything { dimension: plan.dimension, splits: plan.splits.len(), ..Everything::default() };
    for split in &plan.splits {
        let blocks: Vec<Block> = reader.read(split.index, Want { ids: true, labels: true }).try_collect().await?;
        for block in blocks {
            all.add(block);
        }
    }
    Ok(all)
}

/// Plans and reads a whole source.
pub async fn read(source: &Source) -> Result<Everything, DataError> {
    let plan = Arc::new(plan(source).await?);
    let reader = Reader::open(source, Arc::clone(&plan))?;
    read_plan(&reader, &plan).await
}
