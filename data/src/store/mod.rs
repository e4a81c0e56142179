//! Users write one URI; the program needs a client with credentials, certificates, deadlines and retries. This
//! module goes from the one to the other, and sorts what stores answer when they refuse.
//!
//! | URI | store | credentials |
//! |---|---|---|
//! | `dir/data`, `/abs/data`, `file:///abs/data` | this machine's files | |
//! | `s3://bucket/prefix` | S3 or anything that speaks it | `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`; web identity; container credentials; otherwise none for an own endpoint and the instance's for AWS |
//! | `gs://bucket/prefix` | Google Cloud Storage | `GOOGLE_APPLICATION_CREDENTIALS` or the instance's |
//! | `az://container/prefix` | Azure Blob Storage | `AZURE_STORAGE_ACCOUNT_NAME`, `AZURE_STORAGE_ACCOUNT_KEY`, ... |
//! | `https://host/object` | one object of a web server | |
//!
//! Requests are retried with jittered backoff for [`Patience::total`]; see [`Access`]. Certificate authorities are
//! Mozilla's, compiled in, so that TLS works in an image without any file; `caBundle` and `SSL_CERT_FILE` add to them.

mod address;
mod clients;
mod failure;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use coterie_crds::resolved;
use object_store::ObjectStore;
use object_store::path::Path;

pub use failure::failure;

use crate::DataError;
use address::Scheme;

/// A place in an object store: an object, a prefix of many, or a glob pattern.
#[derive(Clone, Debug)]
pub struct Location {
    /// The store.
    pub store: Arc<dyn ObjectStore>,
    /// The path inside the store.
    pub path: Path,
    /// The URI as the user wrote it, without secrets.
    pub uri: String,
}

impl Location {
    /// The URI of an object of this location's store.
    #[must_use]
    pub fn object_uri(&self, path: &Path) -> String {
        match address::parse(&self.uri) {
            Ok(address) => address.object_uri(path),
            Err(_) => format!("{}/{path}", self.uri.trim_end_matches('/')),
        }
    }

    /// The place with this relative path below here.
    #[must_use]
    pub fn child(&self, relative: &str) -> Self {
        let path =
            relative.split('/').filter(|part| !part.is_empty()).fold(self.path.clone(), |path, part| path.join(part));
        let uri = format!("{}/{}", self.uri.trim_end_matches('/'), relative.trim_matches('/'));
        Self { store: Arc::clone(&self.store), path, uri }
    }
}

/// How long a store is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// After this time no further attempt of one operation is begun.
    pub total: Duration,
    /// Longest wait for a connection.
    pub connect: Duration,
    /// Longest silence of the store within one attempt.
    pub silence: Duration,
    /// Longest duration of one attempt as a whole; attempts move at most about 8 MiB.
    pub attempt: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            total: Duration::from_secs(30),
            connect: Duration::from_secs(5),
            silence: Duration::from_secs(20),
            attempt: Duration::from_secs(120),
        }
    }
}

/// What the process brings along to open stores: the clouds' environment variables, and patience.
#[derive(Clone, Default)]
pub struct Access {
    /// Variables such as `AWS_ACCESS_KEY_ID`. Their values may be secret and are never printed.
    pub variables: BTreeMap<String, String>,
    /// Deadlines and retries.
    pub patience: Patience,
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Access")
            .field("variables", &self.variables.keys().collect::<Vec<_>>())
            .field("patience", &self.patience)
            .finish()
    }
}

impl Access {
    /// The variables of this process that clouds' own tools read, with the default patience.
    #[must_use]
    pub fn from_env() -> Self {
        let ours = |name: &str| {
            ["AWS_", "GOOGLE_", "AZURE_"].iter().any(|prefix| name.starts_with(prefix)) || name == "SSL_CERT_FILE"
        };
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .filter(|(name, value)| ours(name) && !value.is_empty())
            .collect();
        Self { variables, patience: Patience::default() }
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }
}

/// Opens the store behind a URI with the process's own environment. Nothing is asked of the store yet.
///
/// # Errors
/// [`DataError::Settings`] when the URI or the options cannot be used.
pub fn open(uri: &str, options: &resolved::Store) -> Result<Location, DataError> {
    open_with(uri, options, &Access::from_env())
}

/// Like [`open`], with given variables and deadlines.
///
/// # Errors
/// [`DataError::Settings`] when the URI or the options cannot be used.
pub fn open_with(uri: &str, options: &resolved::Store, access: &Access) -> Result<Location, DataError> {
    let address = address::parse(uri)?;
    let store: Arc<dyn ObjectStore> = match &address.scheme {
        Scheme::File => Arc::new(object_store::local::LocalFileSystem::new()),
        Scheme::S3 { bucket } => clients::s3(&address, bucket, options, access)?,
        Scheme::Google { bucket } => clients::google(&address, bucket, options, access)?,
        Scheme::Azure { container, account } => {
            clients::azure(&address, container, account.as_deref(), options, access)?
        }
        Scheme::Web { base } => clients::web(&address, base, options, access)?,
    };
    tracing::debug!(uri = address.uri, "opened store");
    Ok(Location { store, path: address.path, uri: address.uri })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(variables: &[(&str, &str)]) -> Access {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Access { variables, ..Access::default() }
    }

    #[test]
    fn every_scheme_opens_without_asking_the_store() {
        let options = resolved::Store::default();
        let azure = access(&[("AZURE_STORAGE_ACCOUNT_NAME", "acme")]);
        let own = access(&[("AWS_ENDPOINT_URL", "https://minio.example:9000")]);
        let keys = access(&[("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "secret")]);
        for (uri, access, store, path) in [
            ("/tmp/data", &Access::default(), "LocalFileSystem", "tmp/data"),
            ("s3://music/x/", &keys, "AmazonS3(music)", "x"),
            ("s3://music/x/", &own, "AmazonS3(music)", "x"),
            ("gs://music/x", &Access::default(), "GoogleCloudStorage(music)", "x"),
            ("az://box/x", &azure, "MicrosoftAzure { account: acme, container: box }", "x"),
            ("abfss://box@acme.dfs.core.windows.net/x", &Access::default(), "MicrosoftAzure { account: acme", "x"),
            ("https://host/a/b.npy", &Access::default(), "HttpStore", "a/b.npy"),
        ] {
            let location = open_with(uri, &options, access).unwrap();
            let name = location.store.to_string();
            assert!(name.starts_with(store), "{uri}: {name}");
            assert_eq!((location.path.as_ref(), location.uri.as_str()), (path, uri));
        }
    }

    #[test]
    fn missing_and_half_credentials_are_explained() {
        let options = resolved::Store::default();
        let error = open_with("az://box/x", &options, &Access::default()).unwrap_err().to_string();
        assert!(error.contains("Account must be specified"), "{error}");
        let half = access(&[("AWS_ACCESS_KEY_ID", "id")]);
        let error = open_with("s3://b/x", &options, &half).unwrap_err().to_string();
        assert!(error.contains("Missing SecretAccessKey") && error.contains("environment variables"), "{error}");
    }

    #[test]
    fn secrets_are_not_shown() {
        let access = access(&[("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "topsecret")]);
        let location = open_with("s3://b/x", &resolved::Store::default(), &access).unwrap();
        let shown = format!("{access:?} {location:?}");
        assert!(!shown.contains("topsecret"), "{shown}");
    }

    #[test]
    fn children_and_objects_have_uris() {
        let location = open("/tmp/models", &resolved::Store::default()).unwrap();
        let child = location.child("1/manifest.json");
        assert_eq!(
            (child.path.as_ref(), child.uri.as_str()),
            ("tmp/models/1/manifest.json", "/tmp/models/1/manifest.json")
        );
        assert_eq!(location.object_uri(&child.path), "/tmp/models/1/manifest.json");
    }
}
