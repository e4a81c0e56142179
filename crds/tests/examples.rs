//! Every job of `examples/` is valid, and what it names beside it is there.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    fs,
    path::{Path, PathBuf},
};

use coterie_crds::{names::condition, parse, validate};
use serde::Deserialize as _;
use serde_json::Value;

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples")
}

/// The YAML files of a folder and the folders below it.
fn yaml_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = entries
        .flat_map(|path| if path.is_dir() { yaml_files(&path) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    files.sort();
    files
}

fn has_job(text: &str) -> bool {
    let documents = serde_yaml::Deserializer::from_str(text).map(|document| Value::deserialize(document).unwrap());
    documents.into_iter().any(|document| document["kind"] == "ClusteringJob")
}

#[test]
fn every_example_is_valid() {
    let mut checked = Vec::new();
    for path in yaml_files(&examples()) {
        let text = fs::read_to_string(&path).unwrap();
        if !has_job(&text) {
            continue;
        }
        let job = validate(&text)
            .unwrap_or_else(|violations| panic!("{}: {violations:#?}", path.display()))
            .rebased(path.parent().unwrap());
        if !job.source.uri.contains("://") {
            assert!(Path::new(&job.source.uri).is_file(), "{}: {} is missing", path.display(), job.source.uri);
        }
        checked.push(path.file_stem().unwrap().to_string_lossy().into_owned());
    }
    for expected in
        ["canary", "digits", "digits-cluster", "geo", "kueue", "lsh", "scheduled", "sets", "sharded", "songs-s3"]
    {
        assert!(checked.iter().any(|name| name == expected), "{expected} is not among {checked:?}");
    }
}

#[test]
fn digits_are_the_same_job_here_and_on_a_cluster() {
    let job = |name: &str| validate(&fs::read_to_string(examples().join(name)).unwrap()).unwrap();
    let (here, cluster) = (job("digits.yaml"), job("digits-cluster.yaml"));
    assert_eq!(cluster.name, here.name);
    assert_eq!(cluster.source.columns, here.source.columns);
    assert_eq!(cluster.features, here.features);
    assert_eq!(cluster.metric, here.metric);
    assert_eq!(cluster.algorithm, here.algorithm);
    assert_eq!(cluster.seed, here.seed);
}

#[test]
fn the_health_check_is_the_same_in_both_files_and_knows_our_conditions() {
    let folder = examples().join("gitops/argocd");
    let script = fs::read_to_string(folder.join("health.lua")).unwrap();
    let config: Value = serde_yaml::from_str(&fs::read_to_string(folder.join("argocd-cm.yaml")).unwrap()).unwrap();
    assert_eq!(config["data"]["resource.customizations.health.coterie.dev_ClusteringJob"], script);
    for kind in [condition::STALLED, condition::SUSPENDED, condition::READY, condition::RECONCILING] {
        assert!(script.contains(&format!("condition(\"{kind}\")")), "{kind}");
    }
    let table: Value = serde_yaml::from_str(&fs::read_to_string(folder.join("health_test.yaml")).unwrap()).unwrap();
    for test in table["tests"].as_array().unwrap() {
        let input = fs::read_to_string(folder.join(test["inputPath"].as_str().unwrap())).unwrap();
        // A status of another shape than the operator's would test nothing.
        let job = parse(&input).unwrap();
        assert!(job.status.is_some(), "{}", test["inputPath"]);
    }
}
