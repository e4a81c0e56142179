//! Where the rows of a model version are written, and what else may lie there.

use std::collections::BTreeSet;

use coterie_crds::resolved::Output;
use coterie_data::store::{Location, failure};
use futures::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt, path::Path};

use crate::error::RunError;

/// Directories of one version in the output.
#[derive(Clone, Debug)]
pub struct Places {
    /// Each row's cluster.
    pub assignments: Location,
    /// The version itself, below which its items are.
    pub version: Location,
}

impl Places {
    /// The directories of `version`.
    ///
    /// # Errors
    /// When the output's store cannot be opened.
    pub fn of(output: &Output, version: &str) -> Result<Self, RunError> {
        let location = coterie_data::store::open(&output.uri, &output.store)?;
        Ok(Self {
            assignments: Location { path: location.path.clone().join("assignments").join(version), ..location.clone() },
            version: Location { path: coterie_model::version_path(&location.path, version), ..location },
        })
    }

    /// Removes all objects of rows but those named.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn sweep(&self, assignments: &BTreeSet<String>, items: &BTreeSet<String>) -> Result<(), RunError> {
        sweep(&self.assignments, &self.assignments.path, assignments).await?;
        sweep(&self.version, &coterie_model::items::items_path(&self.version.path), items).await
    }
}

async fn sweep(location: &Location, directory: &Path, keep: &BTreeSet<String>) -> Result<(), RunError> {
    let failed = |error: &object_store::Error| RunError::from(failure(&location.uri, "removing old rows", error));
    let listed: Result<Vec<_>, _> = location.store.list(Some(directory)).try_collect().await;
    let listed = match listed {
        Ok(listed) => listed,
        Err(object_store::Error::NotFound { .. }) => return Ok(()),
        Err(error) => return Err(failed(&error)),
    };
    for object in listed {
        let kept = object.location.filename().is_some_and(|name| keep.contains(name));
        if !kept {
            location.store.delete(&object.location).await.map_err(|error| failed(&error))?;
        }
    }
    Ok(())
}
