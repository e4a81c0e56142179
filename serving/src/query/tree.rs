//! The tree over a model's clusters.

use super::{QueryError, Served};
use coterie_algorithms::hierarchical::{Dendrogram, ward};
use coterie_algorithms::metric::Metric;

/// Most clusters over which a tree is built: a few seconds of one core, once.
const MOST_LEAVES: usize = 4_096;

/// The tree over the clusters by Ward's linkage, each weighted by its rows; built when it is first asked for.
///
/// # Errors
/// [`QueryError::NoTree`] for a model of sets, [`QueryError::TooManyClusters`].
pub fn dendrogram(served: &Served) -> Result<&Dendrogram, QueryError> {
    let model = served.model();
    if model.metric == Metric::Jaccard {
        return Err(QueryError::NoTree);
    }
    let clusters = model.n_clusters();
    if clusters > MOST_LEAVES {
        return Err(QueryError::TooManyClusters { clusters, most: MOST_LEAVES });
    }
    Ok(served.tree.get_or_init(|| {
        let weights: Vec<f64> = model.clusters.iter().map(|cluster| cluster.size as f64).collect();
        ward(model.centroids.values(), model.dimension(), &weights)
    }))
}

/// The group of each cluster when the tree is cut so that `groups` remain.
///
/// # Errors
/// [`QueryError`] when there is no tree or it has not as many clusters.
pub fn cut(served: &Served, groups: u32) -> Result<Vec<u32>, QueryError> {
    let tree = dendrogram(served)?;
    match groups as usize {
        wanted if (1..=tree.leaves()).contains(&wanted) => Ok(tree.cut(wanted)),
        _ => Err(QueryError::Groups { found: groups, most: tree.leaves() }),
    }
}
