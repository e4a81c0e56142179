//! A picture of a model in two dimensions.

use super::{QueryError, Served};
use coterie_algorithms::features::Axes;
use coterie_model::RowId;

/// Items in the picture when the request does not say how many.
const DEFAULT_ITEMS: u32 = 1_000;

/// Most items in the picture.
const MOST_ITEMS: u32 = 20_000;

/// Most centroids that the axes are computed from.
const MOST_CENTROIDS: usize = 4_096;

/// A place in the picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place {
    /// Along the first axis.
    pub x: f32,
    /// Along the second axis; 0 where there is only one.
    pub y: f32,
}

/// An item in the picture.
#[derive(Clone, Debug, PartialEq)]
pub struct MapItem {
    /// Its id in the source.
    pub id: RowId,
    /// Its cluster.
    pub cluster: u32,
    /// Where it is.
    pub place: Place,
}

/// Where centroids, and items where the model has them, lie along the two principal axes of the centroids.
#[derive(Clone, Debug, PartialEq)]
pub struct Map {
    /// Share of the centroids' variance along each axis.
    pub explained: Vec<f64>,
    /// One per cluster.
    pub clusters: Vec<Place>,
    /// A sample, as many of each cluster as its size makes up.
    pub items: Vec<MapItem>,
}

/// The picture, with a sample of about so many items; 1,000 when unset.
///
/// # Errors
/// [`QueryError::MapItems`] when more are asked for than there may be.
pub fn map(served: &Served, items: Option<u32>) -> Result<Map, QueryError> {
    let wanted = items.unwrap_or(DEFAULT_ITEMS);
    if wanted > MOST_ITEMS {
        return Err(QueryError::MapItems { found: wanted, most: MOST_ITEMS });
    }
    let model = served.model();
    let axes = served.axes.get_or_init(|| axes(served));
    let place = |row: &[f32]| {
        let mut along = axes.place(row).map(|at| at as f32);
        Place { x: along.next().unwrap_or_default(), y: along.next().unwrap_or_default() }
    };
    let items = match served.items() {
        None => Vec::new(),
        Some(index) => {
            let lists = super::similar::lists(served, index)?;
            let (n, wanted) = (index.len() as u64, u64::from(wanted).min(index.len() as u64));
            // Items lie in the order of their clusters, so that every so-manieth takes of each its share.
            let places = (0..wanted).map(|i| ((2 * i + 1) * n / (2 * wanted)) as u32);
            let item = |at: u32| MapItem {
                id: index.id(at),
                cluster: lists.cluster_of(at as usize) as u32,
                place: place(lists.row(at as usize)),
            };
            places.map(item).collect()
        }
    };
    let clusters = model.centroids.values().chunks_exact(model.dimension()).map(place).collect();
    Ok(Map { explained: axes.explained().to_vec(), clusters, items })
}

/// The axes along which the centroids, weighted by their rows, vary most.
fn axes(served: &Served) -> Axes {
    let model = served.model();
    let step = model.n_clusters().div_ceil(MOST_CENTROIDS).max(1);
    let chosen: Vec<usize> = (0..model.n_clusters()).step_by(step).collect();
    let rows: Vec<f32> = chosen.iter().flat_map(|&cluster| model.centroids.row(cluster)).copied().collect();
    let weights: Vec<f64> = chosen.iter().map(|&cluster| model.clusters[cluster].size.max(1) as f64).collect();
    Axes::new(&rows, model.dimension(), &weights, 2)
}
