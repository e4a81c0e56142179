//! Data larger than the workers' memory goes to scratch files; nothing else grows with the number of rows.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod support;

use support::Job;

const ROWS: u64 = 10_000_000;
const LIMIT: u64 = 300_000_000;

#[test]
fn ten_million_rows_on_two_workers_of_300_mebibytes() {
    let data = support::directory();
    let generated = support::output(
        support::coterie()
            .args(["generate", "-n", &ROWS.to_string(), "-d", "16", "-k", "64"])
            .args(["--output", data.path().to_str().unwrap()]),
    );
    assert!(generated.status.success(), "{}", support::stderr(&generated));
    let job = Job::new(&format!(
        "apiVersion: coterie.dev/v1alpha1\nkind: ClusteringJob\nmetadata: {{name: large}}\nspec:\n  source: {{uri: {}, columns: {{id: id, \
         vector: vector}}}}\n  algorithm: {{kMeans: {{clusters: 64, maxIterations: 10}}}}\n  evaluation: {{sampleSize: 2000}}\n",
        data.path().display()
    ));
    let summary = job.run(&["--workers", "2", "--memory", "300Mi", "--quiet"]);
    assert_eq!(summary["rowsRead"], ROWS);
    let sizes: u64 =
        summary["clusters"].as_array().unwrap().iter().map(|cluster| cluster["size"].as_u64().unwrap()).sum();
    assert_eq!(sizes, ROWS);
    // The kernel's own high-water mark of each worker, 640 MB of rows notwithstanding.
    let peak = summary["peakRssBytes"].as_u64().unwrap();
    assert!(peak <= LIMIT, "a worker took {} MiB", peak >> 20);
    assert!(peak > 100 << 20, "implausible: {peak}");
    assert!(summary["silhouette"].as_f64().unwrap() > 0.5, "{}", summary["silhouette"]);
}
