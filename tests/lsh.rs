//! Clustering by shared buckets: the clusters are the components, by any number of workers and through faults.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod support;

use std::{
    collections::HashMap,
    fs::File,
    io::{BufWriter, Write},
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use coterie_algorithms::lsh::NOISE;
use coterie_crds::resolved::{Algorithm, ResolvedJob, Store};
use coterie_worker::lsh::hashing::{Hashing, Rows};
use serde_json::Value;
use support::{Job, Running, input, signal, wait};
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_secs(120);

/// Rows in Parquet and a job over them.
struct Data {
    rows: Vec<Vec<f32>>,
    directory: TempDir,
}

impl Data {
    fn new(rows: Vec<Vec<f32>>) -> Self {
        let directory = support::directory();
        input::write(directory.path(), input::Format::Parquet, &rows, 5);
        Self { rows, directory }
    }

    fn manifest(&self, metric: &str, lsh: &str, more: &str) -> String {
        format!(
            "apiVersion: coterie.dev/v1alpha1\nkind: ClusteringJob\nmetadata: {{name: lsh}}\nspec:\n  source: {{uri: {}, columns: {{id: \
             id, vector: vector}}}}\n  metric: {{type: {metric}}}\n  algorithm: {{lsh: {lsh}}}\n  output: {{uri: /nowhere, assignments: \
             true}}\n  seed: 3\n{more}",
            self.directory.path().display()
        )
    }

    fn job(&self, metric: &str, lsh: &str) -> Job {
        Job::new(&self.manifest(metric, lsh, ""))
    }
}

/// Twelve groups far apart, row by row in turn, and five rows far from everything.
fn apart(rows: usize) -> Data {
    let jitter = input::blobs(rows, 8, 1);
    let centre = |group: usize, column: usize| if column == group % 8 { 400.0 * (1 + group / 8) as f32 } else { 0.0 };
    let mut rows: Vec<Vec<f32>> = (0..jitter.len())
        .map(|row| {
            let columns = jitter[row].iter().enumerate();
            columns.map(|(column, value)| value - jitter[0][column] + centre(row % 12, column)).collect()
        })
        .collect();
    rows.extend((1..=5u8).map(|far| vec![-3_000.0 * f32::from(far); 8]));
    Data::new(rows)
}

const APART: &str = "{tables: 16, hashes: 4, width: \"40\", minClusterSize: 3}";

fn labels(job: &Job) -> Vec<i32> {
    input::assignments(&job.directory.path().join("out/assignments/v1")).into_values().collect()
}

fn digest(summary: &Value) -> &str {
    summary["modelDigest"].as_str().unwrap()
}

#[test]
fn separate_groups_are_found_exactly_and_what_is_far_from_all_is_noise() {
    let data = apart(6_000);
    let job = data.job("Euclidean", APART);
    let reference = job.run(&["--workers", "1"]);
    // Numbered in the order of their first rows.
    let expected: Vec<i32> = (0..6_000).map(|row| row % 12).chain([-1; 5]).collect();
    assert_eq!(labels(&job), expected);
    assert_eq!(reference["clusters"].as_array().unwrap().len(), 12);
    assert!(reference["clusters"].as_array().unwrap().iter().all(|cluster| cluster["size"] == 500));
    assert_eq!((&reference["noise"], &reference["rowsRead"]), (&Value::from(5), &Value::from(6_005)));
    assert!(reference["silhouette"].as_f64().unwrap() > 0.9, "{}", reference["silhouette"]);

    for arguments in [&["--workers", "2"][..], &["--workers", "4", "--relay-from", "0"]] {
        let job = data.job("Euclidean", APART);
        let summary = job.run(arguments);
        assert_eq!(digest(&summary), digest(&reference), "{arguments:?}");
        assert_eq!(labels(&job), expected, "{arguments:?}");
        for score in ["inertia", "silhouette", "daviesBouldin", "calinskiHarabasz", "clusters"] {
            assert_eq!(summary[score], reference[score], "{arguments:?}: {score}");
        }
    }
}

#[test]
fn a_killed_worker_does_not_show() {
    let data = apart(6_000);
    let clean = data.job("Euclidean", APART);
    let start = Instant::now();
    let reference = clean.run(&["--workers", "3", "--quiet"]);
    let length = start.elapsed();
    let mut killed = 0;
    for moment in 0..8 {
        let job = data.job("Euclidean", APART);
        let mut run = Running::start(&mut job.command(&["--workers", "3", "--quiet", "--relay-from", "0"]));
        std::thread::sleep(length.mul_f64(f64::from(moment) / 8.0));
        if let Some(worker) = run.children("worker").first() {
            signal(*worker, "KILL");
            killed += 1;
        }
        run.finish(LIMIT);
        assert_eq!(digest(&job.summary()), digest(&reference), "killed at {moment}/8");
        assert_eq!(labels(&job), labels(&clean), "killed at {moment}/8");
    }
    assert!(killed >= 3, "only {killed} of 8 moments met a worker");
}

/// Waits until a run is at its fourth pass over the buckets, as its log tells.
fn reach(log: &Path) {
    wait(LIMIT, "the run to hash", || (passes(&std::fs::read_to_string(log).ok()?) >= 4).then_some(()));
}

/// Passes over the buckets.
fn passes(log: &str) -> usize {
    log.lines().filter(|line| line.contains("step begins") && line.contains("\"Hash\"")).count()
}

/// Buckets enough for some twenty passes over the rows by two workers of little memory.
const PASSES: &str = "{tables: 64, hashes: 4, width: \"40\", minClusterSize: 3}";
const LITTLE: [&str; 5] = ["--memory", "16Mi", "--quiet", "--log", "coterie_worker=debug"];

/// Runs the job over many passes, disturbed in the middle of them; returns the digest and what was logged.
fn disturbed(data: &Data, arguments: &[&str], disturb: impl FnOnce(&Running)) -> (String, String) {
    let job = data.job("Euclidean", PASSES);
    let log = job.directory.path().join("log");
    let mut command = job.command(&[arguments, &LITTLE].concat());
    let mut run = Running::start(command.stderr(Stdio::from(File::create(&log).unwrap())));
    reach(&log);
    disturb(&run);
    run.finish(LIMIT);
    assert_eq!(labels(&job).len(), 40_005, "{arguments:?}");
    (digest(&job.summary()).to_owned(), std::fs::read_to_string(log).unwrap())
}

#[test]
fn neither_many_passes_over_the_buckets_nor_faults_between_them_show() {
    let data = apart(40_000);
    let clean = data.job("Euclidean", PASSES);
    let reference = clean.run(&["--workers", "1", "--quiet"]);
    let expected: Vec<i32> = (0..40_000).map(|row| row % 12).chain([-1; 5]).collect();
    assert_eq!(labels(&clean), expected);
    let reference = digest(&reference);

    let (many, log) = disturbed(&data, &["--workers", "2"], |_| {});
    assert_eq!(many, reference, "over many passes");
    assert!((15..=30).contains(&passes(&log)), "{} passes:\n{log}", passes(&log));

    // In a tree of workers, three die one after the other.
    let (killed, _) = disturbed(&data, &["--workers", "4", "--relay-from", "0", "--lease", "2"], |run| {
        for at in 0..3 {
            // The place of one that was killed is taken by another soon.
            let worker = wait(LIMIT, "a worker to kill", || run.children("worker").get(at).copied());
            signal(worker, "KILL");
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    assert_eq!(killed, reference, "after workers were killed");

    // One is stopped for longer than its lease; what it sends then is fenced off.
    let (stopped, _) = disturbed(&data, &["--workers", "2", "--lease", "1"], |run| {
        let worker = run.children("worker")[0];
        signal(worker, "STOP");
        std::thread::sleep(Duration::from_millis(2_500));
        signal(worker, "CONT");
    });
    assert_eq!(stopped, reference, "after a worker was stopped");

    // The coordinator dies, and its successor goes on between the buckets, with what hung together before.
    let (killed, log) = disturbed(&data, &["--workers", "2"], |run| signal(run.children("coordinator")[0], "KILL"));
    assert_eq!(killed, reference, "after the coordinator was killed");
    let resumed = |log: &str| log.lines().any(|line| line.contains("run resumed") && line.contains("\"Hash\""));
    assert!(resumed(&log), "{log}");

    // All of it dies, and the same command goes on.
    let job = data.job("Euclidean", PASSES);
    let log = job.directory.path().join("log");
    let mut command = job.command(&[&["--workers", "2"][..], &LITTLE].concat());
    let mut run = Running::start(command.stderr(Stdio::from(File::create(&log).unwrap())));
    reach(&log);
    let children = [run.children("worker"), run.children("coordinator")].concat();
    signal(run.0.id(), "KILL");
    run.0.wait().unwrap();
    wait(LIMIT, "the processes to end with their launcher", || {
        let alive =
            |pid: &&u32| std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|s| !s.contains(") Z "));
        children.iter().find(alive).is_none().then_some(())
    });
    let output = support::output(&mut job.command(&[&["--workers", "2"][..], &LITTLE].concat()));
    assert!(output.status.success(), "{}", support::stderr(&output));
    assert!(resumed(&support::stderr(&output)), "{}", support::stderr(&output));
    assert_eq!(digest(&job.summary()), reference, "after everything was killed");
    assert_eq!(labels(&job), expected);
}

/// Nine rows in ten are the same, the others far from each other.
fn crowded(row: u32) -> [f32; 2] {
    if row % 10 == 3 { [row % 1_000, row / 1_000].map(|at| 1e4 + 100.0 * at as f32) } else { [1.0, 2.0] }
}

/// A file for so many rows, of which none is written yet.
fn npy(directory: &Path, rows: u64, columns: u64) -> File {
    let mut file = File::create(directory.join("rows.npy")).unwrap();
    let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {columns}), }}");
    file.write_all(b"\x93NUMPY\x01\x00\x76\x00").unwrap();
    file.write_all(format!("{header:<117}\n").as_bytes()).unwrap();
    file
}

#[test]
fn a_bucket_of_most_rows_is_one_like_any_other() {
    let data = Data::new((0..60_000).map(|row| crowded(row).to_vec()).collect());
    let lsh = "{tables: 8, hashes: 4, width: \"4\"}";
    let expected: Vec<i32> = (0..60_000).map(|row| if row % 10 == 3 { -1 } else { 0 }).collect();
    let clean = data.job("Euclidean", lsh);
    let reference = clean.run(&["--workers", "1", "--quiet"]);
    assert_eq!(labels(&clean), expected);
    for arguments in [&["--workers", "8", "--memory", "16Mi"][..], &["--workers", "4", "--relay-from", "0"]] {
        let job = data.job("Euclidean", lsh);
        assert_eq!(digest(&job.run(arguments)), digest(&reference), "{arguments:?}");
        assert_eq!(labels(&job), expected, "{arguments:?}");
    }
}

#[test]
fn a_bucket_of_millions_of_rows_does_not_break_a_workers_memory() {
    const ROWS: u32 = 4_000_000;
    const LIMIT: u64 = 192 << 20;
    let directory = support::directory();
    let mut file = BufWriter::new(npy(directory.path(), ROWS.into(), 2));
    (0..ROWS).flat_map(crowded).for_each(|value| file.write_all(&value.to_le_bytes()).unwrap());
    file.into_inner().unwrap();
    let job = Job::new(&format!(
        "apiVersion: coterie.dev/v1alpha1\nkind: ClusteringJob\nmetadata: {{name: lsh}}\nspec:\n  source: {{uri: {}}}\n  algorithm: {{lsh: \
         {{tables: 4, hashes: 2, width: \"4\"}}}}\n  evaluation: {{sampleSize: 100}}\n",
        directory.path().display()
    ));
    let summary = job.run(&["--workers", "1", "--memory", &LIMIT.to_string(), "--quiet"]);
    assert_eq!(summary["clusters"][0]["size"], u64::from(ROWS) / 10 * 9);
    let peak = summary["peakRssBytes"].as_u64().unwrap();
    assert!(peak <= LIMIT, "the worker took {} MiB", peak >> 20);
}

/// The slow twin: the keys of all rows, and rows that share one take the lowest number among them until nothing changes.
fn twin(rows: &[f32], dimension: usize, job: &ResolvedJob) -> Vec<i32> {
    let Algorithm::Lsh(params) = &job.algorithm else { panic!("an LSH job") };
    let hashing = Hashing::new(params, job.metric, job.seed);
    let mut lowest: Vec<u32> = (0..(rows.len() / dimension) as u32).collect();
    let tables: Vec<Vec<u64>> = (0..params.tables)
        .map(|table| {
            let mut keys = Vec::new();
            hashing.table(dimension, table).keys(&Rows::new(rows, dimension), &mut keys);
            keys
        })
        .collect();
    loop {
        let before = lowest.clone();
        for keys in &tables {
            let mut least: HashMap<u64, u32> = HashMap::new();
            for (key, row) in keys.iter().zip(&lowest) {
                let least = least.entry(*key).or_insert(NOISE);
                *least = (*least).min(*row);
            }
            keys.iter().zip(&mut lowest).for_each(|(key, row)| *row = least[key]);
        }
        if lowest == before {
            break;
        }
    }
    let mut sizes: HashMap<u32, u64> = HashMap::new();
    lowest.iter().for_each(|row| *sizes.entry(*row).or_default() += 1);
    let mut clusters: Vec<u32> = sizes.keys().copied().filter(|row| sizes[row] >= params.min_cluster_size).collect();
    clusters.sort_unstable();
    lowest.iter().map(|row| clusters.binary_search(row).map_or(-1, |at| at as i32)).collect()
}

#[test]
fn labels_are_those_of_a_search_over_all_keys() {
    let data = Data::new(input::blobs(3_000, 6, 40));
    let flat: Vec<f32> = data.rows.concat();
    for (metric, lsh) in [
        ("Euclidean", "{tables: 3, hashes: 8, width: \"6\", minClusterSize: 4}"),
        ("Cosine", "{tables: 2, hashes: 14, minClusterSize: 4}"),
    ] {
        let job = data.job(metric, lsh);
        let summary = job.run(&["--workers", "3"]);
        let model = tokio::runtime::Runtime::new().unwrap().block_on(async {
            let out = job.directory.path().join("out").display().to_string();
            let output = coterie_data::store::open(&out, &Store::default()).unwrap();
            coterie_model::read(output.store.as_ref(), &coterie_model::version_path(&output.path, "v1")).await.unwrap()
        });
        assert_eq!(model.training.algorithm, "Lsh");
        let mut rows = Vec::new();
        model.pipeline.apply(&flat, &mut rows);
        let resolved = coterie_crds::validate(&data.manifest(metric, lsh, "")).unwrap();
        let expected = twin(&rows, 6, &resolved);
        assert_eq!(labels(&job), expected, "{metric}");
        let noise = expected.iter().filter(|label| **label < 0).count();
        assert!(noise > 0 && model.n_clusters() > 3, "{metric}: {noise} noise, {} clusters", model.n_clusters());
        assert_eq!(summary["noise"], noise as u64, "{metric}");
        // Statistics are of the components, and centroids are their means.
        for (cluster, statistics) in (0..).zip(&model.clusters) {
            let members: Vec<&[f32]> =
                rows.chunks(6).zip(&expected).filter(|(_, label)| **label == cluster).map(|(row, _)| row).collect();
            assert_eq!(statistics.size, members.len() as u64, "{metric}: cluster {cluster}");
            if metric == "Euclidean" {
                let mean: f64 = members.iter().map(|row| f64::from(row[0])).sum::<f64>() / members.len() as f64;
                let found = f64::from(model.centroids.row(cluster as usize)[0]);
                assert!((found - mean).abs() < 1e-4, "cluster {cluster}: {found} instead of {mean}");
            }
        }
    }
}

/// Five directions in turn, of any length, and rows of zeros.
fn directions(zero: impl Fn(usize) -> bool) -> Data {
    let jitter = input::blobs(2_000, 5, 1);
    let row = |at: usize| -> Vec<f32> {
        let columns = jitter[at].iter().zip(&jitter[0]).enumerate();
        let length = if zero(at) { 0.0 } else { 1.0 + (at % 90) as f32 };
        columns
            .map(|(c, (value, first))| length * ((value - first) * 0.002 + f32::from(u8::from(c == at % 5))))
            .collect()
    };
    Data::new((0..2_000).map(row).collect())
}

#[test]
fn directions_are_found_whatever_the_lengths() {
    let data = directions(|_| false);
    let job = data.job("Cosine", "{tables: 16, hashes: 20}");
    let summary = job.run(&["--workers", "2"]);
    assert_eq!(labels(&job), (0..2_000).map(|row| row % 5).collect::<Vec<_>>());
    assert_eq!(summary["noise"], 0);
}

#[test]
fn rows_of_zeros_have_no_direction_and_belong_to_no_cluster() {
    let data = directions(|at| at % 7 == 0);
    let expected: Vec<i32> = (0..2_000).map(|row| if row % 7 == 0 { -1 } else { (row - 1) % 5 }).collect();
    let lsh = "{tables: 16, hashes: 20}";
    let clean = data.job("Cosine", lsh);
    let reference = clean.run(&["--workers", "1"]);
    assert_eq!(labels(&clean), expected);
    assert_eq!(reference["noise"], 286);
    let job = data.job("Cosine", lsh);
    assert_eq!(digest(&job.run(&["--workers", "8"])), digest(&reference));
    assert_eq!(labels(&job), expected);
}

#[test]
fn more_rows_than_it_takes_are_refused_before_any_is_read() {
    let directory = support::directory();
    let rows = (1 << 26) + 1;
    // A hole of a quarter of a gigabyte.
    npy(directory.path(), rows, 1).set_len(128 + 4 * rows).unwrap();
    let job = Job::new(&format!(
        "apiVersion: coterie.dev/v1alpha1\nkind: ClusteringJob\nmetadata: {{name: lsh}}\nspec:\n  source: {{uri: {}}}\n  algorithm: {{lsh: \
         {{width: \"4\"}}}}\n",
        directory.path().display()
    ));
    let arguments = ["--workers", "1", "--quiet", "--log", "coterie_worker=debug"];
    let output = support::output(&mut job.command(&arguments));
    let text = support::stderr(&output);
    assert_eq!(output.status.code(), Some(65), "{text}");
    assert!(
        text.contains("67108865 rows, but spec.algorithm.lsh takes at most 67108864; cluster a sample of them"),
        "{text}"
    );
    assert!(text.contains("input planned") && !text.contains("step begins"), "rows were read first: {text}");
    assert!(!job.directory.path().join("out/models").exists());
}

#[test]
fn too_many_clusters_and_none_at_all_end_the_run_with_what_to_change() {
    let data = apart(6_000);
    let refused = |lsh: &str, words: &[&str]| {
        let output = support::output(&mut data.job("Euclidean", lsh).command(&["--workers", "2", "--quiet"]));
        let text = support::stderr(&output);
        assert_eq!(output.status.code(), Some(65), "{text}");
        words.iter().for_each(|word| assert!(text.contains(word), "{word}: {text}"));
    };
    refused(
        "{tables: 16, hashes: 4, width: \"40\", minClusterSize: 3, maxClusters: 11}",
        &["there are 12 clusters of at least 3 rows", "spec.algorithm.lsh.maxClusters is 11", "greater width"],
    );
    refused(
        "{tables: 16, hashes: 4, width: \"40\", minClusterSize: 501}",
        &["no 501 rows hang together, the most that do are 500 of 6005"],
    );
}

#[test]
fn items_are_the_rows_of_the_clusters() {
    let data = apart(6_000);
    let job = Job::new(&data.manifest("Euclidean", APART, "  serving: {similarItems: true}\n"));
    job.run(&["--workers", "2"]);
    let manifest = std::fs::read(job.directory.path().join("out/models/v1/manifest.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    assert_eq!(manifest["files"]["items"]["rows"], 6_000);
    assert_eq!(manifest["training"]["algorithm"], "Lsh");
    assert_eq!(manifest["training"]["metrics"]["noise"], 5);
}
