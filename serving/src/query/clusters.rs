//! The clusters of a model, one by one or page by page.

use super::{QueryError, Recent, Served};
use coterie_model::ClusterStatistics;
use std::time::Instant;

/// Clusters of a page when the request does not say how many.
const DEFAULT_LIMIT: u32 = 1_000;

/// Most clusters of a page.
const MAX_LIMIT: u32 = 10_000;

/// Most numbers in the centroids of a page.
const MAX_NUMBERS: usize = 1 << 22;

/// Numbers that a cluster is told by, beside its centroid.
const NUMBERS_OF_CLUSTER: usize = 16;

/// One cluster: what was measured in training, and its centroid when asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClusterView<'a> {
    /// Index of the cluster.
    pub cluster: u32,
    /// What was measured in training.
    pub statistics: &'a ClusterStatistics,
    /// What it got of late.
    pub recent: Recent,
    /// The centroid, in feature space.
    pub centroid: Option<&'a [f32]>,
}

/// Which clusters to list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// First cluster.
    pub offset: u32,
    /// Number of clusters; 1,000 when unset, at most 10,000.
    pub limit: Option<u32>,
    /// Whether centroids are wanted; they may have at most 4,194,304 numbers together.
    pub centroids: bool,
}

impl Page {
    /// Numbers in the page of a model, roughly: what it takes to spell it.
    pub(crate) fn numbers(self, served: &Served) -> usize {
        let model = served.model();
        let left = model.n_clusters().saturating_sub(self.offset as usize);
        let centroid = if self.centroids { model.dimension() } else { 0 };
        left.min(self.limit.unwrap_or(DEFAULT_LIMIT) as usize).saturating_mul(NUMBERS_OF_CLUSTER + centroid)
    }
}

/// Cluster `id`, with its centroid and what it got of late, as of `now`.
///
/// # Errors
/// [`QueryError::UnknownCluster`].
pub fn cluster(served: &Served, id: i64, now: Instant) -> Result<ClusterView<'_>, QueryError> {
    let clusters = served.model().n_clusters();
    match u32::try_from(id) {
        Ok(cluster) if (cluster as usize) < clusters => {
            view(served, cluster, true, now).ok_or(QueryError::UnknownCluster { cluster: id, clusters })
        }
        _ => Err(QueryError::UnknownCluster { cluster: id, clusters }),
    }
}

/// The clusters of a page as of `now`, in order; none beyond the last.
///
/// # Errors
/// [`QueryError::Limit`] when the page is empty or too large.
pub fn clusters(served: &Served, page: Page, now: Instant) -> Result<Vec<ClusterView<'_>>, QueryError> {
    let most = if page.centroids {
        u32::try_from(MAX_NUMBERS / served.model().dimension().max(1))
            .map_or(MAX_LIMIT, |most| most.clamp(1, MAX_LIMIT))
    } else {
        MAX_LIMIT
    };
    let limit = page.limit.unwrap_or(DEFAULT_LIMIT.min(most));
    if limit == 0 || limit > most {
        return Err(QueryError::Limit { found: limit, most });
    }
    let end = page.offset.saturating_add(limit);
    Ok((page.offset..end).map_while(|cluster| view(served, cluster, page.centroids, now)).collect())
}

fn view(served: &Served, cluster: u32, centroid: bool, now: Instant) -> Option<ClusterView<'_>> {
    let model = served.model();
    let statistics = model.clusters.get(cluster as usize)?;
    let centroid = centroid.then(|| model.centroids.row(cluster as usize));
    Some(ClusterView { cluster, statistics, recent: served.shares.of(now, cluster), centroid })
}
