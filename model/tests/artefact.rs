//! Publishing and loading: versions are whole or absent, and never change.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod fixture;

use coterie_algorithms::features::Pipeline;
use coterie_algorithms::kmeans::Centroids;
use coterie_algorithms::members::Members;
use coterie_algorithms::metric::Metric;
use coterie_model::{
    DistancePercentiles, Model, ModelError, digest, locate, next_version, published_digest, read, remove, version_path,
    versions, write,
};
use futures::{StreamExt, TryStreamExt};
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

/// What is changed, and how.
type Change = (&'static str, fn(&mut Model));

/// The fixture as `version`, with centroids told apart by `mark`.
fn model(version: &str, mark: f32) -> Model {
    let mut model = fixture::model();
    model.version = version.to_owned();
    let mut values = model.centroids.values().to_vec();
    values[0] = mark;
    model.centroids = Centroids::new(2, values);
    model
}

async fn names(store: &dyn ObjectStore) -> Vec<String> {
    let mut names: Vec<String> =
        store.list(None).map_ok(|object| object.location.to_string()).try_collect().await.unwrap();
    names.sort();
    names
}

#[tokio::test]
async fn what_was_written_is_read_back() {
    let directory = tempfile::tempdir().unwrap();
    let local = LocalFileSystem::new_with_prefix(directory.path()).unwrap();
    let stores: [&dyn ObjectStore; 2] = [&InMemory::new(), &local];
    for store in stores {
        let output = Path::from("songs/out");
        let mut model = fixture::model();
        model.clusters[0].distance_percentiles = Some(DistancePercentiles { p50: 0.1, p90: 0.2, p95: 0.25, p99: 0.3 });
        let written = write(store, &output, &model).await.unwrap();
        assert_eq!(written.path, Path::from("songs/out/models/v1"));
        assert_eq!(written.version, "v1");
        assert_eq!(written.digest, digest(&model));
        assert_eq!(
            names(store).await,
            ["songs/out/models/v1/manifest.json", "songs/out/models/v1/tensors.safetensors"]
        );
        let loaded = read(store, &written.path).await.unwrap();
        fixture::assert_same(&loaded, &model);
        assert_eq!(digest(&loaded), written.digest);
        assert_eq!(published_digest(store, &written.path).await.unwrap(), Some(written.digest));
    }
}

#[tokio::test]
async fn a_removed_version_is_gone_and_the_others_stay() {
    let directory = tempfile::tempdir().unwrap();
    let local = LocalFileSystem::new_with_prefix(directory.path()).unwrap();
    let stores: [&dyn ObjectStore; 2] = [&InMemory::new(), &local];
    for store in stores {
        let output = Path::from("out");
        for version in ["v1", "v10"] {
            write(store, &output, &model(version, 1.0)).await.unwrap();
        }
        for _ in 0..2 {
            remove(store, &output, "v1").await.unwrap();
            assert_eq!(versions(store, &output).await.unwrap(), ["v10"]);
            assert_eq!(names(store).await, ["out/models/v10/manifest.json", "out/models/v10/tensors.safetensors"]);
        }
        // The number is not given again.
        assert_eq!(next_version(store, &output).await.unwrap(), "v11");
    }
}

#[tokio::test]
async fn the_manifest_says_what_is_needed_to_reproduce_the_model() {
    let store = InMemory::new();
    let written = write(&store, &Path::default(), &fixture::model()).await.unwrap();
    let file = written.path.clone().join("manifest.json");
    let bytes = store.get(&file).await.unwrap().bytes().await.unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(manifest["formatVersion"], 1);
    assert_eq!(manifest["modelDigest"], written.digest);
    assert_eq!(manifest["metric"], "Euclidean");
    assert_eq!(manifest["pipeline"], serde_json::json!(["Standardize", "MinMax", "L2Normalize", "Pca", "Center"]));
    assert_eq!(manifest["training"]["seed"], u64::MAX);
    assert_eq!(manifest["training"]["input"]["objects"][0]["eTag"], "\"abc\"");
    assert_eq!(manifest["training"]["spec"]["workers"], 4);
    assert_eq!(manifest["clusters"][0]["exemplars"], serde_json::json!([3, 11]));
    let tensors = written.path.join("tensors.safetensors");
    let tensors = store.get(&tensors).await.unwrap().bytes().await.unwrap();
    assert_eq!(manifest["files"]["tensors"]["size"], tensors.len());
    let hash = format!("blake3:{}", blake3::hash(&tensors).to_hex());
    assert_eq!(manifest["files"]["tensors"]["digest"], hash);
}

#[tokio::test]
async fn a_published_version_is_left_untouched() {
    let store = InMemory::new();
    let output = Path::from("out");
    let written = write(&store, &output, &model("v1", 1.0)).await.unwrap();
    let error = write(&store, &output, &model("v1", 2.0)).await.unwrap_err();
    assert!(matches!(error, ModelError::AlreadyExists { .. }), "{error:?}");
    assert_eq!(
        error.to_string(),
        "model version out/models/v1 exists already and versions never change; write the next version, or choose \
         another output"
    );
    assert_eq!(error.exit_code(), 64);
    assert_eq!(names(&store).await.len(), 2);
    fixture::assert_same(&read(&store, &written.path).await.unwrap(), &model("v1", 1.0));
}

#[tokio::test]
async fn versions_are_listed_by_number_and_only_when_complete() {
    let store = InMemory::new();
    let output = Path::from("out");
    assert_eq!(versions(&store, &output).await.unwrap(), Vec::<String>::new());
    assert_eq!(next_version(&store, &output).await.unwrap(), "v1");
    for version in ["v2", "v10", "v1"] {
        write(&store, &output, &model(version, 1.0)).await.unwrap();
    }
    for stray in
        ["out/models/v11/tensors.safetensors", "out/models/latest/manifest.json", "out/models/v12/x/manifest.json"]
    {
        store.put(&Path::from(stray), "{}".into()).await.unwrap();
    }
    assert_eq!(versions(&store, &output).await.unwrap(), ["v1", "v2", "v10"]);
    assert_eq!(next_version(&store, &output).await.unwrap(), "v11");
    assert_eq!(versions(&store, &Path::from("ou")).await.unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn a_path_means_a_version_or_the_newest_of_an_output() {
    let store = InMemory::new();
    let output = Path::from("out");
    for version in ["v9", "v10"] {
        write(&store, &output, &model(version, 1.0)).await.unwrap();
    }
    let newest = version_path(&output, "v10");
    assert_eq!(locate(&store, &output).await.unwrap(), newest);
    assert_eq!(locate(&store, &version_path(&output, "v9")).await.unwrap(), version_path(&output, "v9"));
    let error = locate(&store, &Path::from("elsewhere")).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "no model at elsewhere: elsewhere/manifest.json does not exist; give the directory of a version \
         (.../models/v1) or the output that holds models/"
    );
    let error = read(&store, &output).await.unwrap_err();
    assert!(matches!(error, ModelError::NotFound { .. }), "{error:?}");
    assert_eq!(published_digest(&store, &output).await.unwrap(), None);
}

#[tokio::test]
async fn a_half_written_version_is_absent_and_may_be_completed() {
    let output = Path::from("out");
    let complete = InMemory::new();
    write(&complete, &output, &model("v1", 1.0)).await.unwrap();
    let tensors = Path::from("out/models/v1/tensors.safetensors");
    let whole = complete.get(&tensors).await.unwrap().bytes().await.unwrap();
    let leftovers = [
        ("the same tensors", whole.clone()),
        ("other tensors", {
            let other = InMemory::new();
            write(&other, &output, &model("v1", 2.0)).await.unwrap();
            other.get(&tensors).await.unwrap().bytes().await.unwrap()
        }),
        ("truncated tensors", whole.slice(..20)),
        ("longer tensors", [&whole[..], b"more"].concat().into()),
        ("nothing", "".into()),
    ];
    for (what, leftover) in leftovers {
        let store = InMemory::new();
        store.put(&tensors, leftover.into()).await.unwrap();
        assert_eq!(versions(&store, &output).await.unwrap(), Vec::<String>::new(), "{what}");
        assert!(matches!(read(&store, &version_path(&output, "v1")).await, Err(ModelError::NotFound { .. })));
        for attempt in ["first", "repeated"] {
            let result = write(&store, &output, &model("v1", 1.0)).await;
            match attempt {
                "first" => drop(result.expect(what)),
                _ => assert!(matches!(result, Err(ModelError::AlreadyExists { .. }))),
            }
            fixture::assert_same(&read(&store, &version_path(&output, "v1")).await.expect(what), &model("v1", 1.0));
        }
    }
}

#[tokio::test]
async fn a_writer_that_dies_anywhere_leaves_a_version_whole_or_absent() {
    let output = Path::from("out");
    let mut outcomes = Vec::new();
    for operations in 0.. {
        let store = faulty::Faulty::new(operations);
        let first = write(&store, &output, &model("v1", 1.0)).await;
        store.heal();
        let listed = versions(&store, &output).await.unwrap();
        assert_eq!(first.is_ok(), !listed.is_empty(), "after {operations} operations");
        if let Err(error) = &first {
            assert_eq!(error.exit_code(), 75, "{error:?}");
            write(&store, &output, &model("v1", 2.0)).await.unwrap();
        }
        let mark = if first.is_ok() { 1.0 } else { 2.0 };
        fixture::assert_same(&read(&store, &version_path(&output, "v1")).await.unwrap(), &model("v1", mark));
        outcomes.push(first.is_ok());
        if first.is_ok() {
            break;
        }
    }
    assert!(outcomes.len() >= 3, "head, tensors and manifest fail in turn: {outcomes:?}");
}

#[tokio::test]
async fn of_racing_writers_one_wins_and_its_model_is_intact() {
    let output = Path::from("out");
    for seed in 0..200 {
        let store = faulty::Faulty::interleaving(seed);
        let marks = [1.0, 2.0, 3.0];
        let results = futures::stream::iter(marks)
            .map(|mark| {
                let (store, output) = (&store, &output);
                async move { (mark, write(store, output, &model("v1", mark)).await) }
            })
            .buffer_unordered(3)
            .collect::<Vec<_>>()
            .await;
        let winners: Vec<f32> = results.iter().filter(|(_, result)| result.is_ok()).map(|(mark, _)| *mark).collect();
        assert_eq!(winners.len(), 1, "seed {seed}: {results:?}");
        for (_, result) in &results {
            assert!(matches!(result, Ok(_) | Err(ModelError::AlreadyExists { .. })), "seed {seed}: {result:?}");
        }
        let loaded = read(&store, &version_path(&output, "v1")).await.unwrap();
        fixture::assert_same(&loaded, &model("v1", winners[0]));
    }
}

#[tokio::test]
async fn a_model_of_sets_tells_what_their_members_are() {
    for members in [None, Some(Members::Integers), Some(Members::Texts)] {
        let store = InMemory::new();
        let mut sets = fixture::model();
        (sets.metric, sets.pipeline, sets.members) = (Metric::Jaccard, Pipeline::new(2), members);
        sets.feature_names.truncate(2);
        sets.centroids = Centroids::new(2, vec![0.5; 6]);
        let written = write(&store, &Path::from("out"), &sets).await.unwrap();
        fixture::assert_same(&read(&store, &written.path).await.unwrap(), &sets);
    }
}

#[tokio::test]
async fn a_put_whose_answer_was_lost_still_succeeds() {
    let store = faulty::Faulty::losing_answers();
    let written = write(&store, &Path::from("out"), &fixture::model()).await.unwrap();
    fixture::assert_same(&read(&store, &written.path).await.unwrap(), &fixture::model());
}

#[tokio::test]
async fn a_model_that_breaks_a_rule_is_not_written() {
    let cases: [Change; 13] = [
        ("version \"v0\" is not of the form v1, v2, ...", |m| m.version = "v0".to_owned()),
        ("version \"../v1\" is not of the form v1, v2, ...", |m| m.version = "../v1".to_owned()),
        ("the model's name must have 1 to 253 bytes, it has 0", |m| m.name.clear()),
        ("3 feature names for an input dimension of 4", |m| drop(m.feature_names.pop())),
        ("statistics of 2 clusters for 3 centroids", |m| drop(m.clusters.pop())),
        ("tensor centroids has shape [2, 3], expected [2, 2]", |m| {
            m.centroids = Centroids::new(3, m.centroids.values().to_vec());
        }),
        ("tensor centroids is not finite at position 4", |m| {
            let mut values = m.centroids.values().to_vec();
            values[4] = f32::NAN;
            m.centroids = Centroids::new(2, values);
        }),
        ("tensor pipeline.0.deviation must be positive, position 1 is not", |m| {
            if let coterie_algorithms::features::Transform::Standardize { deviation, .. } =
                &mut m.pipeline.transforms[0]
            {
                deviation[1] = 0.0;
            }
        }),
        ("the metric is Jaccard, but the pipeline has 5 steps, expected none", |m| m.metric = Metric::Jaccard),
        ("tensor centroids must hold shares from 0 to 1 for the metric Jaccard, position 2 does not", |m| {
            (m.metric, m.pipeline) = (Metric::Jaccard, Pipeline::new(2));
        }),
        ("members of sets are recorded, but the metric is not Jaccard", |m| m.members = Some(Members::Texts)),
        ("inertia is not a finite number", |m| m.training.metrics.inertia = f64::INFINITY),
        ("a statistic of cluster 1 is not a finite number", |m| m.clusters[1].radius = f64::NAN),
    ];
    for (expected, change) in cases {
        let store = InMemory::new();
        let mut model = fixture::model();
        change(&mut model);
        let error = write(&store, &Path::from("out"), &model).await.unwrap_err();
        let source = std::error::Error::source(&error).expect(expected).to_string();
        assert_eq!(source, expected);
        assert_eq!(names(&store).await, Vec::<String>::new());
    }
}

mod faulty {
    //! A store that fails, yields or loses answers on demand.

    use async_trait::async_trait;
    use futures::stream::BoxStream;
    use object_store::memory::InMemory;
    use object_store::path::Path;
    use object_store::{
        CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
        PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
    };
    use std::sync::atomic::{AtomicU64, Ordering};

    #[derive(Debug)]
    pub(crate) struct Faulty {
        inner: InMemory,
        /// Operations that still succeed.
        left: AtomicU64,
        /// State of the generator that says how often to yield; 0 never yields.
        seed: AtomicU64,
        loses_answers: bool,
    }

    impl Faulty {
        pub(crate) fn new(operations: u64) -> Self {
            Self { inner: InMemory::new(), left: operations.into(), seed: 0.into(), loses_answers: false }
        }

        pub(crate) fn interleaving(seed: u64) -> Self {
            Self { seed: (seed * 2 + 1).into(), ..Self::new(u64::MAX) }
        }

        pub(crate) fn losing_answers() -> Self {
            Self { loses_answers: true, ..Self::new(u64::MAX) }
        }

        pub(crate) fn heal(&self) {
            self.left.store(u64::MAX, Ordering::SeqCst);
        }

        async fn step(&self) -> Result<()> {
            let seed = self.seed.load(Ordering::SeqCst);
            if seed != 0 {
                let next = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                self.seed.store(next, Ordering::SeqCst);
                for _ in 0..next >> 61 {
                    tokio::task::yield_now().await;
                }
            }
            let spent = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
            match spent {
                Ok(_) => Ok(()),
                Err(_) => Err(Error::Generic { store: "faulty", source: "connection reset".into() }),
            }
        }
    }

    impl std::fmt::Display for Faulty {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("faulty")
        }
    }

    #[async_trait]
    impl ObjectStore for Faulty {
        async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
            self.step().await?;
            let result = self.inner.put_opts(location, payload.clone(), opts.clone()).await;
            if self.loses_answers && result.is_ok() {
                return self.inner.put_opts(location, payload, opts).await;
            }
            result
        }

        async fn put_multipart_opts(
            &self,
            location: &Path,
            opts: PutMultipartOptions,
        ) -> Result<Box<dyn MultipartUpload>> {
            self.inner.put_multipart_opts(location, opts).await
        }

        async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
            self.step().await?;
            self.inner.get_opts(location, options).await
        }

        fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
            self.inner.delete_stream(locations)
        }

        fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
            self.inner.list(prefix)
        }

        async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
            self.inner.list_with_delimiter(prefix).await
        }

        async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
            self.inner.copy_opts(from, to, options).await
        }
    }
}
