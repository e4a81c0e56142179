//! Sets by the Jaccard distance: near duplicates are found, however the sets are written and however many workers look for them.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod support;

use std::{collections::BTreeSet, fs::File, path::Path, sync::Arc};

use arrow::{
    array::{ArrayRef, AsArray, Int64Array, ListBuilder, RecordBatch, StringBuilder, UInt32Builder},
    datatypes::{Float32Type, Int32Type},
    ipc::writer::FileWriter,
};
use coterie_algorithms::metric::Metric;
use coterie_crds::resolved::Store;
use coterie_model::Model;
use parquet::{
    arrow::{ArrowWriter, arrow_reader::ParquetRecordBatchReaderBuilder},
    file::properties::WriterProperties,
};
use serde_json::{Value, json};
use support::{Job, input, serve::Served};

/// Possible members.
const SIZE: usize = 500;
const GROUPS: usize = 20;
const ROWS: usize = 2_000;
const LONERS: usize = 7;

type Set = BTreeSet<u32>;

/// Groups of sets of 30 members, row by row in turn, in each of which two members of the group's are replaced; and at the end sets that
/// are like no other.
fn planted() -> Vec<Set> {
    let mut state = 99u64;
    let mut draw = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) % SIZE as u64) as u32
    };
    let mut fresh = |members: usize| {
        let mut set = Set::new();
        while set.len() < members {
            set.insert(draw());
        }
        set
    };
    let groups: Vec<Set> = (0..GROUPS).map(|_| fresh(30)).collect();
    let mut rows: Vec<Set> = (0..ROWS)
        .map(|row| {
            let mut set = groups[row % GROUPS].clone();
            let gone: Vec<u32> = set.iter().copied().skip(row / GROUPS % 15).step_by(15).collect();
            gone.iter().for_each(|member| assert!(set.remove(member)));
            set.extend(fresh(2));
            set
        })
        .collect();
    rows.extend((0..LONERS).map(|_| fresh(30)));
    rows
}

fn expected() -> Vec<i32> {
    (0..ROWS).map(|row| (row % GROUPS) as i32).chain([-1; LONERS]).collect()
}

fn dense(rows: &[Set]) -> Vec<Vec<f32>> {
    let member = |set: &Set, at: usize| f32::from(u8::from(set.contains(&(at as u32))));
    rows.iter().map(|set| (0..SIZE).map(|at| member(set, at)).collect()).collect()
}

/// How sets are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Written {
    ParquetNumbers,
    ArrowNumbers,
    ParquetTexts,
    Dense(input::Format),
}

impl Written {
    fn write(self, directory: &Path, rows: &[Set], objects: usize) {
        if let Self::Dense(format) = self {
            return input::write(directory, format, &dense(rows), objects);
        }
        let each = rows.len().div_ceil(objects);
        for (number, part) in rows.chunks(each).enumerate() {
            let sets: ArrayRef = if self == Self::ParquetTexts {
                let mut builder = ListBuilder::new(StringBuilder::new());
                part.iter()
                    .for_each(|set| builder.append_value(set.iter().map(|member| Some(format!("tag {member}")))));
                Arc::new(builder.finish())
            } else {
                let mut builder = ListBuilder::new(UInt32Builder::new());
                // In any order, and some of them twice.
                part.iter()
                    .for_each(|set| builder.append_value(set.iter().rev().chain(set.first()).map(|id| Some(*id))));
                Arc::new(builder.finish())
            };
            let ids = Int64Array::from_iter_values((number * each) as i64..(number * each + part.len()) as i64);
            let batch = RecordBatch::try_from_iter([("id", Arc::new(ids) as ArrayRef), ("tags", sets)]).unwrap();
            if self == Self::ArrowNumbers {
                let file = File::create(directory.join(format!("part-{number:03}.arrow"))).unwrap();
                let mut writer = FileWriter::try_new(file, &batch.schema()).unwrap();
                writer.write(&batch).unwrap();
                writer.finish().unwrap();
            } else {
                let file = File::create(directory.join(format!("part-{number:03}.parquet"))).unwrap();
                let properties = WriterProperties::builder().set_max_row_group_row_count(Some(150)).build();
                let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
                writer.write(&batch).unwrap();
                writer.close().unwrap();
            }
        }
    }

    fn columns(self) -> String {
        match self {
            Self::Dense(format) => input::columns(format, SIZE),
            Self::ParquetNumbers | Self::ArrowNumbers => format!("{{id: id, set: {{column: tags, size: {SIZE}}}}}"),
            Self::ParquetTexts => "{id: id, set: {column: tags, size: 60000}}".to_owned(),
        }
    }

    fn job(self, directory: &Path) -> Job {
        self.job_with(directory, "")
    }

    fn job_with(self, directory: &Path, more: &str) -> Job {
        Job::new(&format!(
            "apiVersion: coterie.dev/v1alpha1\nkind: ClusteringJob\nmetadata: {{name: sets}}\nspec:\n  source: {{uri: {}, columns: \
             {}}}\n  metric: {{type: Jaccard}}\n  algorithm: {{lsh: {{tables: 16, hashes: 6, minClusterSize: 3}}}}\n  output: {{uri: \
             /nowhere, assignments: true}}\n  evaluation: {{sampleSize: 500}}\n  seed: 5\n{more}",
            directory.display(),
            self.columns()
        ))
    }
}

/// Everything of a summary that the rows decide.
fn result(summary: &Value) -> [Value; 6] {
    ["modelDigest", "inertia", "silhouette", "daviesBouldin", "noise", "clusters"].map(|key| summary[key].clone())
}

fn labels(job: &Job) -> Vec<i32> {
    input::assignments(&job.directory.path().join("out/assignments/v1")).into_values().collect()
}

fn model(job: &Job) -> Model {
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let out = job.directory.path().join("out").display().to_string();
        let output = coterie_data::store::open(&out, &Store::default()).unwrap();
        coterie_model::read(output.store.as_ref(), &coterie_model::version_path(&output.path, "v1")).await.unwrap()
    })
}

#[test]
fn near_duplicates_are_found_whatever_the_form_and_the_workers() {
    let rows = planted();
    let mut reference: Option<[Value; 6]> = None;
    for (written, objects, arguments) in [
        (Written::ParquetNumbers, 1, &["--workers", "1"][..]),
        (Written::ParquetNumbers, 4, &["--workers", "3", "--relay-from", "0"]),
        (Written::ArrowNumbers, 3, &["--workers", "2"]),
        (Written::Dense(input::Format::Parquet), 2, &["--workers", "2"]),
        (Written::Dense(input::Format::Csv), 2, &["--workers", "2"]),
    ] {
        let data = support::directory();
        written.write(data.path(), &rows, objects);
        let job = written.job(data.path());
        let summary = job.run(arguments);
        // The ids of CSV are texts.
        if written != Written::Dense(input::Format::Csv) {
            assert_eq!(labels(&job), expected(), "{written:?}");
        }
        assert_eq!(summary["calinskiHarabasz"], Value::Null);
        let reference = reference.get_or_insert_with(|| result(&summary));
        assert_eq!(result(&summary), *reference, "{written:?} by {arguments:?}");
    }
}

#[test]
fn members_may_be_texts() {
    let data = support::directory();
    Written::ParquetTexts.write(data.path(), &planted(), 2);
    let job = Written::ParquetTexts.job(data.path());
    job.run(&["--workers", "2"]);
    assert_eq!(labels(&job), expected());

    let output = job.directory.path().join("out");
    let served = Served::start(support::coterie().args(["serve", "--model", output.to_str().unwrap()]));
    for (row, set) in planted().iter().enumerate().take(50) {
        let texts: Vec<String> = set.iter().map(|member| format!("tag {member}")).collect();
        let (code, answer) = served.post("/v1/assign", &json!({ "set": texts }).to_string());
        assert_eq!((code, &answer["assignments"][0]["cluster"]), (200, &json!(row % GROUPS)), "{answer}");
    }
}

/// Rows of 240 kB, 120 MB in the sample: it is taken in several steps, for which a worker needs little memory, all its threads together.
#[test]
fn samples_of_wide_rows_are_taken_bit_by_bit() {
    let data = support::directory();
    Written::ParquetTexts.write(data.path(), &planted(), 2);
    let run = |arguments: &[&str], sample: u64| {
        let job = Written::ParquetTexts.job(data.path());
        let manifest = std::fs::read_to_string(&job.manifest).unwrap();
        std::fs::write(&job.manifest, manifest.replace("sampleSize: 500", &format!("sampleSize: {sample}"))).unwrap();
        // What is freed is given back, so that the peak is what was held.
        let mut command = job.command(&[arguments, &["--memory", "256Mi"]].concat());
        let output = support::output(command.env("MALLOC_ARENA_MAX", "1"));
        assert!(output.status.success(), "{}", support::stderr(&output));
        let summary = job.summary();
        assert_eq!(summary["silhouetteRows"], sample);
        summary
    };
    let alone = ["--workers", "1", "--threads", "4"];
    let (large, small) = (run(&alone, 500), run(&alone, 2));
    assert_eq!(result(&large), result(&run(&["--workers", "3", "--threads", "1"], 500)));
    let peak = |summary: &Value| summary["peakRssBytes"].as_u64().unwrap();
    let more = peak(&large).saturating_sub(peak(&small));
    assert!(more < 64 << 20, "the sample took {} MiB", more >> 20);
}

/// Everything measured is the Jaccard distance of rows from the shares of their cluster's rows that have each member.
#[test]
fn measures_are_those_of_sets() {
    let rows = planted();
    let data = support::directory();
    Written::ParquetNumbers.write(data.path(), &rows, 1);
    let job = Written::ParquetNumbers.job(data.path());
    let summary = job.run(&["--workers", "2"]);
    let (model, dense) = (model(&job), dense(&rows));
    assert_eq!((model.metric, model.pipeline.transforms.len(), model.n_clusters()), (Metric::Jaccard, 0, GROUPS));
    assert_eq!(model.feature_names[17], "tags[17]");
    let mut inertia = 0.0;
    for (cluster, statistics) in model.clusters.iter().enumerate() {
        let members: Vec<&Vec<f32>> = dense[..ROWS].iter().skip(cluster).step_by(GROUPS).collect();
        let centroid = model.centroids.row(cluster);
        for (column, share) in centroid.iter().enumerate() {
            let mean = members.iter().map(|row| row[column]).sum::<f32>() / members.len() as f32;
            assert!((share - mean).abs() < 1e-6, "cluster {cluster}, member {column}: {share} but {mean}");
        }
        let distances: Vec<f64> = members.iter().map(|row| Metric::Jaccard.distance(row, centroid)).collect();
        let close = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-9, "{found} but {expected}");
        close(statistics.radius, distances.iter().copied().fold(0.0, f64::max));
        close(statistics.mean_distance, distances.iter().sum::<f64>() / distances.len() as f64);
        close(statistics.inertia, distances.iter().map(|distance| distance * distance).sum());
        inertia += statistics.inertia;
    }
    assert!((summary["inertia"].as_f64().unwrap() - inertia).abs() < 1e-9);
    assert!(summary["silhouette"].as_f64().unwrap() > 0.6, "{}", summary["silhouette"]);

    // Also what is in no cluster has its distance from the nearest centroid.
    let assignments = job.directory.path().join("out/assignments/v1");
    let mut seen = 0;
    for entry in std::fs::read_dir(assignments).unwrap().flatten() {
        for batch in
            ParquetRecordBatchReaderBuilder::try_new(File::open(entry.path()).unwrap()).unwrap().build().unwrap()
        {
            let batch = batch.unwrap();
            let ids = batch.column_by_name("id").unwrap().as_primitive::<arrow::datatypes::Int64Type>();
            let clusters = batch.column_by_name("cluster").unwrap().as_primitive::<Int32Type>();
            let distances = batch.column_by_name("distance").unwrap().as_primitive::<Float32Type>();
            for at in 0..batch.num_rows() {
                let row = &dense[ids.value(at) as usize];
                let distance = |cluster: usize| Metric::Jaccard.distance(row, model.centroids.row(cluster));
                let expected = match usize::try_from(clusters.value(at)) {
                    Ok(cluster) => distance(cluster),
                    Err(_) => (0..GROUPS).map(distance).fold(f64::INFINITY, f64::min),
                };
                assert_eq!(distances.value(at), expected as f32, "row {}", ids.value(at));
                seen += 1;
            }
        }
    }
    assert_eq!(seen, rows.len());
}

#[test]
fn serving_assigns_sets_to_the_clusters_of_training() {
    let rows = planted();
    let data = support::directory();
    Written::ParquetNumbers.write(data.path(), &rows, 1);
    let job = Written::ParquetNumbers.job(data.path());
    job.run(&["--workers", "2"]);
    let output = job.directory.path().join("out");
    let served = Served::start(support::coterie().args(["serve", "--model", output.to_str().unwrap()]));
    let asked = dense(&rows[..400]);
    let (code, answer) = served.post("/v1/assign", &json!({ "vectors": asked }).to_string());
    assert_eq!(code, 200, "{answer}");
    let found: Vec<i64> =
        answer["assignments"].as_array().unwrap().iter().map(|row| row["cluster"].as_i64().unwrap()).collect();
    assert_eq!(found, (0..400).map(|row| row % GROUPS as i64).collect::<Vec<_>>());
    let by_members = served.post("/v1/assign", &json!({ "sets": rows[..400] }).to_string());
    assert_eq!(by_members, (200, answer));
}

#[test]
fn items_like_an_item_are_of_its_group() {
    let data = support::directory();
    Written::ParquetNumbers.write(data.path(), &planted(), 2);
    let job = Written::ParquetNumbers.job_with(data.path(), "  serving: {similarItems: true, lsh: {}}\n");
    job.run(&["--workers", "2"]);
    let (output, index) = (job.directory.path().join("out"), job.directory.path().join("index"));
    let served = Served::start(support::coterie().args([
        "serve",
        "--tables",
        "--items-directory",
        index.to_str().unwrap(),
        "--model",
        output.to_str().unwrap(),
    ]));
    for (method, count) in [("Tables", 10), ("Exact", 99)] {
        let ask = json!({"id": 7, "count": count, "method": method}).to_string();
        let (code, answer) = served.post("/v1/similar-items", &ask);
        assert_eq!(code, 200, "{answer}");
        let ids: Vec<u64> =
            answer["items"].as_array().unwrap().iter().map(|item| item["id"].as_u64().unwrap()).collect();
        assert!(ids.len() == count && ids.iter().all(|id| *id as usize % GROUPS == 7 && *id != 7), "{answer}");
    }
    let (code, answer) = served.post("/v1/similar-items", &json!({"id": 7, "method": "Lists"}).to_string());
    assert_eq!(code, 400, "{answer}");
}

#[test]
fn what_is_no_set_is_named() {
    let refused = |written: Written, rows: &[Set], change: &dyn Fn(&mut Vec<Vec<f32>>), words: &[&str]| {
        let data = support::directory();
        match written {
            Written::Dense(format) => {
                let mut dense = dense(rows);
                change(&mut dense);
                input::write(data.path(), format, &dense, 1);
            }
            _ => written.write(data.path(), rows, 1),
        }
        let output = support::output(&mut written.job(data.path()).command(&["--workers", "2", "--quiet"]));
        let text = support::stderr(&output);
        assert_eq!(output.status.code(), Some(65), "{text}");
        words.iter().for_each(|word| assert!(text.contains(word), "{word}: {text}"));
    };
    let rows = &planted()[..40];
    let half = |rows: &mut Vec<Vec<f32>>| rows[7][11] = 0.5;
    refused(
        Written::Dense(input::Format::Csv),
        rows,
        &half,
        &["part-000.csv", "line 9", "column \"x11\"", "the value is 0.5, but rows are sets", "choose another metric"],
    );
    let mut rows = rows.to_vec();
    rows[3].insert(SIZE as u32);
    refused(
        Written::ParquetNumbers,
        &rows,
        &|_| {},
        &[
            "part-000.parquet",
            "row 3 ",
            "column \"tags\"",
            "the member 500, expected 0 to 499",
            "source.columns.set.size",
        ],
    );
}
