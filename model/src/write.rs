//! Publishing a version: the tensors first, the manifest last.
//!
//! Two writers may race for a version, and a writer may die between the two files. Neither may ever leave a manifest
//! beside tensors it does not describe. So no object is ever overwritten: every put creates, and tensors that find
//! `tensors.safetensors` taken by other bytes go under a name that carries their digest. Whoever creates the manifest
//! owns the version; what others left beside it is never read.

use crate::error::ModelError;
use crate::manifest::{self, File, Files, Manifest};
use crate::model::Model;
use crate::paths::{self, MANIFEST};
use crate::{FORMAT_VERSION, MANIFEST_CAP, TENSORS_CAP, digest, read, tensors, validate};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};

const TENSORS: &str = "tensors.safetensors";

/// A version that was published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Directory of the version.
    pub path: Path,
    /// The version.
    pub version: String,
    /// The model digest, as [`crate::digest`] gives it.
    pub digest: String,
}

/// Publishes `model` as `<output>/models/<model.version>/`.
///
/// # Guarantees
/// The version exists for readers only once all of it is there. Nothing published is ever changed, also when several
/// writers race for one version: one succeeds, the others get [`ModelError::AlreadyExists`].
///
/// # Errors
/// [`ModelError::Invalid`] or [`ModelError::ModelTooLarge`] before anything is written;
/// [`ModelError::AlreadyExists`] when the version is published; [`ModelError::Store`] when the store fails, after which
/// the same call may be repeated.
pub async fn write(store: &dyn ObjectStore, output: &Path, model: &Model) -> Result<Written, ModelError> {
    let invalid = |source| ModelError::Invalid { version: model.version.clone(), source };
    validate::validate(model).map_err(invalid)?;
    let directory = paths::version_path(output, &model.version);
    let manifest_path = directory.clone().join(MANIFEST);
    match store.head(&manifest_path).await {
        Ok(_) => return Err(ModelError::AlreadyExists { path: directory }),
        Err(object_store::Error::NotFound { .. }) => {}
        Err(source) => {
            return Err(ModelError::Store { action: "read", path: manifest_path, source });
        }
    }

    let bytes = tensors::encode(model)
        .map_err(|source| ModelError::MalformedTensors { file: directory.clone().join(TENSORS), source })?;
    within(model, TENSORS, bytes.len(), TENSORS_CAP)?;
    let digest = digest(model);
    let (size, file_digest) = (bytes.len() as u64, digest::of_bytes(&bytes));
    // The manifest is made before the first put, so that a model too large for it leaves nothing behind.
    let mut document = Manifest {
        format_version: FORMAT_VERSION,
        name: model.name.clone(),
        version: model.version.clone(),
        model_digest: digest.clone(),
        metric: model.metric,
        input_dimension: model.input_dimension(),
        pipeline: model.pipeline.transforms.iter().map(tensors::kind).collect(),
        dimension: model.dimension(),
        n_clusters: model.n_clusters(),
        files: Files {
            tensors: File { name: other_name(&file_digest), size, digest: file_digest.clone() },
            items: model.items.clone(),
        },
        training: model.training.clone(),
        feature_names: model.feature_names.clone(),
        members: model.members,
        clusters: model.clusters.clone(),
    };
    let encode = |document: &Manifest| {
        manifest::encode(document)
            .map_err(|source| ModelError::MalformedManifest { file: manifest_path.clone(), source })
    };
    within(model, MANIFEST, encode(&document)?.len(), MANIFEST_CAP)?;

    document.files.tensors.name = put_tensors(store, &directory, bytes, &file_digest).await?;
    let text = encode(&document)?;
    match create(store, &manifest_path, text.clone()).await? {
        Created::Now => {}
        // A put whose answer was lost is retried by the client and then meets its own object.
        Created::Before if read::bytes(store, &manifest_path, MANIFEST_CAP).await? == text => {}
        Created::Before => return Err(ModelError::AlreadyExists { path: directory }),
    }
    Ok(Written { path: directory, version: model.version.clone(), digest })
}

/// Writes the tensors and gives the name they lie under.
async fn put_tensors(
    store: &dyn ObjectStore,
    directory: &Path,
    bytes: Vec<u8>,
    file_digest: &str,
) -> Result<String, ModelError> {
    let payload = PutPayload::from(bytes);
    let size = payload.content_length() as u64;
    for name in [TENSORS.to_owned(), other_name(file_digest)] {
        let path = directory.clone().join(name.as_str());
        match create(store, &path, payload.clone()).await? {
            Created::Now => return Ok(name),
            Created::Before => match read::bytes(store, &path, size).await {
                Ok(present) if digest::of_bytes(&present) == file_digest => return Ok(name),
                Ok(_) | Err(ModelError::TooLarge { .. }) => {}
                Err(error) => return Err(error),
            },
        }
    }
    Err(ModelError::AlreadyExists { path: directory.clone().join(other_name(file_digest)) })
}

/// The name that carries the content's digest.
fn other_name(file_digest: &str) -> String {
    let hex = file_digest.strip_prefix("blake3:").unwrap_or(file_digest);
    format!("tensors-{}.safetensors", &hex[..32.min(hex.len())])
}

enum Created {
    Now,
    Before,
}

async fn create(store: &dyn ObjectStore, path: &Path, payload: impl Into<PutPayload>) -> Result<Created, ModelError> {
    let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
    match store.put_opts(path, payload.into(), options).await {
        Ok(_) => Ok(Created::Now),
        Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => {
            Ok(Created::Before)
        }
        Err(source) => Err(ModelError::Store { action: "write", path: path.clone(), source }),
    }
}

fn within(model: &Model, file: &'static str, size: usize, cap: u64) -> Result<(), ModelError> {
    let size = size as u64;
    if size > cap {
        return Err(ModelError::ModelTooLarge { version: model.version.clone(), file, size, cap });
    }
    Ok(())
}
