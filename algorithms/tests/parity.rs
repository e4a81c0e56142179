//! Results against scikit-learn's, from golden files that `parity/make_golden.py` makes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;

use coterie_algorithms::features::{Moments, Pipeline, Step, Transform, fit};
use coterie_algorithms::kmeans::local::{self, Params};
use coterie_algorithms::kmeans::squared_distance;
use coterie_algorithms::metric::Metric;
use coterie_algorithms::score::{Contingency, calinski_harabasz, davies_bouldin, silhouette};
use ndarray::{ArrayView2, aview1};
use serde::Deserialize;

const NAMES: [&str; 4] = ["digits", "overlapping", "unequal_scales", "empty_clusters"];

#[derive(Deserialize)]
struct Golden {
    dimension: usize,
    steps: Vec<f64>,
    data: Vec<f64>,
    classes: Vec<u32>,
    start: Vec<f64>,
    empty_in_first_round: usize,
    labels: Vec<u32>,
    centroids: Vec<f64>,
    inertia: f64,
    n_iter: u32,
    silhouette: f64,
    silhouette_samples: Vec<f64>,
    silhouette_cosine: f64,
    davies_bouldin: f64,
    calinski_harabasz: f64,
    ari: f64,
    nmi: f64,
    standardize: Standardize,
    min_max: MinMax,
    pca: Pca,
}

#[derive(Deserialize)]
struct Standardize {
    mean: Vec<f64>,
    scale: Vec<f64>,
    rows: Vec<f64>,
}

#[derive(Deserialize)]
struct MinMax {
    minimum: Vec<f64>,
    range: Vec<f64>,
    rows: Vec<f64>,
}

#[derive(Deserialize)]
struct Pca {
    components: Vec<f64>,
    explained_variance: Vec<f64>,
    explained_variance_ratio: Vec<f64>,
    rows: Vec<f64>,
}

impl Golden {
    fn load(name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parity").join(name).with_extension("json");
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    }

    /// Whole numbers times the columns' steps: the same values in f32 and f64.
    fn scaled(&self, grid: &[f64]) -> Vec<f32> {
        grid.iter().zip(self.steps.iter().cycle()).map(|(&v, &step)| (v * step) as f32).collect()
    }

    fn points(&self) -> Vec<f32> {
        self.scaled(&self.data)
    }

    fn k(&self) -> usize {
        self.start.len() / self.dimension
    }

    fn fitted(&self, step: &Step) -> (Transform, Vec<f32>) {
        let points = self.points();
        let d = self.dimension;
        let column = |j: usize| points.iter().skip(j).step_by(d).copied();
        let min: Vec<f32> = (0..d).map(|j| column(j).fold(f32::INFINITY, f32::min)).collect();
        let max: Vec<f32> = (0..d).map(|j| column(j).fold(f32::NEG_INFINITY, f32::max)).collect();
        let mut moments = Moments::new(&min, &max, (points.len() / d) as u64, step.needs_covariance());
        moments.add_rows(&points);
        let transform = fit(step, &moments, &min, &max).unwrap();
        let mut pipeline = Pipeline::new(d);
        pipeline.push(transform.clone());
        let mut out = Vec::new();
        pipeline.apply(&points, &mut out);
        let (low, high) = pipeline.bounds(&min, &max);
        for row in out.chunks_exact(pipeline.output_dimension()) {
            for ((value, low), high) in row.iter().zip(&low).zip(&high) {
                assert!(low <= value && value <= high, "{value} is not in {low}..={high}");
            }
        }
        (transform, out)
    }
}

/// Each of `ours` within `tolerance` times `scale` of its counterpart.
fn close(what: &str, ours: &[f32], theirs: &[f64], tolerance: f64, scale: impl Fn(usize) -> f64) {
    for (i, (&ours, &theirs)) in ours.iter().zip(theirs).enumerate() {
        let error = (f64::from(ours) - theirs).abs();
        assert!(error <= tolerance * scale(i), "{what}[{i}]: {ours} but scikit-learn has {theirs}");
    }
}

fn relative(what: &str, ours: f64, theirs: f64, tolerance: f64) {
    assert!((ours - theirs).abs() <= tolerance * theirs.abs(), "{what}: {ours} but scikit-learn has {theirs}");
}

#[test]
fn lloyd_has_the_same_labels_iterations_and_inertia() {
    for name in NAMES {
        let golden = Golden::load(name);
        let (points, start) = (golden.points(), golden.scaled(&golden.start));
        let d = golden.dimension;
        let view = ArrayView2::from_shape((points.len() / d, d), &points).unwrap();
        let start = ArrayView2::from_shape((golden.k(), d), &start).unwrap();
        let ours = local::fit(view, start, &Params::default());
        assert_eq!(ours.labels, golden.labels, "{name}");
        assert_eq!(ours.iterations, golden.n_iter, "{name}");
        assert!(ours.converged);
        relative(name, ours.inertia, golden.inertia, 1e-6);
        let largest: Vec<f64> = (0..d)
            .map(|j| golden.centroids.iter().skip(j).step_by(d).fold(0.0f64, |largest, v| largest.max(v.abs())))
            .collect();
        close(name, &ours.centroids, &golden.centroids, 1e-6, |i| largest[i % d]);
    }
}

/// The third set is there for this: make sure that it still is.
#[test]
fn empty_clusters_do_arise() {
    assert_eq!(Golden::load("empty_clusters").empty_in_first_round, 2);
    assert_eq!(Golden::load("digits").empty_in_first_round, 0);
}

#[test]
fn silhouettes() {
    for name in NAMES {
        let golden = Golden::load(name);
        let points = golden.points();
        let (d, k) = (golden.dimension, golden.k());
        let ours = silhouette(&points, d, &golden.labels, k, Metric::Euclidean);
        relative(name, ours.mean, golden.silhouette, 1e-6);
        for (ours, theirs) in ours.per_sample.iter().zip(&golden.silhouette_samples) {
            assert!((ours - theirs).abs() < 1e-6, "{name}: {ours} but scikit-learn has {theirs}");
        }
        let ours = silhouette(&points, d, &golden.labels, k, Metric::Cosine);
        assert!(
            (ours.mean - golden.silhouette_cosine).abs() < 1e-5,
            "{name}: {} {}",
            ours.mean,
            golden.silhouette_cosine
        );
    }
}

#[test]
fn scores_from_sums() {
    for name in NAMES {
        let golden = Golden::load(name);
        let points = golden.points();
        let (d, k, n) = (golden.dimension, golden.k(), golden.labels.len());
        let mut means = vec![0.0f64; (k + 1) * d];
        let mut counts = vec![0.0f64; k];
        for (row, &label) in points.chunks_exact(d).zip(&golden.labels) {
            counts[label as usize] += 1.0;
            for (j, &value) in row.iter().enumerate() {
                means[label as usize * d + j] += f64::from(value);
                means[k * d + j] += f64::from(value) / n as f64;
            }
        }
        let (means, whole) = means.split_at(k * d);
        let centroids: Vec<f32> = means.iter().enumerate().map(|(i, sum)| (sum / counts[i / d]) as f32).collect();
        let whole: Vec<f32> = whole.iter().map(|&v| v as f32).collect();
        let (mut distances, mut within, mut total) = (vec![0.0; k], 0.0, 0.0);
        for (row, &label) in points.chunks_exact(d).zip(&golden.labels) {
            let label = label as usize;
            let distance2 = squared_distance(row, &centroids[label * d..][..d]);
            distances[label] += distance2.sqrt() / counts[label];
            within += distance2;
            total += squared_distance(row, &whole);
        }
        relative(name, davies_bouldin(&centroids, d, &distances, Metric::Euclidean), golden.davies_bouldin, 1e-6);
        relative(name, calinski_harabasz(n as u64, k as u64, total, within), golden.calinski_harabasz, 1e-6);
    }
}

#[test]
fn agreement_with_classes() {
    for name in NAMES {
        let golden = Golden::load(name);
        let mut table = Contingency::new();
        for (class, &label) in golden.classes.iter().zip(&golden.labels) {
            table.add(&class.to_string(), label);
        }
        relative(name, table.ari(), golden.ari, 1e-12);
        relative(name, table.nmi(), golden.nmi, 1e-12);
    }
}

#[test]
fn scalers() {
    for name in NAMES {
        let golden = Golden::load(name);
        let d = golden.dimension;
        let (transform, rows) = golden.fitted(&Step::Standardize);
        let Transform::Standardize { mean, deviation } = transform else { panic!("{transform:?}") };
        let theirs = &golden.standardize;
        close(name, &mean, &theirs.mean, 1e-7, |i| theirs.mean[i].abs() + theirs.scale[i]);
        close(name, &deviation, &theirs.scale, 1e-6, |i| theirs.scale[i]);
        // The stored mean is an f32: what that loses shows against the deviation.
        close(name, &rows, &theirs.rows, 1e-6, |i| 1.0 + (theirs.mean[i % d] / theirs.scale[i % d]).abs());

        let (transform, rows) = golden.fitted(&Step::MinMax);
        let Transform::MinMax { minimum, range } = transform else { panic!("{transform:?}") };
        close(name, &minimum, &golden.min_max.minimum, 0.0, |_| 0.0);
        // scikit-learn reports a range of 0 for constant columns and then divides by 1.
        let ranges: Vec<f64> = golden.min_max.range.iter().map(|&r| if r == 0.0 { 1.0 } else { r }).collect();
        close(name, &range, &ranges, 1e-7, |i| ranges[i]);
        close(name, &rows, &golden.min_max.rows, 1e-6, |_| 1.0);
    }
}

#[test]
fn principal_components() {
    for name in NAMES {
        let golden = Golden::load(name);
        let theirs = &golden.pca;
        let components = theirs.explained_variance.len();
        let (transform, rows) = golden.fitted(&Step::Pca { components });
        let Transform::Pca { components: ours, explained_variance, explained_variance_ratio, .. } = transform else {
            panic!("{transform:?}")
        };
        close(name, &explained_variance, &theirs.explained_variance, 1e-5, |i| theirs.explained_variance[i]);
        close(name, &explained_variance_ratio, &theirs.explained_variance_ratio, 1e-6, |_| 1.0);
        close(name, &ours, &theirs.components, 2e-5, |_| 1.0);
        let deviation = theirs.explained_variance[0].sqrt();
        close(name, &rows, &theirs.rows, 2e-5, |_| deviation);
    }
}

#[test]
fn views_may_have_any_layout() {
    let golden = Golden::load("overlapping");
    let (points, start) = (golden.points(), golden.scaled(&golden.start));
    let d = golden.dimension;
    let rows = aview1(&points).into_shape_with_order((points.len() / d, d)).unwrap();
    let start = aview1(&start).into_shape_with_order((golden.k(), d)).unwrap();
    let columns = rows.t().as_standard_layout().into_owned();
    let params = Params { max_iterations: 3, ..Params::default() };
    assert_eq!(local::fit(columns.t(), start, &params), local::fit(rows, start, &params));
}
