//! Statistics of the final clusters, as an order-free partial.

use coterie_algorithms::{
    fixed::Scale,
    kmeans::{self, Centroids, init::Sample},
    metric::Metric,
    quantiles::Quantiles,
};
use serde::{Deserialize, Serialize};

use super::sampling::{self, Draw};

/// Rows named as examples of a cluster.
pub const EXEMPLARS: usize = 3;

/// Most clusters whose distances are counted by size: some hundred bytes each, sent to the coordinator.
const SPREADS: usize = 1 << 16;

/// Statistics of one cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ClusterTally {
    /// Sum of distances to the centroid, fixed point.
    pub distance: i128,
    /// Sum of squared distances to the centroid, fixed point.
    pub inertia: i128,
    /// Greatest squared distance to the centroid.
    pub radius2: f64,
    /// Distances to the centroid by size; none where there are very many clusters.
    pub spread: Quantiles,
    /// The rows nearest to the centroid: (squared distance, ordinal), ascending.
    pub exemplars: Vec<(f64, u64)>,
}

/// What rows are measured by.
#[derive(Clone, Copy, Debug)]
pub struct Measures<'a> {
    /// The final centroids.
    pub centroids: &'a Centroids,
    /// Scale of rows and distances.
    pub scale: &'a Scale,
    /// Which distance; see [`Metric::square`].
    pub metric: Metric,
    /// Seed of the run.
    pub seed: u64,
    /// The rows that may be sampled now; `None`: none.
    pub draw: Option<Draw>,
}

/// What [`super::Step::Evaluate`] collects.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Evaluation {
    /// Sums per cluster; their inertia is in `clusters`.
    pub sums: kmeans::Partial,
    /// Per cluster.
    pub clusters: Vec<ClusterTally>,
    /// Sampled rows; each is the row followed by its label as the last value.
    pub sample: Sample,
}

impl Evaluation {
    /// Nothing seen yet, for k clusters of dimension d and a sample of `sample` rows.
    #[must_use]
    pub fn new(k: usize, dimension: usize, sample: usize) -> Self {
        Self {
            sums: kmeans::Partial::new(k, dimension),
            clusters: vec![ClusterTally::default(); k],
            sample: Sample::new(sample, dimension + 1),
        }
    }

    /// Adds rows whose labels are known. `first` is the ordinal of the first row; `buffer` is scratch space.
    pub fn add_rows(
        &mut self,
        measures: &Measures<'_>,
        first: u64,
        rows: &[f32],
        labels: &[u32],
        buffer: &mut Vec<f32>,
    ) {
        let Measures { centroids, scale, metric, seed, draw } = *measures;
        self.sums.add_rows_only(scale, rows, labels);
        let dimension = centroids.dimension();
        let spreads = centroids.len() <= SPREADS;
        for (at, (row, &label)) in rows.chunks_exact(dimension).zip(labels).enumerate() {
            let ordinal = first + at as u64;
            let distance2 = metric.square(row, centroids.row(label as usize));
            let tally = &mut self.clusters[label as usize];
            let distance = distance2.sqrt();
            tally.distance += i128::from(scale.quantize_distance(distance));
            tally.inertia += i128::from(scale.quantize_distance2(distance2));
            tally.radius2 = tally.radius2.max(distance2);
            if spreads {
                tally.spread.add(distance);
            }
            tally.offer(distance2, ordinal);
            if let Some(key) = draw.and_then(|draw| draw.key(seed, ordinal)) {
                sampling::offer(&mut self.sample, (key, ordinal), row, label, buffer);
            }
        }
    }

    /// Sum of the squared distances of all rows to their centroids, fixed point.
    #[must_use]
    pub fn inertia(&self) -> i128 {
        self.clusters.iter().map(|cluster| cluster.inertia).sum()
    }

    /// Whether another partial, which may have come from anywhere, can be added to this one.
    #[must_use]
    pub fn has_shape_of(&self, other: &Self) -> bool {
        self.sums.has_shape_of(&other.sums)
            && self.clusters.len() == other.clusters.len()
            && self.sample.has_shape_of(&other.sample)
    }

    /// Adds another partial of the same [shape](Self::has_shape_of).
    pub fn merge(&mut self, other: Self) {
        self.sums.merge(&other.sums);
        for (mine, theirs) in self.clusters.iter_mut().zip(other.clusters) {
            mine.distance += theirs.distance;
            mine.inertia += theirs.inertia;
            mine.radius2 = mine.radius2.max(theirs.radius2);
            mine.spread.merge(&theirs.spread);
            for (distance2, ordinal) in theirs.exemplars {
                mine.offer(distance2, ordinal);
            }
        }
        self.sample.merge(other.sample);
    }

    /// The sample's rows and labels.
    #[must_use]
    pub fn into_sample(self, dimension: usize) -> (Vec<f32>, Vec<u32>) {
        let (_, values) = self.sample.into_rows();
        let mut rows = Vec::with_capacity(values.len() / (dimension + 1) * dimension);
        let mut labels = Vec::with_capacity(values.len() / (dimension + 1));
        for entry in values.chunks_exact(dimension + 1) {
            rows.extend_from_slice(&entry[..dimension]);
            labels.push(entry[dimension].to_bits());
        }
        (rows, labels)
    }
}

impl ClusterTally {
    fn offer(&mut self, distance2: f64, ordinal: u64) {
        let key = (distance2, ordinal);
        if self.exemplars.len() == EXEMPLARS && self.exemplars.last().is_some_and(|last| *last <= key) {
            return;
        }
        let at = self.exemplars.partition_point(|have| *have < key);
        self.exemplars.insert(at, key);
        self.exemplars.truncate(EXEMPLARS);
    }
}
