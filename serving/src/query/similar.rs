//! Items similar to an item or to a vector.

use super::{QueryError, Served, features, matrix};
use coterie_algorithms::lists::{self, Breadth};
use coterie_algorithms::lsh::Neighbour;
use coterie_model::RowId;
use coterie_model::items::{ItemIndex, TablesSearcher};
use std::sync::{Mutex, PoisonError};

/// Items that [`similar`] gives when the request does not say how many.
pub const DEFAULT_ITEMS: u32 = 10;

/// Most items of one answer.
pub const MOST_ITEMS: u32 = 1_000;

/// The items of a model, and what it takes to search them.
#[derive(Debug)]
pub(super) struct Items {
    index: ItemIndex,
    /// Buffers of searches that ended, for those to come.
    idle: Mutex<Vec<Buffers>>,
}

#[derive(Debug, Default)]
struct Buffers {
    lists: lists::Searcher,
    tables: TablesSearcher,
    found: Vec<Neighbour>,
}

/// What similar items are asked of.
#[derive(Clone, Debug, PartialEq)]
pub enum Like {
    /// An item, by its id; it is left out of the answer.
    Item(String),
    /// A vector, one value per feature.
    Vector(Vec<f32>),
}

/// How similar items are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Among the items of the nearest clusters.
    Lists,
    /// Among the items that share a bucket of a hash table.
    Tables,
    /// Among all.
    Exact,
}

/// A question for similar items.
#[derive(Clone, Debug, PartialEq)]
pub struct Similar {
    /// What they should be similar to.
    pub like: Like,
    /// How many are wanted; 10 when unset, at most 1,000.
    pub count: Option<u32>,
    /// Only items of this cluster.
    pub cluster: Option<i64>,
    /// How they are looked for; tables where the model has them, otherwise lists, when unset.
    pub method: Option<Method>,
}

/// An item near what was asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct SimilarItem {
    /// Its id in the source.
    pub id: RowId,
    /// Its cluster.
    pub cluster: u32,
    /// Its distance, exact, in the model's feature space.
    pub distance: f32,
}

// === impl Items ===

impl Items {
    pub(super) fn new(index: ItemIndex) -> Self {
        Self { index, idle: Mutex::default() }
    }

    pub(super) fn index(&self) -> &ItemIndex {
        &self.index
    }

    /// Lends buffers to `search`. After a panic they are gone, and others are made.
    fn with_buffers<T>(&self, search: impl FnOnce(&mut Buffers) -> T) -> T {
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let mut buffers = idle().pop().unwrap_or_default();
        let result = search(&mut buffers);
        idle().push(buffers);
        result
    }
}

// === impl Method ===

impl Method {
    /// Its name in requests and answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lists => "Lists",
            Self::Tables => "Tables",
            Self::Exact => "Exact",
        }
    }
}

/// How a question is going to be answered.
///
/// # Errors
/// [`QueryError`] when the model has no items, or not the tables or the cluster that are asked for.
pub fn method(served: &Served, question: &Similar) -> Result<Method, QueryError> {
    let items = items(served)?;
    let tables = items.index.tables().is_some();
    match (question.method, question.cluster) {
        (Some(Method::Tables), Some(_)) => Err(QueryError::Malformed {
            what: "hash tables do not know clusters: leave cluster out, or the method".to_owned(),
        }),
        (Some(Method::Tables), None) if !tables => Err(QueryError::NoTables),
        (Some(method), _) => Ok(method),
        // All of a cluster is looked at.
        (None, Some(_)) => Ok(Method::Exact),
        (None, None) => Ok(if tables { Method::Tables } else { Method::Lists }),
    }
}

/// Multiplications that an answer costs, roughly.
pub fn similar_cost(served: &Served, method: Method) -> usize {
    let Some(items) = &served.items else { return 0 };
    let (n, k) = (items.index.len(), served.model().n_clusters());
    let rows = match method {
        Method::Lists => (n / k.max(1)).saturating_mul(items.index.breadth().lists),
        // What buckets hold is not known beforehand.
        Method::Tables => items.index.tables().map_or(0, |tables| 64 * tables.probes()),
        Method::Exact => n,
    };
    rows.saturating_mul(served.model().dimension()).saturating_add(served.cost_per_row())
}

/// The items nearest to what is asked for, the nearest first, ties in the order of the index; fewer if there are no more or the hash
/// tables lead to fewer.
///
/// # Errors
/// [`QueryError`] when the model has no items, when there is no such item, cluster or table, or the vector cannot be answered.
pub fn similar(served: &Served, question: &Similar) -> Result<Vec<SimilarItem>, QueryError> {
    let items = items(served)?;
    let method = method(served, question)?;
    let count = question.count.unwrap_or(DEFAULT_ITEMS);
    if !(1..=MOST_ITEMS).contains(&count) {
        return Err(QueryError::Items { found: count, most: MOST_ITEMS });
    }
    let count = count as usize;
    let model = served.model();
    let lists = lists(served, &items.index)?;
    let clusters = model.n_clusters();
    let cluster = match question.cluster {
        Some(id) => match usize::try_from(id) {
            Ok(cluster) if cluster < clusters => Some(cluster),
            _ => return Err(QueryError::UnknownCluster { cluster: id, clusters }),
        },
        None => None,
    };
    let (query, without) = match &question.like {
        Like::Item(id) => {
            let place = items.index.find(id).ok_or_else(|| QueryError::UnknownItem { id: id.clone() })?;
            (lists.row(place as usize).to_vec(), Some(place))
        }
        Like::Vector(vector) => {
            matrix::check_dimension(model, vector.len(), None)?;
            (features(served, vector, None)?, None)
        }
    };
    items.with_buffers(|buffers| {
        let Buffers { lists: searcher, tables, found } = buffers;
        match (method, cluster, items.index.tables()) {
            (_, Some(cluster), _) => {
                searcher.in_cluster(&lists, model.metric, &query, cluster, count, without, found);
            }
            (Method::Tables, None, Some(own)) => {
                // One more, for the item itself.
                own.nearest(tables, lists.rows(), model.metric, &query, count + 1, found);
                found.retain(|found| Some(found.id) != without);
                found.truncate(count);
            }
            (Method::Exact, None, _) => {
                searcher.nearest(&lists, model.metric, &query, Breadth::lists(clusters), count, without, found);
            }
            (Method::Lists | Method::Tables, None, _) => {
                searcher.nearest(&lists, model.metric, &query, items.index.breadth(), count, without, found);
            }
        }
        let answer = found.iter().map(|found| SimilarItem {
            id: items.index.id(found.id),
            cluster: lists.cluster_of(found.id as usize) as u32,
            distance: found.distance as f32,
        });
        Ok(answer.collect())
    })
}

/// The items by cluster.
pub(super) fn lists<'a>(served: &'a Served, index: &'a ItemIndex) -> Result<lists::Lists<'a>, QueryError> {
    index.lists(&served.model().centroids).map_err(|error| {
        tracing::error!(%error, "the item index does not fit the model");
        QueryError::Internal
    })
}

fn items(served: &Served) -> Result<&Items, QueryError> {
    served.items.as_ref().ok_or(QueryError::NoItems)
}
