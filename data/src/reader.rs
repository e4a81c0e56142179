//! Reads the splits of a plan as blocks.
use std::sync::Arc;

use coterie_crds::resolved::Source;
use futures::Stream;

use crate::plan::InputPlan;
use crate::{Block, DataError, Want};

/// Reads the splits of one plan. Cheap to clone; clones share the byte count.
#[derive(Clone, Debug)]
pub struct Reader {
    plan: Arc<InputPlan>,
}

impl Reader {
    /// Opens the store of a plan's objects.
    ///
    /// # Errors
    /// When the store's settings cannot be used.
    pub fn open(_source: &Source, plan: Arc<InputPlan>) -> Result<Self, DataError> {
        Ok(Self { plan })
    }

    /// The blocks of a split, in the order of its rows. Must be polled inside a tokio runtime.
    pub fn read(
        &self,
        split: u32,
        _want: Want,
    ) -> impl Stream<Item = Result<Block, DataError>> + Send + 'static + use<> {
        let uri = format!("split {split} of {}", self.plan.splits.len());
        futures::stream::once(async {
            Err(DataError::Settings { uri, problem: "not built yet".into(), remedy: "wait".into() })
        })
    }

    /// Bytes fetched from the store so far.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        0
    }
}
