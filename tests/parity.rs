//! A whole sharded run against scikit-learn: from the same first centroids the same labels, iterations and inertia. The golden
//! files are those of the algorithms crate (see algorithms/tests/parity/make_golden.py).
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod support;

use serde::Deserialize;
use support::{Job, input};

#[derive(Deserialize)]
struct Golden {
    dimension: usize,
    /// Data are whole multiples of these, per column, so that they are the same numbers in f32 and f64.
    steps: Vec<f64>,
    data: Vec<f64>,
    start: Vec<f64>,
    labels: Vec<i32>,
    inertia: f64,
    n_iter: u64,
    silhouette: f64,
}

impl Golden {
    fn rows(&self, grid: &[f64]) -> Vec<Vec<f32>> {
        let row = |row: &[f64]| row.iter().zip(&self.steps).map(|(value, step)| (value * step) as f32).collect();
        grid.chunks(self.dimension).map(row).collect()
    }
}

#[test]
fn sharded_runs_agree_with_scikit_learn() {
    for name in ["digits", "overlapping", "unequal_scales", "empty_clusters"] {
        let file = support::root().join(format!("algorithms/tests/parity/{name}.json"));
        let golden: Golden = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        let directory = support::directory();
        let (data, start) = (directory.path().join("data.parquet"), directory.path().join("start.parquet"));
        let (rows, centroids) = (golden.rows(&golden.data), golden.rows(&golden.start));
        input::parquet(&data, 0, &rows, 100);
        input::parquet(&start, 0, &centroids, 100);
        let output = directory.path().join("out");
        let job = Job::new(&format!(
            "apiVersion: coterie.dev/v1alpha1\nkind: ClusteringJob\nmetadata: {{name: parity}}\nspec:\n  source: {{uri: {}, columns: {{id: id, vector: \
             vector}}}}\n  algorithm: {{kMeans: {{clusters: {}, init: WarmStart, warmStart: {{uri: {}}}}}}}\n  output: {{uri: {}, assignments: true}}\n",
            data.display(),
            centroids.len(),
            start.display(),
            output.display()
        ));
        let summary = job.run(&["--workers", "3", "--quiet", "--output", output.to_str().unwrap()]);
        assert_eq!(summary["iterations"], golden.n_iter, "{name}");
        let close = |what: &str, theirs: f64, tolerance: f64| {
            let ours = summary[what].as_f64().unwrap();
            assert!((ours - theirs).abs() <= tolerance * theirs.abs(), "{name}: {what} {ours}, scikit-learn {theirs}");
        };
        close("inertia", golden.inertia, 1e-6);
        close("silhouette", golden.silhouette, 1e-5);
        let labels = input::assignments(&output.join("assignments/v1"));
        assert_eq!(labels.len(), rows.len());
        for (at, theirs) in golden.labels.iter().enumerate() {
            assert_eq!(labels[&(at as i64)], *theirs, "{name}: row {at}");
        }
    }
}
