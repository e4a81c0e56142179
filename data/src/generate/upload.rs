//! An upload that can be abandoned.

use std::sync::Arc;

use object_store::buffered::BufWriter;
use object_store::path::Path;
use parquet::arrow::async_writer::AsyncFileWriter;
use parquet::errors::ParquetError;
use tokio::io::AsyncWriteExt;

use crate::DataError;
use crate::store::{Location, failure};

/// Bytes of one part of an upload.
const PART: usize = 8 << 20;

/// A writer that keeps the store's error, which the Parquet writer would turn into text, and can be abandoned.
pub(super) struct Upload {
    writer: BufWriter,
    uri: String,
    pub(super) failure: Option<DataError>,
    completing: bool,
}

impl Upload {
    pub(super) fn new(target: &Location, path: &Path) -> Self {
        let writer = BufWriter::with_capacity(Arc::clone(&target.store), path.clone(), PART);
        Self { writer, uri: target.object_uri(path), failure: None, completing: false }
    }

    fn fail(&mut self, error: std::io::Error) -> ParquetError {
        let text = error.to_string();
        let error = match error.downcast::<object_store::Error>() {
            Ok(error) => error,
            Err(error) => object_store::Error::Generic { store: "writer", source: error.into() },
        };
        self.failure = Some(failure(&self.uri, "writing the object", &error));
        ParquetError::General(text)
    }

    /// Leaves nothing of an unfinished upload. One whose completion failed has been removed by then.
    pub(super) async fn abandon(&mut self) {
        if self.completing {
            return;
        }
        if let Err(error) = self.writer.abort().await {
            tracing::warn!(uri = self.uri, %error, "an unfinished upload could not be removed");
        }
    }
}

impl AsyncFileWriter for &mut Upload {
    fn write(&mut self, bytes: bytes::Bytes) -> futures::future::BoxFuture<'_, parquet::errors::Result<()>> {
        Box::pin(async move {
            match self.writer.put(bytes).await {
                Ok(()) => Ok(()),
                Err(error) => Err(self.fail(error.into())),
            }
        })
    }

    fn complete(&mut self) -> futures::future::BoxFuture<'_, parquet::errors::Result<()>> {
        self.completing = true;
        Box::pin(async move {
            match self.writer.shutdown().await {
                Ok(()) => Ok(()),
                Err(error) => Err(self.fail(error)),
            }
        })
    }
}
