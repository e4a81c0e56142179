//! What shards send each other, spelt and read. What was sent by whoever reached the port is checked before it is computed with.

use crate::query::{Found, ItemPlace, Method, QueryError, Search, Served};
use coterie_model::RowId;
use coterie_model::items::{ItemIndex, Shard};
use coterie_protocol::internal::{ItemPlace as Place, ItemSearch, ItemShard, NearItem, NearestItemsRequest, near_item};

/// Which items are meant.
pub(super) fn named(served: &Served, index: &ItemIndex, shard: Shard) -> ItemShard {
    ItemShard {
        model_version: served.version().to_owned(),
        content: index.content().to_owned(),
        shard: shard.number(),
        shards: shard.of(),
    }
}

/// The items here, if they are the ones that are meant.
///
/// # Errors
/// [`QueryError::OtherShard`] if they are not.
pub(super) fn meant(served: &Served, asked: Option<ItemShard>) -> Result<&ItemIndex, QueryError> {
    let index = served.items().ok_or(QueryError::NoItems)?;
    let asked = asked.unwrap_or_default();
    if asked == named(served, index, index.shard()) {
        return Ok(index);
    }
    Err(QueryError::OtherShard {
        wanted: format!("{}/{}", asked.shard, asked.shards),
        wanted_version: asked.model_version,
        served: index.shard().to_string(),
        served_version: served.version().to_owned(),
    })
}

/// A question to a shard.
pub(super) fn request(shard: ItemShard, search: &Search) -> NearestItemsRequest {
    let Search { query, count, method, cluster, without } = search;
    let method = match method {
        Method::Lists => ItemSearch::Lists,
        Method::Tables => ItemSearch::Tables,
        Method::Exact => ItemSearch::Exact,
    };
    NearestItemsRequest {
        shard: Some(shard),
        vector: query.clone(),
        count: u32::try_from(*count).unwrap_or(u32::MAX),
        search: method.into(),
        cluster: *cluster,
        without: without.map(spell),
    }
}

/// Reads a question.
///
/// # Errors
/// [`QueryError`] when it is about other items, or the model cannot be asked it.
pub(super) fn search(served: &Served, request: NearestItemsRequest) -> Result<Search, QueryError> {
    let method = match request.search() {
        ItemSearch::Lists => Some(Method::Lists),
        ItemSearch::Tables => Some(Method::Tables),
        ItemSearch::Exact => Some(Method::Exact),
        ItemSearch::Unspecified => None,
    };
    let NearestItemsRequest { shard, vector, count, search: _, cluster, without } = request;
    meant(served, shard)?;
    let search = method.map(|method| Search {
        query: vector,
        count: count as usize,
        method,
        cluster,
        without: without.map(place),
    });
    search.filter(|search| search.fits(served)).ok_or_else(|| QueryError::Malformed {
        what: "this is no question of another replica of the same model".to_owned(),
    })
}

/// An item that was found.
pub(super) fn near(found: Found) -> NearItem {
    let Found { id, place, square, distance } = found;
    let id = match id {
        RowId::Int(number) => near_item::Id::Number(number),
        RowId::Text(text) => near_item::Id::Text(text),
    };
    NearItem { id: Some(id), place: Some(spell(place)), square, distance }
}

/// Reads an item; `None` where a field is missing.
pub(super) fn found(item: NearItem) -> Option<Found> {
    let NearItem { id, place: at, square, distance } = item;
    let id = match id? {
        near_item::Id::Number(number) => RowId::Int(number),
        near_item::Id::Text(text) => RowId::Text(text),
    };
    Some(Found { id, place: place(at?), square, distance })
}

/// Where an item is.
pub(super) fn spell(place: ItemPlace) -> Place {
    let ItemPlace { cluster, ordinal } = place;
    Place { cluster, ordinal }
}

/// Reads where an item is.
pub(super) fn place(place: Place) -> ItemPlace {
    let Place { cluster, ordinal } = place;
    ItemPlace { cluster, ordinal }
}
