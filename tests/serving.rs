//! A served model answers as the training code labels.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod support;

use std::{collections::BTreeSet, fs::File, path::Path};

use arrow::array::{AsArray, FixedSizeListArray};
use coterie_algorithms::kmeans;
use coterie_model::Model;
use object_store::local::LocalFileSystem;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};
use support::{Job, input, serve::Served};

/// The digits of the repository.
fn digits() -> Vec<Vec<f32>> {
    let file = File::open(support::root().join("examples/data/digits.parquet")).unwrap();
    let mut rows = Vec::new();
    for batch in ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap() {
        let batch = batch.unwrap();
        let pixels: &FixedSizeListArray = batch.column_by_name("pixels").unwrap().as_fixed_size_list();
        let values: &arrow::array::Float32Array = pixels.values().as_primitive();
        rows.extend(values.values().chunks(64).map(<[f32]>::to_vec));
    }
    rows
}

fn job(data: &Path, output: &Path, algorithm: &str, features: &str) -> Job {
    Job::new(&format!(
        "apiVersion: coterie.dev/v1alpha1\nkind: ClusteringJob\nmetadata: {{name: digits}}\nspec:\n  source: {{uri: {}, columns: {{id: id, \
         vector: vector}}}}\n  features: {features}\n  algorithm: {{kMeans: {algorithm}}}\n  output: {{uri: {}, assignments: true}}\n",
        data.display(),
        output.display()
    ))
}

/// A model trained on 797 digits labels the other 1,000 through the server as the training code does.
#[test]
fn held_out_digits_get_the_labels_of_the_training_code() {
    let rows = digits();
    assert_eq!(rows.len(), 1797);
    let (held_out, training) = rows.split_at(1000);
    let directory = support::directory();
    let (data, output) = (directory.path().join("train.parquet"), directory.path().join("model"));
    input::parquet(&data, 0, training, 300);
    job(&data, &output, "{clusters: 10}", "[{standardize: {}}, {pca: {components: 20}}]").run(&[
        "--quiet",
        "--output",
        output.to_str().unwrap(),
    ]);
    let served = Served::start(support::coterie().args(["serve", "--model", output.to_str().unwrap()]));

    // Training rows: the labels that the run itself wrote.
    let written = input::assignments(&output.join("assignments/v1"));
    assert_eq!(written.len(), 797);
    let labels = assign(&served, training);
    for (at, label) in labels.iter().enumerate() {
        assert_eq!(*label, written[&(at as i64)], "training row {at}");
    }

    // Held-out rows: the functions that a worker calls, and the plain definition in f64.
    let model = read(&output.join("models/v1"));
    let flat: Vec<f32> = held_out.iter().flatten().copied().collect();
    let mut transformed = Vec::new();
    model.pipeline.apply(&flat, &mut transformed);
    let mut expected = vec![0; held_out.len()];
    kmeans::assign(&model.centroids, &transformed, &mut expected);
    let labels = assign(&served, held_out);
    assert_eq!(labels, expected.iter().map(|label| *label as i32).collect::<Vec<_>>());
    let defined: Vec<i32> = transformed.chunks(model.centroids.dimension()).map(|row| nearest(&model, row)).collect();
    assert_eq!(labels, defined);
    assert_eq!(labels.iter().collect::<BTreeSet<_>>().len(), 10);

    // Alone as in a batch.
    for (row, label) in held_out.iter().zip(&labels).step_by(50) {
        let (code, one) = served.post("/v1/assign", &json!({ "vector": row }).to_string());
        assert_eq!((code, &one["modelVersion"]), (200, &json!("v1")), "{one}");
        assert_eq!(clusters(&one), vec![*label]);
    }
}

fn assign(served: &Served, rows: &[Vec<f32>]) -> Vec<i32> {
    let (code, answer) = served.post("/v1/assign", &json!({ "vectors": rows }).to_string());
    assert_eq!(code, 200, "{answer}");
    clusters(&answer)
}

fn clusters(answer: &Value) -> Vec<i32> {
    answer["assignments"].as_array().unwrap().iter().map(|found| found["cluster"].as_i64().unwrap() as i32).collect()
}

fn read(directory: &Path) -> Model {
    let store = LocalFileSystem::new();
    let path = object_store::path::Path::from_absolute_path(directory).unwrap();
    tokio::runtime::Runtime::new().unwrap().block_on(coterie_model::read(&store, &path)).unwrap()
}

fn nearest(model: &Model, row: &[f32]) -> i32 {
    let distance = |cluster: &usize| -> f64 {
        model.centroids.row(*cluster).iter().zip(row).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum()
    };
    (0..model.centroids.len()).min_by(|a, b| distance(a).total_cmp(&distance(b))).unwrap() as i32
}

#[test]
fn nonsense_is_answered_with_help() {
    let directory = support::directory();
    let output = directory.path().join("out");
    let job = Job::digits();
    job.run(&["--quiet", "--output", output.to_str().unwrap()]);
    let served = Served::start(support::coterie().args(["serve", "--model", output.to_str().unwrap()]));
    for (body, words) in [
        (json!({"vector": [1.0, 2.0]}).to_string(), vec!["2", "64"]),
        ("{\"vector\": [NaN]}".to_owned(), vec![]),
        (format!("{{\"vector\": [1e60{}]}}", ", 0".repeat(63)), vec!["0"]),
        ("{}".to_owned(), vec!["vector"]),
        ("[".to_owned(), vec![]),
    ] {
        let (code, answer) = served.post("/v1/assign", &body);
        assert_eq!(code, 400, "{body}: {answer}");
        let message = answer["error"].as_str().unwrap();
        for word in words {
            assert!(message.contains(word), "{word:?} in {message}");
        }
    }
    let (code, _) = served.post("/v1/nothing", "{}");
    assert_eq!(code, 404);
    let (code, metrics) = support::serve::request(served.http, "GET", "/metrics", None).unwrap();
    assert_eq!(code, 200);
    assert!(metrics.contains("coterie_"), "{metrics}");
}
