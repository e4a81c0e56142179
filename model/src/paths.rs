//! Where versions lie, and which there are.

use crate::error::ModelError;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

/// Name of the file that is written last.
pub(crate) const MANIFEST: &str = "manifest.json";

/// Directory of `version` under `output`: `<output>/models/<version>`.
pub fn version_path(output: &Path, version: &str) -> Path {
    output.clone().join("models").join(version)
}

/// Complete versions under `output`, oldest first: those with a manifest.
///
/// # Errors
/// [`ModelError::Store`] when the listing fails. An output without models has none.
pub async fn versions(store: &dyn ObjectStore, output: &Path) -> Result<Vec<String>, ModelError> {
    let models = output.clone().join("models");
    let mut found = Vec::new();
    let mut listing = store.list(Some(&models));
    loop {
        match listing.try_next().await {
            Ok(Some(object)) => {
                let Some(parts) = object.location.prefix_match(&models) else {
                    continue;
                };
                let parts: Vec<_> = parts.collect();
                if let [version, file] = parts.as_slice()
                    && file.as_ref() == MANIFEST
                    && let Some(number) = number(version.as_ref())
                {
                    found.push(number);
                }
            }
            Ok(None) => break,
            Err(object_store::Error::NotFound { .. }) => break,
            Err(source) => {
                return Err(ModelError::Store { action: "list", path: models, source });
            }
        }
    }
    found.sort_unstable();
    Ok(found.into_iter().map(|number| format!("v{number}")).collect())
}

/// The version after the newest complete one; `v1` for a fresh output.
///
/// # Errors
/// As [`versions`].
pub async fn next_version(store: &dyn ObjectStore, output: &Path) -> Result<String, ModelError> {
    let newest = versions(store, output).await?.last().and_then(|version| number(version)).unwrap_or(0);
    Ok(format!("v{}", newest.saturating_add(1)))
}

/// Directory of the version that `path` means: itself when it holds a manifest, otherwise the newest version of the
/// output at `path`.
///
/// # Errors
/// [`ModelError::NotFound`] when there is neither; [`ModelError::Store`] when the store cannot tell.
pub async fn locate(store: &dyn ObjectStore, path: &Path) -> Result<Path, ModelError> {
    let manifest = path.clone().join(MANIFEST);
    match store.head(&manifest).await {
        Ok(_) => return Ok(path.clone()),
        Err(object_store::Error::NotFound { .. }) => {}
        Err(source) => {
            return Err(ModelError::Store { action: "read", path: manifest, source });
        }
    }
    match versions(store, path).await?.last() {
        Some(newest) => Ok(version_path(path, newest)),
        None => Err(ModelError::NotFound { path: path.clone() }),
    }
}

/// The number of a version's name, when it is one: `v` and a positive number without leading zeros.
pub(crate) fn number(version: &str) -> Option<u64> {
    let digits = version.strip_prefix('v')?;
    let plain = digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0');
    if plain { digits.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_v_and_a_positive_number_is_a_version() {
        assert_eq!(number("v1"), Some(1));
        assert_eq!(number("v10"), Some(10));
        for bad in ["", "v", "1", "v0", "v01", "v-1", "v+1", "V1", "v1.0", "v1/..", "v99999999999999999999"] {
            assert_eq!(number(bad), None, "{bad:?}");
        }
    }
}
