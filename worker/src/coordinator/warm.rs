//! Given centroids: of an earlier model, or rows of a file in the source's columns.

use std::sync::Arc;

use coterie_algorithms::features::invert;
use coterie_crds::resolved::{ResolvedJob, Source};
use coterie_data::{Want, reader::Reader};
use futures::StreamExt;

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
    let (rows, columns, values) = if is_data(uri) { read(uri, clusters, job).await? } else { model(uri, job).await? };
    if rows != clusters || columns != dimension {
        return Err(RunError::spec(format!(
            "{uri}: {rows} x {columns} centroids, but the job needs {clusters} x {dimension} (clusters x columns of the \
             source); give a matching file or change spec.algorithm.kMeans.clusters"
        )));
    }
    Ok(values)
}

/// Whether the name is that of a data file rather than of a directory with a model.
fn is_data(uri: &str) -> bool {
    let extension = uri.rsplit('/').next().and_then(|name| name.rsplit_once('.')).map(|(_, extension)| extension);
    extension
        .is_some_and(|found| ["npy", "parquet", "csv", "arrow", "feather"].contains(&found.to_lowercase().as_str()))
}

async fn model(uri: &str, job: &ResolvedJob) -> Result<(usize, usize, Vec<f32>), RunError> {
    let location = coterie_data::store::open(uri, &job.source.store)?;
    let failed = |error: coterie_model::ModelError| failed(&location, &error);
    let path = coterie_model::locate(location.store.as_ref(), &location.path).await.map_err(failed)?;
    let model = coterie_model::read(location.store.as_ref(), &path).await.map_err(failed)?;
    let values = invert(&model.pipeline, model.centroids.values());
    Ok((model.centroids.len(), model.pipeline.input_dimension, values))
}

async fn read(uri: &str, clusters: usize, job: &ResolvedJob) -> Result<(usize, usize, Vec<f32>), RunError> {
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
            if values.len() > clusters * plan.dimension {
                return Err(RunError::spec(format!(
                    "{uri}: more than {clusters} rows, but spec.algorithm.kMeans.clusters is {clusters}; a warm start needs \
                     one row per cluster"
                )));
            }
        }
    }
    Ok((values.len() / plan.dimension.max(1), plan.dimension, values))
}
