//! What can be asked of a model: pure functions, no sockets, no clock.
//!
//! A vector goes through the model's own feature pipeline and then gets the label that the kernel gave the training rows, to the
//! bit, so a row gets the label it had in training. Distances are in feature space: Euclidean for a Euclidean model, `1 - cos` for a
//! cosine one (1 for a vector without direction), and one minus the share of members in common for a Jaccard one. A set is the vector of
//! zeros and ones that its members were in training.

mod clusters;
mod error;
mod map;
mod matrix;
mod names;
mod near;
mod part;
mod sets;
mod shares;
mod similar;
mod tree;

pub use clusters::{ClusterView, Page, cluster, clusters};
pub use error::QueryError;
pub use map::{Map, MapItem, Place, map};
pub use matrix::Matrix;
pub(crate) use matrix::check_dimension;
pub(crate) use part::{Found, merge, part};
pub use sets::Sets;
pub use shares::Recent;
pub(crate) use shares::Shares;
pub use similar::{DEFAULT_ITEMS, Like, MOST_ITEMS, Method, Similar, SimilarItem, method, similar, similar_cost};
pub(crate) use similar::{ItemPlace, Search, asked, find};
pub use tree::{cut, dendrogram};

use coterie_algorithms::features::{Axes, largest_magnitude};
use coterie_algorithms::hierarchical::Dendrogram;
use coterie_algorithms::metric::Metric;
use coterie_model::Model;
use coterie_model::items::ItemIndex;
pub(crate) use coterie_model::metric_name;
use names::Names;
use near::Near;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

/// Clusters that [`nearest_clusters`] gives when the request does not say how many.
pub const DEFAULT_COUNT: u32 = 10;

/// Most clusters in the answer of [`assign_with_neighbours`], over all rows.
pub const MAX_NEIGHBOURS: usize = 1 << 22;

/// Largest length, in feature space, of a vector times that of a centroid: beyond it the kernel's `f32` sums overflow.
const MAX_REACH: f64 = 1e37;

/// A model made ready to be asked.
#[derive(Debug)]
pub struct Served {
    model: Arc<Model>,
    digest: String,
    /// All that answers depend on.
    identity: String,
    /// Finds the nearest centroids.
    near: Near,
    /// Columns by the names of features, where these are the members of sets.
    names: Option<Names>,
    /// Length of the longest centroid, at least 1.
    longest: f64,
    items: Option<similar::Items>,
    /// The tree over the clusters, once it was asked for.
    tree: OnceLock<Dendrogram>,
    /// The axes of the picture, once it was asked for.
    axes: OnceLock<Axes>,
    shares: Shares,
}

/// The nearest cluster of a vector.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Assignment {
    /// Index of the cluster.
    pub cluster: u32,
    /// Distance to its centroid.
    pub distance: f32,
    /// Distance to the second nearest centroid minus `distance`; 0 with a single cluster.
    pub margin: f32,
    /// `margin` as a share of the distance to the second nearest centroid: 1 at a centroid or with a single cluster, 0 half way
    /// between two.
    pub confidence: f32,
}

/// A cluster near a vector.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Neighbour {
    /// Index of the cluster.
    pub cluster: u32,
    /// Distance to its centroid.
    pub distance: f32,
}

// === impl Served ===

impl From<Arc<Model>> for Served {
    fn from(model: Arc<Model>) -> Self {
        Self::new(model)
    }
}

impl Served {
    /// Prepares `model`, and asks it once in each way so that the first caller does not pay for cold memory.
    pub fn new(model: Arc<Model>) -> Self {
        let digest = coterie_model::digest(&model);
        let lengths = model.centroids.values().chunks_exact(model.dimension()).map(length);
        let longest = lengths.fold(1.0, f64::max);
        let (near, names) = (Near::new(&model), Names::new(&model));
        let shares = Shares::new(model.n_clusters(), Instant::now());
        let (tree, axes) = (OnceLock::new(), OnceLock::new());
        let identity = digest.clone();
        let served = Self { model, digest, identity, near, names, longest, items: None, tree, axes, shares };
        if let Err(error) = served.warm_up() {
            tracing::debug!(%error, "model could not be warmed up");
        }
        served
    }

    /// The same, with the items of the model.
    pub fn with_items(self, index: ItemIndex) -> Self {
        let identity = format!("{} {}", self.digest, index.identity());
        Self { items: Some(similar::Items::new(index)), identity, ..self }
    }

    /// The items, where they are served.
    pub fn items(&self) -> Option<&ItemIndex> {
        self.items.as_ref().map(similar::Items::index)
    }

    /// One query of each kind.
    fn warm_up(&self) -> Result<(), QueryError> {
        let rows = vec![0.0; 2 * self.input_dimension()];
        let (origin, _) = rows.split_at(self.input_dimension());
        assign(self, origin.to_vec(), None)?;
        assign(self, rows.clone(), Some(0))?;
        nearest_clusters(self, origin, None)?;
        let now = Instant::now();
        cluster(self, 0, now)?;
        clusters(self, Page { offset: 0, limit: Some(1), centroids: true }, now)?;
        Ok(())
    }

    /// Counts rows that were assigned, for the clusters' traffic.
    pub(crate) fn count(&self, now: Instant, assignments: &[Assignment]) {
        self.shares.count(now, assignments);
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Its version.
    pub fn version(&self) -> &str {
        &self.model.version
    }

    /// Its model digest.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Equal where the same questions have the same answers.
    pub(crate) fn identity(&self) -> &str {
        &self.identity
    }

    /// What the sets of a request have as members; none where the model takes no sets.
    pub(crate) fn members(&self) -> Option<&'static str> {
        names::members(&self.model, self.names.as_ref())
    }

    /// Whether the members of sets are the names of features: [`Sets::named`] then finds their columns.
    pub(crate) fn has_names(&self) -> bool {
        self.names.is_some()
    }

    /// Number of values in a vector.
    pub fn input_dimension(&self) -> usize {
        self.model.input_dimension()
    }

    /// Multiplications that one row costs, roughly.
    pub fn cost_per_row(&self) -> usize {
        self.near.cost(&self.model).max(self.input_dimension())
    }

    /// Multiplications that a look at one item costs, roughly.
    pub(crate) fn cost_per_item(&self) -> usize {
        self.near.cost_per_column().saturating_mul(self.model.dimension())
    }

    /// Whether a request that names `version` may be answered; an empty name asks for no version in particular.
    ///
    /// # Errors
    /// [`QueryError::Version`] when it names another version than the one served.
    pub fn check_version(&self, version: &str) -> Result<(), QueryError> {
        if version.is_empty() || version == self.version() {
            return Ok(());
        }
        Err(QueryError::Version { wanted: version.to_owned(), served: self.version().to_owned() })
    }
}

/// The nearest cluster of each row.
///
/// `rows` is row-major with the model's input dimension, and becomes the features; `first_row` is the place of the first of them in the
/// request, for messages, or `None` when the request was for one vector.
///
/// # Errors
/// [`QueryError`] about the first row that cannot be answered.
pub fn assign(served: &Served, rows: Vec<f32>, first_row: Option<usize>) -> Result<Vec<Assignment>, QueryError> {
    Ok(assignments(served, &features(served, rows, first_row)?))
}

/// The nearest cluster of each row, and the `count` clusters nearest to it as [`nearest_clusters`] orders them, row after row; `rows` and
/// `first_row` as for [`assign`], `count` from [`neighbour_count`].
///
/// # Errors
/// [`QueryError`] about the first row that cannot be answered.
pub fn assign_with_neighbours(
    served: &Served,
    rows: Vec<f32>,
    first_row: Option<usize>,
    count: usize,
) -> Result<(Vec<Assignment>, Vec<u32>), QueryError> {
    let model = served.model();
    let features = features(served, rows, first_row)?;
    let rows = features.chunks_exact(model.dimension());
    let near = rows.flat_map(|row| served.near.nearest(model, row, count)).map(|(cluster, _)| cluster).collect();
    Ok((assignments(served, &features), near))
}

/// The nearest cluster of each row in feature space.
fn assignments(served: &Served, features: &[f32]) -> Vec<Assignment> {
    let model = served.model();
    let d = model.dimension();
    let n = features.len() / d;
    let (mut best, mut second) = (vec![0; n], vec![0; n]);
    served.near.assign_two(model, features, &mut best, &mut second);
    let answer = features.chunks_exact(d).zip(best.into_iter().zip(second)).map(|(row, (best, second))| {
        let nearest = model.metric.distance(row, model.centroids.row(best as usize));
        let (margin, confidence) = if second == u32::MAX {
            (0.0, 1.0)
        } else {
            // Where both are equally far to within f32, the kernel's order may differ from that of these distances.
            let farther = model.metric.distance(row, model.centroids.row(second as usize)).max(nearest);
            (farther - nearest, if farther > 0.0 { (farther - nearest) / farther } else { 0.0 })
        };
        Assignment { cluster: best, distance: nearest as f32, margin: margin as f32, confidence: confidence as f32 }
    });
    answer.collect()
}

/// The `count` clusters nearest to a vector, the nearest first; all of them when there are fewer.
///
/// # Errors
/// [`QueryError`] when the vector cannot be answered or `count` is 0.
pub fn nearest_clusters(served: &Served, vector: &[f32], count: Option<u32>) -> Result<Vec<Neighbour>, QueryError> {
    let count = count.unwrap_or(DEFAULT_COUNT);
    if count == 0 {
        return Err(QueryError::Count);
    }
    matrix::check_dimension(served.model(), vector.len(), None)?;
    let features = features(served, vector.to_vec(), None)?;
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let nearest = served.near.nearest(served.model(), &features, count);
    Ok(nearest.into_iter().map(|(cluster, distance)| Neighbour { cluster, distance: distance as f32 }).collect())
}

/// How many clusters [`assign_with_neighbours`] gives for each row when `count` are asked for.
///
/// # Errors
/// [`QueryError`] when `count` is 0, or when there are more than [`MAX_NEIGHBOURS`] for all `rows`.
pub fn neighbour_count(served: &Served, count: u64, rows: usize) -> Result<usize, QueryError> {
    if count == 0 {
        return Err(QueryError::Count);
    }
    let clusters = served.model().n_clusters();
    let count = usize::try_from(count).map_or(clusters, |count| count.min(clusters));
    if rows.saturating_mul(count) > MAX_NEIGHBOURS {
        return Err(QueryError::TooManyNeighbours { rows, count, most: MAX_NEIGHBOURS });
    }
    Ok(count)
}

/// Checks rows and takes them to feature space.
fn features(served: &Served, mut rows: Vec<f32>, first_row: Option<usize>) -> Result<Vec<f32>, QueryError> {
    let model = served.model();
    let place = |row: usize| first_row.map(|first| first + row);
    let sound = largest_magnitude(&rows).is_finite();
    let at = |at: usize| {
        let (row, column) = (at / model.input_dimension(), at % model.input_dimension());
        (place(row), column, model.feature_names.get(column).cloned().unwrap_or_default(), rows[at])
    };
    if let Some(place) = (!sound).then(|| rows.iter().position(|value| !value.is_finite())).flatten() {
        let (row, column, feature, value) = at(place);
        return Err(QueryError::NotFinite { row, column, feature, value });
    }
    let member = |value: &f32| *value == 0.0 || *value == 1.0;
    if model.metric == Metric::Jaccard
        && let Some(place) = rows.iter().position(|value| !member(value))
    {
        let (row, column, feature, value) = at(place);
        return Err(QueryError::NotMember { row, column, feature, value });
    }
    model.pipeline.apply_in_place(&mut rows);
    let d = model.dimension();
    // No row is longer than one whose values are all as large as the largest.
    if f64::from(largest_magnitude(&rows)) * (d as f64).sqrt() <= MAX_REACH / served.longest * (1.0 - 1e-9) {
        return Ok(rows);
    }
    for (row, values) in rows.chunks_exact(d).enumerate() {
        if !within_reach(served, values) {
            return Err(QueryError::TooFar { row: place(row) });
        }
    }
    Ok(rows)
}

/// Whether distances from a row in feature space are numbers. An overflow in the pipeline has made its length infinite or NaN.
fn within_reach(served: &Served, row: &[f32]) -> bool {
    length(row) <= MAX_REACH / served.longest
}

fn length(values: &[f32]) -> f64 {
    values.iter().map(|&value| f64::from(value) * f64::from(value)).sum::<f64>().sqrt()
}

/// A cluster's index as protocols have it, where -1 is kept for noise.
pub(crate) fn signed(cluster: u32) -> i32 {
    i32::try_from(cluster).unwrap_or(i32::MAX)
}
