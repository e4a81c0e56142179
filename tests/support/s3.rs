//! A real S3 server with something in it.

#[path = "../../data/tests/support/weed.rs"]
mod weed;

use futures::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload, aws::AmazonS3Builder, path::Path};

/// A running server and a client of it that is not the code under test's.
pub struct Server {
    weed: weed::Weed,
    runtime: tokio::runtime::Runtime,
}

impl Server {
    /// Starts a server with the buckets `vectors` and `models`.
    pub fn start() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let server = Self { weed: weed::Weed::start(), runtime: tokio::runtime::Runtime::new().unwrap() };
        for bucket in ["vectors", "models"] {
            server.put(bucket, "_made", b"");
        }
        server
    }

    pub fn endpoint(&self) -> String {
        self.weed.endpoint.clone()
    }

    /// Key and secret of the identity that may do everything.
    pub fn credentials(&self) -> (&'static str, &'static str) {
        (weed::ADMIN.id, weed::ADMIN.secret)
    }

    /// Key and secret of the identity that may not use these buckets.
    pub fn outsider(&self) -> (&'static str, &'static str) {
        (weed::NOBODY.id, weed::NOBODY.secret)
    }

    pub fn put(&self, bucket: &str, key: &str, bytes: &[u8]) {
        let store = self.bucket(bucket);
        let payload = PutPayload::from(bytes.to_vec());
        self.runtime.block_on(store.put(&Path::from(key), payload)).unwrap();
    }

    /// Names of all objects of a bucket, but for hidden ones.
    pub fn list(&self, bucket: &str) -> Vec<String> {
        let store = self.bucket(bucket);
        let listed: Vec<_> = self.runtime.block_on(store.list(None).try_collect()).unwrap();
        let names = listed.into_iter().map(|object| object.location.to_string());
        names.filter(|name| !name.starts_with('_')).collect()
    }

    fn bucket(&self, bucket: &str) -> impl ObjectStore {
        AmazonS3Builder::new()
            .with_endpoint(self.endpoint())
            .with_allow_http(true)
            .with_region("us-east-1")
            .with_bucket_name(bucket)
            .with_access_key_id(weed::ADMIN.id)
            .with_secret_access_key(weed::ADMIN.secret)
            .build()
            .unwrap()
    }
}
