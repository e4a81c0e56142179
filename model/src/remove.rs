//! Removing a version: the manifest first, so that readers never find a version that is only half there.

use crate::error::ModelError;
use crate::paths::{self, MANIFEST};
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

/// Removes `version` from `output`. Removing what is not there, or only partly, is no error.
///
/// # Errors
/// [`ModelError::Store`] when the store fails; the version may be gone for readers already, and the same call may be
/// repeated.
pub async fn remove(store: &dyn ObjectStore, output: &Path, version: &str) -> Result<(), ModelError> {
    let directory = paths::version_path(output, version);
    delete(store, directory.clone().join(MANIFEST)).await?;
    let listed = match store.list(Some(&directory)).try_collect::<Vec<_>>().await {
        Ok(listed) => listed,
        Err(object_store::Error::NotFound { .. }) => Vec::new(),
        Err(source) => return Err(ModelError::Store { action: "list", path: directory, source }),
    };
    for object in listed {
        delete(store, object.location).await?;
    }
    Ok(())
}

async fn delete(store: &dyn ObjectStore, path: Path) -> Result<(), ModelError> {
    match store.delete(&path).await {
        Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
        Err(source) => Err(ModelError::Store { action: "remove", path, source }),
    }
}
