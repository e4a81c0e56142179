//! What cannot work is refused: an exit code, one paragraph with the place and the remedy, no panic, nothing half-written.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod support;

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Output,
    sync::Arc,
};

use arrow::{
    array::{
        Array, ArrayRef, FixedSizeListArray, Float32Array, Float64Array, Int64Array, ListArray, RecordBatch,
        StringArray, types::Float32Type,
    },
    datatypes::{DataType, Field},
};
use parquet::arrow::ArrowWriter;
use support::{Job, coterie, directory, input, output, s3::Server, stderr};
use tempfile::TempDir;

/// A directory with one data file and the manifest over it.
struct Case {
    directory: TempDir,
    columns: String,
    clusters: String,
    extra: String,
}

impl Case {
    fn new() -> Self {
        Self { directory: directory(), columns: "{vector: vector}".into(), clusters: "2".into(), extra: String::new() }
    }

    fn columns(mut self, columns: &str) -> Self {
        self.columns = columns.into();
        self
    }

    fn clusters(mut self, clusters: &str) -> Self {
        self.clusters = clusters.into();
        self
    }

    fn extra(mut self, extra: &str) -> Self {
        self.extra = extra.into();
        self
    }

    fn bytes(self, name: &str, bytes: impl AsRef<[u8]>) -> Self {
        fs::write(self.path(name), bytes).unwrap();
        self
    }

    fn table(self, name: &str, columns: Vec<(&str, ArrayRef)>) -> Self {
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let mut writer = ArrowWriter::try_new(File::create(self.path(name)).unwrap(), batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        self
    }

    fn vectors(self, rows: &[[f32; 2]]) -> Self {
        self.table("data.parquet", vec![("vector", vectors(rows))])
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn manifest(&self) -> String {
        format!(
            "apiVersion: coterie.dev/v1alpha1\nkind: ClusteringJob\nmetadata: {{name: bad}}\nspec:\n  source:\n    uri: {}\n    columns: {}\n  \
             algorithm: {{kMeans: {{clusters: {}}}}}\n{}",
            self.directory.path().display(),
            self.columns,
            self.clusters,
            self.extra
        )
    }

    /// The run must end with the code and say all of the words.
    fn refused(&self, code: i32, words: &[&str]) {
        self.refused_with(&[], code, words);
    }

    fn refused_with(&self, arguments: &[&str], code: i32, words: &[&str]) {
        let job = Job::new(&self.manifest());
        let output = output(&mut job.command(&[&["--workers", "2", "--quiet"], arguments].concat()));
        refused(&output, code, words);
        assert_eq!(published(&job.directory.path().join("out")), Vec::<PathBuf>::new(), "half-written output");
        assert!(!job.summary_path().exists(), "a summary of a failed run");
    }
}

/// Files of models and assignments below an output.
fn published(output: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for kind in ["models", "assignments"] {
        let mut open = vec![output.join(kind)];
        while let Some(path) = open.pop() {
            if path.is_file() {
                found.push(path);
            } else if let Ok(entries) = fs::read_dir(&path) {
                open.extend(entries.flatten().map(|entry| entry.path()));
            }
        }
    }
    found
}

fn refused(output: &Output, code: i32, words: &[&str]) {
    let text = stderr(output);
    assert_eq!(output.status.code(), Some(code), "{text}");
    assert!(!text.contains("panicked"), "{text}");
    let errors: Vec<&str> = text.split("\n").filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(errors.len(), 1, "one error: {text}");
    for word in words {
        assert!(text.contains(word), "{word:?} is missing in: {text}");
    }
    assert!(errors[0].len() < 1_000, "not a paragraph: {text}");
}

fn vectors(rows: &[[f32; 2]]) -> ArrayRef {
    let values = Float32Array::from_iter_values(rows.iter().flatten().copied());
    Arc::new(FixedSizeListArray::new(Arc::new(Field::new("item", DataType::Float32, true)), 2, Arc::new(values), None))
}

const GOOD: [[f32; 2]; 4] = [[0.0, 0.0], [0.5, 0.0], [9.0, 9.0], [9.5, 9.0]];

fn good() -> Case {
    Case::new().vectors(&GOOD)
}

#[test]
fn the_good_case_that_all_others_spoil_works() {
    let case = good();
    let summary = Job::new(&case.manifest()).run(&["--workers", "2", "--quiet"]);
    assert_eq!(summary["rowsRead"], 4);
    assert_eq!(summary["inertia"], 0.25);
}

#[test]
fn what_an_unfinished_run_left_does_not_mix_with_the_next() {
    let case = good();
    let job = Job::new(&case.manifest());
    let output = job.directory.path().join("out");
    let stale = output.join("assignments/v1/part-00099.parquet");
    fs::create_dir_all(stale.parent().unwrap()).unwrap();
    fs::write(&stale, "of another run").unwrap();
    job.run(&["--quiet"]);
    assert!(!stale.exists());
}

#[test]
fn damaged_parquet() {
    let bytes = fs::read(good().path("data.parquet")).unwrap();
    Case::new().bytes("data.parquet", &bytes[..bytes.len() / 2]).refused(65, &["data.parquet"]);
    Case::new().bytes("data.parquet", "id,vector\n1,2\n").refused(65, &["data.parquet", "Parquet"]);
    Case::new().bytes("data.parquet", "").refused(65, &[]);
}

#[test]
fn wrong_columns() {
    good().columns("{vector: embedding}").refused(64, &["data.parquet", "embedding", "vector"]);
    let words: ArrayRef = Arc::new(StringArray::from(vec!["a", "b", "c"]));
    Case::new().table("data.parquet", vec![("vector", Arc::clone(&words))]).refused(64, &["data.parquet", "vector"]);
    let case = Case::new().columns("{features: [x, \"y\"]}");
    case.table("data.parquet", vec![("x", Arc::new(Float64Array::from(vec![1.0, 2.0, 3.0]))), ("y", words)])
        .refused(64, &["data.parquet", "\"y\""]);
    good().columns("{vector: vector, label: kind}").refused(64, &["kind"]);
    good()
        .columns("{vector: vector, id: key}")
        .extra("  output: {uri: ignored, assignments: true}\n")
        .refused(64, &["key"]);
}

#[test]
fn invalid_rows() {
    let mut rows = GOOD;
    rows[2][1] = f32::NAN;
    Case::new().vectors(&rows).refused(65, &["data.parquet", "row 2", "NaN", "invalidRows"]);
    rows[2][1] = f32::INFINITY;
    Case::new().vectors(&rows).refused(65, &["data.parquet", "row 2", "invalidRows"]);
    let nulls: ArrayRef = Arc::new(Float64Array::from(vec![Some(1.0), None, Some(3.0)]));
    let whole: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
    Case::new()
        .columns("{features: [x, \"y\"]}")
        .table("data.parquet", vec![("x", nulls), ("y", whole)])
        .refused(65, &["data.parquet", "row 1", "\"x\""]);
    let lists = vec![Some(vec![Some(1.0), Some(2.0)]), Some(vec![Some(1.0)]), Some(vec![Some(3.0), Some(4.0)])];
    let ragged: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Float32Type, _, _>(lists));
    Case::new().table("data.parquet", vec![("vector", ragged)]).refused(65, &["data.parquet", "row 1", "2"]);
}

#[test]
fn all_rows_dropped() {
    let case = Case::new().vectors(&[[f32::NAN, 0.0], [0.0, f32::NAN]]);
    let manifest = case.manifest().replace("    columns:", "    invalidRows: Drop\n    columns:");
    let job = Job::new(&manifest);
    refused(&output(&mut job.command(&["--quiet"])), 65, &["all 2 rows", "dropped"]);
}

#[test]
fn no_rows_at_all() {
    let empty = vectors(&GOOD).slice(0, 0);
    Case::new().table("data.parquet", vec![("vector", empty)]).refused(65, &["row"]);
    Case::new().refused(65, &["no object"]);
}

#[test]
fn too_many_clusters() {
    good().clusters("5").refused(65, &["only 4 of 4 rows are distinct", "clusters is 5", "at most 4"]);
    Case::new().vectors(&[[1.0, 2.0]; 50]).refused(65, &["only 1 of 50 rows"]);
    good().clusters("0").refused(64, &["spec.algorithm.kMeans.clusters"]);
}

#[test]
fn manifests_that_ask_for_nonsense() {
    good().extra("  sead: 7\n").refused(64, &["spec.sead", "seed"]);
    good().extra("  metric: {type: Manhattan}\n").refused(64, &["spec.metric.type", "Euclidean"]);
    good().extra("  features: [{pca: {components: 3}}]\n").refused(64, &["components is 3", "at most 2"]);
    good().columns("{vector: vector, features: [a]}").refused(64, &["spec.source.columns"]);
    good().columns("[").refused(64, &["job.yaml"]);
    let job = Job::new("kind: Pod\napiVersion: v1\n");
    refused(&output(&mut job.command(&[])), 64, &["ClusteringJob"]);
    let missing = output(coterie().args(["run", "-f", "nowhere.yaml"]));
    refused(&missing, 64, &["nowhere.yaml"]);
}

#[test]
fn other_formats_damaged() {
    let directory = directory();
    let rows: Vec<Vec<f32>> = GOOD.iter().map(|row| row.to_vec()).collect();
    let npy = directory.path().join("x.npy");
    input::npy(&npy, &rows);
    let npy = fs::read(npy).unwrap();
    let case = || Case::new().columns("{}");
    case().bytes("data.npy", &npy[..npy.len() - 5]).refused(65, &["data.npy"]);
    case().bytes("data.npy", String::from_utf8_lossy(&npy).replace("<f4", "|O ").as_bytes()).refused(65, &["data.npy"]);
    case().bytes("data.npy", b"\x93NUMPY\x01\x00\xff\xff{").refused(65, &["data.npy"]);
    case().bytes("data.csv", "a,b\n1,2\n3,four\n").refused(64, &["data.csv"]);
    case().bytes("data.csv", "a,b\n1,2\n3\n").refused(65, &["data.csv"]);
    case().columns("{features: [a, c]}").bytes("data.csv", "a,b\n1,2\n").refused(64, &["data.csv", "\"c\""]);
    case().bytes("data.arrow", "ARROW1\0\0 and then nothing of the kind").refused(65, &["data.arrow"]);
}

#[test]
fn objects_that_do_not_fit_together() {
    good().bytes("more.csv", "a,b\n1,2\n").refused(64, &["more.csv"]);
    let wide: ArrayRef = {
        let values = Float32Array::from_iter_values((0..12u8).map(f32::from));
        Arc::new(FixedSizeListArray::new(
            Arc::new(Field::new("item", DataType::Float32, true)),
            3,
            Arc::new(values),
            None,
        ))
    };
    good().table("wide.parquet", vec![("vector", wide)]).refused(64, &["wide.parquet", "data.parquet", "3", "2"]);
}

#[test]
fn warm_starts_that_do_not_fit() {
    let directory = directory();
    let start = directory.path().join("start.npy");
    input::npy(&start, &[vec![1.0, 2.0], vec![3.0, 4.0], vec![5.0, 6.0]]);
    let warm = |uri: &Path| format!("2, init: WarmStart, warmStart: {{uri: {}}}", uri.display());
    let case = Case::new().columns("{}").clusters(&warm(&start));
    input::npy(&case.path("data.npy"), &GOOD.map(|row| row.to_vec()));
    case.refused(64, &["start.npy", "more than 2 rows", "clusters is 2"]);
    let case = Case::new().columns("{}").clusters(&warm(&start).replacen('2', "4", 1));
    input::npy(&case.path("data.npy"), &GOOD.map(|row| row.to_vec()));
    case.refused(64, &["3 x 2 centroids", "4 x 2"]);
    let case = Case::new().columns("{}").clusters(&warm(&directory.path().join("missing.npy")));
    input::npy(&case.path("data.npy"), &GOOD.map(|row| row.to_vec()));
    case.refused(65, &["missing.npy"]);
}

#[test]
fn outputs_that_cannot_be() {
    let case = good();
    let job = Job::new(&case.manifest());
    job.run(&["--model-version", "v1", "--quiet"]);
    let before = fs::read(job.directory.path().join("out/models/v1/manifest.json")).unwrap();
    refused(&output(&mut job.command(&["--model-version", "v1"])), 64, &["v1 exists already", "next"]);
    assert_eq!(fs::read(job.directory.path().join("out/models/v1/manifest.json")).unwrap(), before);
    refused(&output(&mut job.command(&["--model-version", "latest"])), 64, &["latest"]);
    refused(&output(&mut job.command(&["--workers", "0"])), 64, &["--workers"]);
    refused(&output(&mut job.command(&["--memory", "lots"])), 64, &["lots"]);
    let file = job.directory.path().join("file");
    fs::write(&file, "").unwrap();
    let inside = file.join("out");
    let output = output(&mut job.command(&["--quiet", "--output", inside.to_str().unwrap()]));
    assert!([64, 75].contains(&output.status.code().unwrap()), "{}", stderr(&output));
    assert!(stderr(&output).contains("file"), "{}", stderr(&output));
    let manifest = job.manifest.to_str().unwrap();
    let nowhere = support::output(coterie().args(["run", "-f", manifest, "--summary", "/nowhere/at/all.json"]));
    refused(&nowhere, 64, &["/nowhere/at/all.json"]);
}

/// A small file system of its own, unmounted at the end.
struct Tiny(TempDir);

impl Tiny {
    fn new(size: &str) -> Self {
        let directory = directory();
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(directory.path())
            .status()
            .unwrap();
        assert!(mounted.success(), "mounting a small tmpfs needs root");
        Self(directory)
    }
}

impl Drop for Tiny {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[test]
fn full_disks() {
    let scratch = Tiny::new("1m");
    let case = Case::new();
    input::parquet(&case.path("data.parquet"), 0, &input::blobs(600_000, 16, 4), 50_000);
    let path = scratch.0.path().to_str().unwrap();
    case.refused_with(&["--memory", "16Mi", "--scratch", path], 75, &["scratch", "--scratch"]);

    good().refused_with(&["--scratch", "/no/such/directory"], 75, &["/no/such/directory", "--scratch"]);

    let full = Tiny::new("16k");
    let path = full.0.path().to_str().unwrap();
    let case = Case::new().columns("{}").clusters("200");
    input::npy(&case.path("data.npy"), &input::blobs(2_000, 32, 40));
    let job = Job::new(&case.manifest());
    refused(&output(&mut job.command(&["--quiet", "--output", path])), 75, &[path]);
    assert!(!full.0.path().join("models/v1/manifest.json").exists());
}

#[test]
fn stores_that_do_not_answer_or_say_no() {
    let at = |endpoint: &str, bucket: &str| {
        format!(
            "apiVersion: coterie.dev/v1alpha1\nkind: ClusteringJob\nmetadata: {{name: bad}}\nspec:\n  source:\n    uri: s3://{bucket}/data/\n    \
             format: Parquet\n    columns: {{vector: vector}}\n    store: {{endpoint: \"{endpoint}\", allowHttp: true}}\n  algorithm: \
             {{kMeans: {{clusters: 2}}}}\n"
        )
    };
    let run = |manifest: &str, key: &str, secret: &str| {
        let job = Job::new(manifest);
        let mut command = job.command(&["--quiet"]);
        output(command.env("AWS_ACCESS_KEY_ID", key).env("AWS_SECRET_ACCESS_KEY", secret))
    };
    let nobody = format!("http://127.0.0.1:{}", support::free_port());
    refused(&run(&at(&nobody, "vectors"), "key", "hush-hush"), 75, &["s3://vectors/data"]);

    let server = Server::start();
    let said = run(&at(&server.endpoint(), "vectors"), "stranger", "hush-hush");
    refused(&said, 66, &["s3://vectors/data", "denied"]);
    assert!(!stderr(&said).contains("hush-hush"), "a secret in {}", stderr(&said));
    let (key, secret) = server.outsider();
    refused(&run(&at(&server.endpoint(), "vectors"), key, secret), 66, &["s3://vectors/data", "denied"]);
    let (key, secret) = server.credentials();
    refused(&run(&at(&server.endpoint(), "vectors"), key, secret), 65, &["s3://vectors/data"]);
}

#[test]
fn models_that_cannot_be_served() {
    let case = good();
    let job = Job::new(&case.manifest());
    job.run(&["--quiet"]);
    let version = job.directory.path().join("out/models/v1");
    let serve = |uri: &str| output(coterie().args(["serve", "--http", "127.0.0.1:0", "--model", uri]));
    let uri = version.to_str().unwrap();

    let tensors = version.join("tensors.safetensors");
    let intact = fs::read(&tensors).unwrap();
    let mut damaged = intact.clone();
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    fs::write(&tensors, &damaged).unwrap();
    refused(&serve(uri), 65, &["tensors.safetensors", "digest"]);
    fs::write(&tensors, &intact[..last]).unwrap();
    refused(&serve(uri), 65, &["tensors.safetensors", "bytes"]);
    fs::write(&tensors, &intact).unwrap();

    let manifest = version.join("manifest.json");
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(
        &manifest,
        text.replace("\"formatVersion\": 1", "\"formatVersion\": 99")
            .replace("\"formatVersion\":1", "\"formatVersion\":99"),
    )
    .unwrap();
    refused(&serve(uri), 65, &["99", "upgrade"]);
    fs::write(&manifest, &text[..text.len() / 2]).unwrap();
    refused(&serve(uri), 65, &["manifest.json"]);

    refused(&serve(job.directory.path().join("nowhere").to_str().unwrap()), 65, &["no model"]);
    refused(&output(coterie().args(["serve", "--model", uri])), 64, &["--http"]);
    fs::write(&manifest, &text).unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    refused(&output(coterie().args(["serve", "--model", uri, "--http", &address])), 64, &[&address]);
}
