//! Batches one after the other over one call.

use super::answer_assign_batch;
use crate::accept;
use crate::app::App;
use crate::query::QueryError;
use crate::status;
use coterie_protocol::query::{AssignBatchRequest, AssignBatchResponse};
use futures::stream::{BoxStream, StreamExt, try_unfold};
use std::sync::Arc;
use tokio::sync::watch;
use tokio::time::timeout;
use tonic::{Status, Streaming};

/// Answers in the order of the batches.
pub(super) type Answers = BoxStream<'static, Result<AssignBatchResponse, Status>>;

/// Answers batch after batch. The next is read when the answer to the one before was taken, so a caller that sends faster than it
/// reads is held back and a stream holds one batch at a time. A caller that sends nothing for as long as a connection may lie
/// idle, and everybody when `stop` turns true, is told so between two batches.
///
/// # Errors
/// [`QueryError::Overloaded`] where as many streams are open as may be.
pub(super) fn answers(
    app: Arc<App>,
    batches: Streaming<AssignBatchRequest>,
    stop: watch::Receiver<bool>,
) -> Result<Answers, QueryError> {
    let permit = Arc::clone(&app.streams).try_acquire_owned().map_err(|_| QueryError::Overloaded)?;
    let refuse = |error| status::grpc(&error);
    let next = move |(mut batches, mut stop, permit): (Streaming<AssignBatchRequest>, watch::Receiver<bool>, _)| {
        let app = Arc::clone(&app);
        async move {
            let batch = tokio::select! {
                biased;
                () = accept::stopped(&mut stop) => return Err(refuse(QueryError::ShuttingDown)),
                batch = timeout(app.settings.idle_timeout, batches.message()) => batch,
            };
            let idle = QueryError::BodyTimeout { limit: app.settings.idle_timeout };
            let Some(batch) = batch.map_err(|_elapsed| refuse(idle))?? else { return Ok(None) };
            let answer = timeout(app.settings.request_timeout, answer_assign_batch(&app, batch)).await;
            let answer = answer.unwrap_or(Err(QueryError::TimedOut)).map_err(refuse)?;
            Ok(Some((answer, (batches, stop, permit))))
        }
    };
    Ok(try_unfold((batches, stop, permit), next).boxed())
}
