//! Loading a version: nothing is believed before it is checked, and nothing is allocated before its size is known.

use crate::error::ModelError;
use crate::manifest::{self, Files, Manifest};
use crate::model::Model;
use crate::paths::MANIFEST;
use crate::tensors::Outline;
use crate::validate::{self, Violation};
use crate::{MANIFEST_CAP, TENSORS_CAP, digest, tensors};
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

/// Reads the version whose directory is `path`.
///
/// # Guarantees
/// The model is the one that was written: format version, sizes, digests of every file, shapes, finiteness and the
/// model digest were verified. Memory stays within the caps of the format, whatever the files hold.
///
/// # Errors
/// [`ModelError`] names the file, what was expected there, and the remedy.
pub async fn read(store: &dyn ObjectStore, path: &Path) -> Result<Model, ModelError> {
    let (manifest_file, manifest) = read_manifest(store, path).await?;
    let Manifest {
        format_version: _,
        name,
        version,
        model_digest,
        metric,
        input_dimension,
        pipeline,
        dimension,
        n_clusters,
        files,
        training,
        feature_names,
        members,
        clusters,
    } = manifest;
    let inconsistent = |source| ModelError::Inconsistent { file: manifest_file.clone(), source };

    let Files { tensors: listed, items } = files;
    let file = path.clone().join(listed.name.as_str());
    if listed.size > TENSORS_CAP {
        return Err(ModelError::TooLarge { file, size: listed.size, cap: TENSORS_CAP });
    }
    let content = match bytes(store, &file, listed.size).await {
        Ok(content) => content,
        Err(ModelError::TooLarge { file, size: found, cap: expected }) => {
            return Err(ModelError::SizeMismatch { file, expected, found });
        }
        Err(ModelError::Store { source: object_store::Error::NotFound { .. }, .. }) => {
            return Err(ModelError::FileMissing { file });
        }
        Err(error) => return Err(error),
    };
    let found = content.len() as u64;
    if found != listed.size {
        return Err(ModelError::SizeMismatch { file, expected: listed.size, found });
    }
    let found = digest::of_bytes(&content);
    if found != listed.digest {
        return Err(ModelError::DigestMismatch { file, expected: listed.digest, found });
    }

    let outline = Outline { input_dimension, pipeline: &pipeline, clusters: n_clusters };
    let (pipeline, centroids) = tensors::decode(&file, &content, &outline)?;
    drop(content);
    if centroids.dimension() != dimension {
        let found = [n_clusters, centroids.dimension()];
        return Err(inconsistent(Violation::shape("centroids", &[n_clusters, dimension], &found)));
    }
    let model = Model { name, version, metric, pipeline, centroids, feature_names, members, clusters, training, items };
    validate::validate(&model).map_err(|source| match source {
        Violation::NotFinite { .. } | Violation::NotPositive { .. } => ModelError::Inconsistent { file, source },
        other => inconsistent(other),
    })?;
    let found = digest(&model);
    if found != model_digest {
        return Err(inconsistent(Violation::ModelDigest { expected: model_digest, found }));
    }
    Ok(model)
}

/// The model digest that the manifest in `path` records, or `None` when nothing is published there. The tensors are
/// not read.
///
/// # Errors
/// As [`read`], for the manifest.
pub async fn published_digest(store: &dyn ObjectStore, path: &Path) -> Result<Option<String>, ModelError> {
    match read_manifest(store, path).await {
        Ok((_, manifest)) => Ok(Some(manifest.model_digest)),
        Err(ModelError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn read_manifest(store: &dyn ObjectStore, path: &Path) -> Result<(Path, Manifest), ModelError> {
    let file = path.clone().join(MANIFEST);
    let content = match bytes(store, &file, MANIFEST_CAP).await {
        Err(ModelError::Store { source: object_store::Error::NotFound { .. }, .. }) => {
            return Err(ModelError::NotFound { path: path.clone() });
        }
        other => other?,
    };
    let manifest = manifest::decode(&file, &content)?;
    Ok((file, manifest))
}

/// The object's content, or [`ModelError::TooLarge`] before more than `cap` bytes are held.
pub(crate) async fn bytes(store: &dyn ObjectStore, file: &Path, cap: u64) -> Result<Vec<u8>, ModelError> {
    let failed = |source| ModelError::Store { action: "read", path: file.clone(), source };
    let result = store.get(file).await.map_err(failed)?;
    let size = result.meta.size;
    if size > cap {
        return Err(ModelError::TooLarge { file: file.clone(), size, cap });
    }
    let mut content = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
    let mut stream = result.into_stream();
    while let Some(chunk) = stream.try_next().await.map_err(failed)? {
        let size = content.len() as u64 + chunk.len() as u64;
        if size > cap {
            return Err(ModelError::TooLarge { file: file.clone(), size, cap });
        }
        content.extend_from_slice(&chunk);
    }
    Ok(content)
}
