//! Given centroids: of an earlier model, or rows of a file in the source's columns.

use coterie_algorithms::features::invert;
use coterie_crds::resolved::{ResolvedJob, Source};
use coterie_data::{Want, reader::Reader};
use coterie_model::ModelError;
use futures::StreamExt;
use std::sync::Arc;

use crate::{error::RunError, publish::failed};

/// The k x d centroids behind `uri`, in the source's columns.
///
/// # Errors
/// When there is neither a model nor a readable file, or its shape is not k x d.
pub(super) async fn centroids(
    uri: &str,
    clusters: usize,
    dimension: usize,
    job: &ResolvedJob,
) -> Result<Vec<f32>, RunError> {
    let location = coterie_data::store::open(uri, &job.source.store)?;
    let store = location.store.as_ref();
    let (rows, columns, values) = match coterie_model::locate(store, &location.path).await {
        Ok(path) => {
            let model = coterie_model::read(store, &path).await.map_err(|error| failed(&location, &error))?;
            let values = invert(&model.pipeline, model.centroids.values());
            (model.centroids.len(), model.pipeline.input_dimension, values)
        }
        Err(ModelError::NotFound { .. }) => read(uri, job).await?,
        Err(error) => return Err(failed(&location, &error)),
    };
    if rows != clusters || columns != dimension {
        return Err(RunError::spec(format!(
            "{uri}: {rows} x {columns} centroids, but the job needs {clusters} x {dimension} (clusters x columns of the \
             source); give a matching file or change spec.algorithm.kMeans.clusters"
        )));
    }
    Ok(values)
}

async fn read(uri: &str, job: &ResolvedJob) -> Result<(usize, usize, Vec<f32>), RunError> {
    let mut columns = job.source.columns.clone();
    columns.id = None;
    columns.label = None;
    let source = Source { uri: uri.to_owned(), format: None, columns, ..job.source.clone() };
    let plan = Arc::new(coterie_data::plan::plan(&source).await?);
    let reader = Reader::open(&source, Arc::clone(&plan))?;
    let mut values = Vec::new();
    for split in &plan.splits {
        let mut blocks = std::pin::pin!(reader.read(split.index, Want::default()));
        while let Some(block) = blocks.next().await {
            values.extend(block?.values);
        }
    }
    Ok((values.len() / plan.dimension.max(1), plan.dimension, values))
}
