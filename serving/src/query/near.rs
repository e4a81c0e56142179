//! Which centroids are near a row in feature space, by the model's metric.

use coterie_algorithms::jaccard::SetFinder;
use coterie_algorithms::kmeans::{self, Finder, FinderBuffers};
use coterie_algorithms::metric::Metric;
use coterie_model::Model;
use std::cell::RefCell;

/// Multiplications of the kernel in the time that a centroid of sets takes for a column.
const COLUMN_OF_SETS: usize = 8;

thread_local! {
    /// Memory that a thread uses again from request to request.
    static BUFFERS: RefCell<FinderBuffers> = RefCell::default();
}

/// How the centroids of a model are searched.
#[derive(Debug)]
pub(super) enum Near {
    /// Straight-line distances order them: without a close look at all.
    Vectors(Box<Finder>),
    /// They are shares of sets: one by one.
    Sets(SetFinder),
}

impl Near {
    /// Prepares for the centroids of `model`.
    pub(super) fn new(model: &Model) -> Self {
        match model.metric {
            Metric::Euclidean | Metric::Cosine => Self::Vectors(Box::new(Finder::new(&model.centroids))),
            Metric::Jaccard => Self::Sets(SetFinder::new(&model.centroids)),
        }
    }

    /// Of each row the nearest centroid and the second nearest, `u32::MAX` where there is only one.
    pub(super) fn assign_two(&self, model: &Model, rows: &[f32], best: &mut [u32], second: &mut [u32]) {
        match self {
            Self::Vectors(finder) => {
                BUFFERS.with_borrow_mut(|buffers| finder.assign_two(&model.centroids, rows, best, second, buffers));
            }
            Self::Sets(finder) => finder.assign_two(&model.centroids, rows, best, second),
        }
    }

    /// The `count` centroids nearest to a row with their distances, the nearest first.
    pub(super) fn nearest(&self, model: &Model, row: &[f32], count: usize) -> Vec<(u32, f64)> {
        match self {
            Self::Vectors(_) => {
                let distance = |cluster: u32| model.metric.distance(row, model.centroids.row(cluster as usize));
                let mut nearest: Vec<(u32, f64)> = kmeans::nearest(&model.centroids, row, count)
                    .into_iter()
                    .map(|(cluster, _)| (cluster, distance(cluster)))
                    .collect();
                nearest.sort_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
                nearest
            }
            Self::Sets(finder) => finder.nearest(&model.centroids, row, count),
        }
    }

    /// Multiplications that one row costs, roughly, where it is compared with every centroid.
    pub(super) fn cost(&self, model: &Model) -> usize {
        let all = model.n_clusters().saturating_mul(model.dimension());
        all.saturating_mul(self.cost_per_column())
    }

    /// Multiplications that comparing two rows costs for each column, roughly.
    pub(super) fn cost_per_column(&self) -> usize {
        match self {
            Self::Vectors(_) => 1,
            Self::Sets(_) => COLUMN_OF_SETS,
        }
    }
}
