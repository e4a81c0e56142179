//! Items similar to an item or to a vector.

use super::{QueryError, Served, features, matrix, within_reach};
use coterie_algorithms::lists::{self, Breadth, reach};
use coterie_algorithms::lsh::{Neighbour, nearest_of};
use coterie_algorithms::metric::Metric;
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
    /// How they are looked for; tables where the model has them, otherwise lists, or all of them for sets, when unset.
    pub method: Option<Method>,
}

/// What a question asks for, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    count: usize,
    cluster: Option<u32>,
}

/// A question as it is put to the items that a server holds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Search {
    /// What they should be near, in feature space.
    pub(crate) query: Vec<f32>,
    pub(crate) count: usize,
    pub(crate) method: Method,
    pub(crate) cluster: Option<u32>,
    /// An item that is left out, wherever it is.
    pub(crate) without: Option<ItemPlace>,
}

/// Where an item is, over all shards: orders items as one index of all of them does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ItemPlace {
    pub(crate) cluster: u32,
    /// Among all items, in the order of the parts.
    pub(crate) ordinal: u64,
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

// === impl Asked ===

impl Asked {
    /// Of what is near an item, which is left out.
    pub(crate) fn near_item(self, (place, row): (ItemPlace, Vec<f32>)) -> Search {
        let Self { method, count, cluster } = self;
        Search { query: row, count, method, cluster, without: Some(place) }
    }

    /// Of what is near a vector of a caller's.
    ///
    /// # Errors
    /// [`QueryError`] when the vector cannot be answered.
    pub(crate) fn near_vector(self, served: &Served, vector: &[f32]) -> Result<Search, QueryError> {
        matrix::check_dimension(served.model(), vector.len(), None)?;
        let Self { method, count, cluster } = self;
        Ok(Search { query: features(served, vector.to_vec(), None)?, count, method, cluster, without: None })
    }
}

// === impl Search ===

impl Search {
    /// Whether the model can be asked this, for a question that another process has checked.
    pub(crate) fn fits(&self, served: &Served) -> bool {
        let Self { query, count, method: _, cluster, without: _ } = self;
        let model = served.model();
        (1..=MOST_ITEMS as usize).contains(count)
            && query.len() == model.dimension()
            && within_reach(served, query)
            && cluster.is_none_or(|cluster| (cluster as usize) < model.n_clusters())
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
/// [`QueryError`] when the model has no items, or not the tables, the lists or the cluster that are asked for.
pub fn method(served: &Served, question: &Similar) -> Result<Method, QueryError> {
    let items = items(served)?;
    let tables = items.index.offers_tables();
    let sets = served.model().metric == Metric::Jaccard;
    match (question.method, question.cluster) {
        (Some(Method::Lists), _) if sets => Err(QueryError::NoLists),
        (Some(Method::Tables), Some(_)) => Err(QueryError::Malformed {
            what: "hash tables do not know clusters: leave cluster out, or the method".to_owned(),
        }),
        (Some(Method::Tables), None) if !tables => Err(QueryError::NoTables),
        (Some(method), _) => Ok(method),
        // All of a cluster is looked at.
        (None, Some(_)) => Ok(Method::Exact),
        (None, None) if tables => Ok(Method::Tables),
        (None, None) => Ok(if sets { Method::Exact } else { Method::Lists }),
    }
}

/// Multiplications that an answer costs, roughly.
pub fn similar_cost(served: &Served, method: Method) -> usize {
    let Some(items) = &served.items else { return 0 };
    let (n, k) = (items.index.len(), served.model().n_clusters());
    let rows = match method {
        Method::Lists => (n / k.max(1)).saturating_mul(items.index.breadth().lists),
        // What buckets hold is not known beforehand. Of a shard without tables all items are looked at.
        Method::Tables => items.index.tables().map_or(n, |tables| 64 * tables.probes()),
        Method::Exact => n,
    };
    rows.saturating_mul(served.cost_per_item()).saturating_add(served.cost_per_row())
}

/// The items nearest to what is asked for, the nearest first, ties in the order of the index; fewer if there are no more or the hash
/// tables lead to fewer.
///
/// # Errors
/// [`QueryError`] when the model has no items, when there is no such item, cluster or table, or the vector cannot be answered.
pub fn similar(served: &Served, question: &Similar) -> Result<Vec<SimilarItem>, QueryError> {
    let asked = asked(served, question)?;
    let search = match &question.like {
        Like::Item(id) => {
            let found = find(served, id)?.ok_or_else(|| QueryError::UnknownItem { id: id.clone() })?;
            asked.near_item(found)
        }
        Like::Vector(vector) => asked.near_vector(served, vector)?,
    };
    let item = |index: &ItemIndex, lists: &lists::Lists<'_>, found: &Neighbour| SimilarItem {
        id: index.id(found.id),
        cluster: lists.cluster_of(found.id as usize) as u32,
        distance: found.distance as f32,
    };
    look(served, &search, item)
}

/// Checks all of a question but what the items should be like.
///
/// # Errors
/// As [`similar`].
pub(crate) fn asked(served: &Served, question: &Similar) -> Result<Asked, QueryError> {
    let method = method(served, question)?;
    let count = question.count.unwrap_or(DEFAULT_ITEMS);
    if !(1..=MOST_ITEMS).contains(&count) {
        return Err(QueryError::Items { found: count, most: MOST_ITEMS });
    }
    let clusters = served.model().n_clusters();
    let cluster = match question.cluster {
        Some(id) => match u32::try_from(id) {
            Ok(cluster) if (cluster as usize) < clusters => Some(cluster),
            _ => return Err(QueryError::UnknownCluster { cluster: id, clusters }),
        },
        None => None,
    };
    Ok(Asked { method, count: count as usize, cluster })
}

/// The item with this id, if it is held here: the first where several have it.
///
/// # Errors
/// [`QueryError`] when the model has no items.
pub(crate) fn find(served: &Served, id: &str) -> Result<Option<(ItemPlace, Vec<f32>)>, QueryError> {
    let index = &items(served)?.index;
    let lists = lists(served, index)?;
    let item = |place: u32| {
        let cluster = lists.cluster_of(place as usize) as u32;
        (ItemPlace { cluster, ordinal: index.ordinal(place) }, lists.row(place as usize).to_vec())
    };
    Ok(index.find(id).map(item))
}

/// The items held here that are nearest to what is asked for, each as `item` makes it.
pub(super) fn look<T>(
    served: &Served,
    search: &Search,
    item: impl Fn(&ItemIndex, &lists::Lists<'_>, &Neighbour) -> T,
) -> Result<Vec<T>, QueryError> {
    let items = items(served)?;
    let (model, index) = (served.model(), &items.index);
    let lists = lists(served, index)?;
    let Search { query, count, method, cluster, without } = search;
    let (count, metric) = (*count, model.metric);
    let left_out = without.and_then(|ItemPlace { cluster, ordinal }| index.place(cluster, ordinal));
    items.with_buffers(|buffers| {
        let Buffers { lists: searcher, tables, found } = buffers;
        let all = Breadth::lists(model.n_clusters());
        match (method, cluster, index.tables()) {
            (Method::Tables, None, Some(own)) => {
                // One more, for the item itself.
                own.nearest(tables, lists.rows(), metric, query, count + 1, found);
                found.retain(|found| Some(found.id) != left_out);
                found.truncate(count);
            }
            // Codes of rows tell of straight-line distances only.
            (_, cluster, _) if metric == Metric::Jaccard => {
                let among = match cluster {
                    Some(cluster) => lists.range(*cluster as usize),
                    None => 0..lists.len(),
                };
                nearest_of(lists.rows(), metric, query, among.start as u32..among.end as u32, count, left_out, found);
            }
            (_, Some(cluster), _) => {
                searcher.in_cluster(&lists, metric, query, *cluster as usize, count, left_out, found);
            }
            // A shard has no tables while it has few items, or was made before tables were asked for.
            (Method::Exact | Method::Tables, None, _) => {
                searcher.nearest(&lists, metric, query, all, count, left_out, found);
            }
            (Method::Lists, None, _) if index.shard().is_whole() => {
                searcher.nearest(&lists, metric, query, index.breadth(), count, left_out, found);
            }
            (Method::Lists, None, _) => {
                // As far as one index of all items would go.
                let left = |cluster: u32| u64::from(without.is_some_and(|without| without.cluster == cluster));
                let rows = |cluster: u32| {
                    let size = model.clusters.get(cluster as usize).map_or(0, |cluster| cluster.size);
                    size.saturating_sub(left(cluster))
                };
                let near = reach(&model.centroids, rows, query, index.breadth(), count);
                searcher.within(&lists, metric, query, &near, count, left_out, found);
            }
        }
        Ok(found.iter().map(|found| item(index, &lists, found)).collect())
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
