//! Models to serve.

use coterie_algorithms::features::{Pipeline, Transform};
use coterie_algorithms::kmeans::Centroids;
use coterie_algorithms::members::Members;
use coterie_algorithms::metric::Metric;
use coterie_model::{ClusterStatistics, DistancePercentiles, Input, Metrics, Model, RowId, Training};

/// Three clusters over the columns `tempo` and `key`: features are `(tempo - 100) / 20` and `key / 4`, and the centroids
/// lie at (0, 0), (3, 0) and (0, -4).
pub(crate) fn songs() -> Model {
    let mut pipeline = Pipeline::new(2);
    pipeline.push(Transform::Standardize { mean: vec![100.0, 0.0], deviation: vec![20.0, 4.0] });
    model(Metric::Euclidean, pipeline, vec![0.0, 0.0, 3.0, 0.0, 0.0, -4.0], &["tempo", "key"])
}

/// The same as a version of its own, all centroids moved by `shift` to the right.
pub(crate) fn shifted_songs(version: &str, shift: f32) -> Model {
    let mut model = songs();
    version.clone_into(&mut model.version);
    let moved = model.centroids.values().chunks_exact(2).flat_map(|row| [row[0] + shift, row[1]]).collect();
    model.centroids = Centroids::new(2, moved);
    model
}

/// Two directions in the plane, east and north.
pub(crate) fn directions() -> Model {
    let mut pipeline = Pipeline::new(2);
    pipeline.push(Transform::L2Normalize);
    model(Metric::Cosine, pipeline, vec![1.0, 0.0, 0.0, 1.0], &["east", "north"])
}

/// Three clusters of sets of the members a to d: of most of a, b and d; of c and d; and of hardly any.
pub(crate) fn tags() -> Model {
    let shares = vec![1.0, 1.0, 0.0, 0.5, 0.0, 0.0, 1.0, 0.5, 0.0, 0.0, 0.0, 0.25];
    model(Metric::Jaccard, Pipeline::new(4), shares, &["a", "b", "c", "d"])
}

/// k pseudo-random clusters of sets of d possible members.
pub(crate) fn many_sets(k: usize, d: usize) -> Model {
    let names: Vec<String> = (0..d).map(|j| format!("tag_{j}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let shares = Random(5).values(k * d).into_iter().map(|value| value.max(0.0)).collect();
    model(Metric::Jaccard, Pipeline::new(d), shares, &names)
}

/// The same, trained on lists of such members.
pub(crate) fn of(members: Members, model: Model) -> Model {
    Model { members: Some(members), ..model }
}

/// k pseudo-random centroids of dimension d behind a pipeline of scaling and centring.
pub(crate) fn large(k: usize, d: usize) -> Model {
    let mut random = Random(7);
    let mut pipeline = Pipeline::new(d);
    pipeline.push(Transform::Standardize { mean: random.values(d), deviation: vec![0.75; d] });
    pipeline.push(Transform::Center { mean: random.values(d) });
    let names: Vec<String> = (0..d).map(|j| format!("pixel_{j}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    model(Metric::Euclidean, pipeline, random.values(k * d), &names)
}

/// Numbers in -1..1 that are the same in every run.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn values(&mut self, count: usize) -> Vec<f32> {
        (0..count)
            .map(|_| {
                self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                (self.0 >> 40) as f32 / (1 << 23) as f32 - 1.0
            })
            .collect()
    }
}

fn model(metric: Metric, pipeline: Pipeline, centroids: Vec<f32>, names: &[&str]) -> Model {
    let d = names.len();
    let k = centroids.len() / d;
    let cluster = |i: usize| ClusterStatistics {
        size: 10 * (i as u64 + 1),
        share: 0.25,
        inertia: 2.5,
        mean_distance: 0.5,
        radius: 1.5,
        distance_percentiles: (i != 1).then_some(DistancePercentiles { p50: 0.5, p90: 0.75, p95: 1.0, p99: 1.25 }),
        silhouette: i.is_multiple_of(2).then_some(0.75),
        exemplars: vec![RowId::Int(i as i64), RowId::Text(format!("row-{i}"))],
    };
    Model {
        name: "songs".to_owned(),
        version: "v3".to_owned(),
        metric,
        pipeline,
        centroids: Centroids::new(d, centroids),
        feature_names: names.iter().map(|&name| name.to_owned()).collect(),
        members: None,
        clusters: (0..k).map(cluster).collect(),
        training: Training {
            algorithm: "KMeans".to_owned(),
            parameters: serde_json::json!({"clusters": k}),
            seed: 42,
            input: Input { rows: 60, dropped: 2, fingerprint: "blake3:0".to_owned(), ..Input::default() },
            spec: serde_json::Value::Null,
            iterations: 12,
            converged: true,
            metrics: Metrics {
                inertia: 7.5,
                silhouette: Some(0.625),
                silhouette_rows: Some(60),
                davies_bouldin: Some(0.5),
                ..Metrics::default()
            },
            trained_at: jiff::Timestamp::UNIX_EPOCH,
            code_version: "0.1.0".to_owned(),
            image: None,
            workers: 4,
        },
        items: None,
    }
}
