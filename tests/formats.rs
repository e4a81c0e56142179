//! The same rows give the same model, whatever the format, the number of objects and the store.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod support;

use std::path::Path;

use serde_json::Value;
use support::{
    Job,
    input::{self, Format},
    s3::Server,
};

const DIMENSION: usize = 7;
const ROWS: usize = 5_000;

fn manifest(uri: &str, format: Format, store: &str) -> String {
    format!(
        "apiVersion: coterie.dev/v1alpha1\nkind: ClusteringJob\nmetadata: {{name: formats}}\nspec:\n  source: {{uri: {uri}, columns: {}{store}}}\n  \
         features: [{{standardize: {{}}}}]\n  algorithm: {{kMeans: {{clusters: 9}}}}\n  evaluation: {{sampleSize: 1000}}\n",
        input::columns(format, DIMENSION)
    )
}

/// Everything of a summary that the rows decide; the digest covers pipeline, centroids and the rows themselves.
fn result(summary: &Value) -> [Value; 4] {
    ["modelDigest", "inertia", "silhouette", "rowsRead"].map(|key| summary[key].clone())
}

#[test]
fn formats_objects_and_stores_do_not_show() {
    let rows = input::blobs(ROWS, DIMENSION, 9);
    let data = support::directory();
    let server = Server::start();
    let (key, secret) = server.credentials();
    let mut reference: Option<[Value; 4]> = None;
    for format in Format::ALL {
        for objects in [1, 37] {
            let name = format!("{}-{objects}", format.extension());
            let directory = data.path().join(&name);
            input::write(&directory, format, &rows, objects);
            assert_eq!(std::fs::read_dir(&directory).unwrap().count(), objects);

            let local =
                Job::new(&manifest(directory.to_str().unwrap(), format, "")).run(&["--workers", "2", "--quiet"]);
            assert_eq!(local["rowsRead"], ROWS);
            let reference = reference.get_or_insert_with(|| result(&local));
            assert_eq!(result(&local), *reference, "{name} from a directory");

            upload(&server, &directory, &name);
            let store = format!(", store: {{endpoint: \"{}\", allowHttp: true}}", server.endpoint());
            let job = Job::new(&manifest(&format!("s3://vectors/{name}/"), format, &store));
            let mut command = job.command(&["--workers", "2", "--quiet"]);
            let output = support::output(command.env("AWS_ACCESS_KEY_ID", key).env("AWS_SECRET_ACCESS_KEY", secret));
            assert!(output.status.success(), "{name}: {}", support::stderr(&output));
            assert_eq!(result(&job.summary()), *reference, "{name} from S3");
        }
    }
}

#[test]
fn models_and_assignments_go_to_s3_and_are_served_from_there() {
    let server = Server::start();
    let (key, secret) = server.credentials();
    let rows = input::blobs(3_000, DIMENSION, 5);
    let data = support::directory();
    input::write(data.path(), Format::Parquet, &rows, 3);
    let store = format!("store: {{endpoint: \"{}\", allowHttp: true}}", server.endpoint());
    let text = manifest(data.path().to_str().unwrap(), Format::Parquet, "")
        + &format!("  output: {{uri: s3://models/formats/, assignments: true, {store}}}\n");
    let job = Job::new(&text);
    for version in ["v1", "v2"] {
        let mut command = support::coterie();
        command.arg("run").arg("-f").arg(&job.manifest).arg("--summary").arg(job.summary_path()).arg("--quiet");
        let output = support::output(command.env("AWS_ACCESS_KEY_ID", key).env("AWS_SECRET_ACCESS_KEY", secret));
        assert!(output.status.success(), "{}", support::stderr(&output));
        assert_eq!(job.summary()["modelVersion"], version);
        assert_eq!(job.summary()["modelUri"], format!("s3://models/formats/models/{version}"));
    }
    let mut names = server.list("models");
    names.sort();
    assert!(names.contains(&"formats/models/v2/manifest.json".to_owned()), "{names:?}");
    assert_eq!(names.iter().filter(|name| name.starts_with("formats/assignments/v1/part-")).count(), 6, "{names:?}");
    assert!(!names.iter().any(|name| name.contains("checkpoint")), "{names:?}");

    let mut serve = support::coterie();
    serve.args(["serve", "--model", "s3://models/formats/", "--endpoint", &server.endpoint(), "--allow-http"]);
    serve.env("AWS_ACCESS_KEY_ID", key).env("AWS_SECRET_ACCESS_KEY", secret);
    let served = support::serve::Served::start(&mut serve);
    let model = served.get("/v1/model");
    assert_eq!(model["digest"], job.summary()["modelDigest"]);
    assert_eq!(model["modelVersion"], "v2");
}

fn upload(server: &Server, directory: &Path, prefix: &str) {
    for entry in std::fs::read_dir(directory).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        server.put("vectors", &format!("{prefix}/{name}"), &std::fs::read(entry.path()).unwrap());
    }
}
