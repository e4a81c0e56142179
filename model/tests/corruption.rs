//! Damaged artefacts: always an error that names the file, never a panic, never a wrong model.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod fixture;

use coterie_model::{Model, ModelError, read, version_path, write};
use futures::FutureExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use proptest::prelude::*;
use serde_json::Value;
use std::sync::LazyLock;

const SEAL: usize = ",\n  \"manifestDigest\": \"blake3:\"\n}\n".len() + 64;

/// The two files of an intact version.
static INTACT: LazyLock<Files> = LazyLock::new(|| {
    let store = InMemory::new();
    let written = write(&store, &Path::default(), &fixture::model()).now_or_never().unwrap().unwrap();
    let get = |name: &str| {
        let path = written.path.clone().join(name);
        async { store.get(&path).await.unwrap().bytes().await.unwrap().to_vec() }.now_or_never().unwrap()
    };
    Files { manifest: get("manifest.json"), tensors: get("tensors.safetensors") }
});

#[derive(Clone)]
struct Files {
    manifest: Vec<u8>,
    tensors: Vec<u8>,
}

impl Files {
    /// Reads the version these files make.
    fn read(&self) -> Result<Model, ModelError> {
        let store = InMemory::new();
        let path = version_path(&Path::default(), "v1");
        async {
            for (name, bytes) in [("manifest.json", &self.manifest), ("tensors.safetensors", &self.tensors)] {
                store.put(&path.clone().join(name), bytes.clone().into()).await.unwrap();
            }
            read(&store as &dyn ObjectStore, &path).await
        }
        .now_or_never()
        .expect("memory does not wait")
    }

    /// Makes the digests fit again, so that what follows them is reached.
    fn seal(&mut self) {
        if let Ok(mut manifest) = serde_json::from_slice::<Value>(&self.manifest)
            && let Some(tensors) = manifest.pointer_mut("/files/tensors")
        {
            tensors["size"] = self.tensors.len().into();
            tensors["digest"] = format!("blake3:{}", blake3::hash(&self.tensors).to_hex()).into();
            self.manifest = sealed(manifest);
        }
    }
}

/// The bytes of a manifest with these fields.
fn sealed(mut manifest: Value) -> Vec<u8> {
    if let Some(fields) = manifest.as_object_mut() {
        fields.remove("manifestDigest");
    }
    let text = serde_json::to_string_pretty(&manifest).unwrap();
    resealed(text.trim_end_matches('}').trim_end().as_bytes())
}

fn resealed(body: &[u8]) -> Vec<u8> {
    let seal = format!(",\n  \"manifestDigest\": \"blake3:{}\"\n}}\n", blake3::hash(body).to_hex());
    [body, seal.as_bytes()].concat()
}

fn chain(error: &ModelError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[derive(Clone, Debug)]
enum Damage {
    Flip(prop::sample::Index, u8),
    Set(prop::sample::Index, u8),
    Truncate(prop::sample::Index),
    Insert(prop::sample::Index, Vec<u8>),
    Remove(prop::sample::Index, usize),
    Replace(Vec<u8>),
}

fn damage() -> impl Strategy<Value = Damage> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        (index(), 0u8..8).prop_map(|(at, bit)| Damage::Flip(at, bit)),
        (index(), any::<u8>()).prop_map(|(at, byte)| Damage::Set(at, byte)),
        (index(), prop::sample::select(b"0123456789eE-+.\"{}[],:".to_vec()))
            .prop_map(|(at, byte)| Damage::Set(at, byte)),
        index().prop_map(Damage::Truncate),
        (index(), prop::collection::vec(any::<u8>(), 1..20)).prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
        (index(), 1usize..40).prop_map(|(at, count)| Damage::Remove(at, count)),
        prop::collection::vec(any::<u8>(), 0..200).prop_map(Damage::Replace),
    ]
}

fn apply(damage: &Damage, bytes: &mut Vec<u8>) {
    match damage {
        Damage::Flip(at, bit) => {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
        }
        Damage::Set(at, byte) => {
            let at = at.index(bytes.len());
            bytes[at] = *byte;
        }
        Damage::Truncate(at) => bytes.truncate(at.index(bytes.len())),
        Damage::Insert(at, more) => {
            let at = at.index(bytes.len());
            bytes.splice(at..at, more.iter().copied());
        }
        Damage::Remove(at, count) => {
            let at = at.index(bytes.len());
            let end = (at + count).min(bytes.len());
            bytes.drain(at..end);
        }
        Damage::Replace(with) => bytes.clone_from(with),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_change_to_any_byte_is_refused(manifest in any::<bool>(), damage in damage()) {
        let mut files = INTACT.clone();
        let (file, name) = if manifest {
            (&mut files.manifest, "manifest.json")
        } else {
            (&mut files.tensors, "tensors.safetensors")
        };
        let before = file.clone();
        apply(&damage, file);
        prop_assume!(*file != before);
        match files.read() {
            Ok(_) => prop_assert!(false, "accepted {damage:?}"),
            Err(error) => {
                prop_assert_eq!(error.exit_code(), 65);
                prop_assert!(error.to_string().starts_with(&format!("models/v1/{name}")), "{}", error);
            }
        }
    }

    #[test]
    fn damage_behind_fitting_digests_never_panics(
        tensors in prop::collection::vec(damage(), 0..3),
        manifest in prop::collection::vec(damage(), 0..3),
    ) {
        let mut files = INTACT.clone();
        for damage in &tensors {
            if !files.tensors.is_empty() {
                apply(damage, &mut files.tensors);
            }
        }
        files.seal();
        let body = files.manifest.len() - SEAL;
        let mut body = files.manifest[..body].to_vec();
        for damage in &manifest {
            if !body.is_empty() {
                apply(damage, &mut body);
            }
        }
        files.manifest = resealed(&body);
        if let Ok(model) = files.read() {
            // Only what the model digest does not cover can have changed.
            prop_assert_eq!(coterie_model::digest(&model), coterie_model::digest(&fixture::model()));
        }
    }
}

/// Edits the intact manifest, seals it again and reads.
fn edited(pointer: &str, value: Value) -> String {
    let mut files = INTACT.clone();
    let mut manifest: Value = serde_json::from_slice(&files.manifest).unwrap();
    *manifest.pointer_mut(pointer).expect(pointer) = value;
    files.manifest = sealed(manifest);
    chain(&files.read().expect_err(pointer))
}

#[test]
fn hostile_manifests_are_refused_with_the_reason() {
    let huge = u64::MAX;
    let cases: Vec<(&str, Value, &str)> = vec![
        (
            "/formatVersion",
            2.into(),
            "models/v1/manifest.json has format version 2, but this program reads versions up to 1; upgrade it",
        ),
        ("/nClusters", huge.into(), "tensor centroids has shape [3, 2], expected [18446744073709551615, 2]"),
        ("/nClusters", 0.into(), "tensor centroids has shape [3, 2], expected [0, 2]"),
        ("/inputDimension", huge.into(), "tensor pipeline.0.mean has shape [4], expected [18446744073709551615]"),
        ("/dimension", 3.into(), "tensor centroids has shape [3, 2], expected [3, 3]"),
        ("/pipeline", vec!["L2Normalize"; 10_000].into(), "tensor centroids has shape [3, 2], expected [3, 4]"),
        ("/pipeline", vec!["Pca"; 10_000].into(), "tensor pipeline.0.explained_variance is missing"),
        ("/pipeline", vec!["Whiten"].into(), "unknown variant `Whiten`"),
        ("/metric", "Manhattan".into(), "unknown variant `Manhattan`"),
        ("/metric", "Jaccard".into(), "the metric is Jaccard, but the pipeline has 5 steps, expected none"),
        (
            "/files/tensors/size",
            huge.into(),
            "models/v1/tensors.safetensors has 18446744073709551615 bytes, more than the 4294967296 allowed",
        ),
        ("/files/tensors/size", 8.into(), "bytes, expected 8; it is truncated or was replaced"),
        (
            "/files/tensors/name",
            "other.safetensors".into(),
            "models/v1/other.safetensors is missing although the manifest names it",
        ),
        ("/files/tensors/name", "../../../../etc/passwd".into(), "is missing although the manifest names it"),
        ("/files/tensors/digest", "blake3:00".into(), "expected blake3:00; it is damaged or was edited"),
        ("/modelDigest", "blake3:00".into(), "the manifest says blake3:00"),
        ("/training/seed", 1.into(), "the manifest says blake3:"),
        ("/version", "latest".into(), "version \"latest\" is not of the form v1, v2, ..."),
        ("/featureNames", Value::Array(vec![]), "0 feature names for an input dimension of 4"),
        ("/clusters", Value::Array(vec![]), "statistics of 0 clusters for 3 centroids"),
        ("/clusters/0/size", (-1).into(), "invalid value: integer `-1`, expected u64"),
    ];
    for (pointer, value, expected) in cases {
        let text = edited(pointer, value);
        assert!(text.contains(expected), "{pointer}: {text}");
    }
}

#[test]
fn tensors_of_another_type_or_value_are_refused() {
    let header = u64::from_le_bytes(INTACT.tensors[..8].try_into().unwrap()) as usize + 8;
    let mut files = INTACT.clone();
    files.tensors[header..header + 4].copy_from_slice(&f32::INFINITY.to_le_bytes());
    files.seal();
    let text = chain(&files.read().unwrap_err());
    assert_eq!(
        text,
        "models/v1/tensors.safetensors does not describe a usable model; train again, and report it if the file was not \
         edited: tensor centroids is not finite at position 0"
    );
    let mut files = INTACT.clone();
    let text = String::from_utf8_lossy(&files.tensors[8..header]).replacen("F32", "U32", 1);
    files.tensors.splice(8..header, text.bytes());
    files.seal();
    assert!(chain(&files.read().unwrap_err()).contains("holds U32, expected F32"));
}

#[tokio::test]
async fn an_oversized_manifest_is_refused_before_it_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let store = object_store::local::LocalFileSystem::new_with_prefix(directory.path()).unwrap();
    std::fs::create_dir_all(directory.path().join("models/v1")).unwrap();
    let file = std::fs::File::create(directory.path().join("models/v1/manifest.json")).unwrap();
    file.set_len(1 << 40).unwrap();
    let error = read(&store, &version_path(&Path::default(), "v1")).await.unwrap_err();
    assert!(matches!(error, ModelError::TooLarge { size: 0x100_0000_0000, .. }), "{error:?}");
}
