//! Similar items where they are divided over several servers: what each finds among its own, and what that comes to.

use super::similar::{ItemPlace, Search, SimilarItem, look};
use super::{QueryError, Served};
use coterie_model::RowId;

/// An item that a shard found.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Found {
    pub(crate) id: RowId,
    pub(crate) place: ItemPlace,
    /// Square of the distance: different ones may have the same root.
    pub(crate) square: f64,
    pub(crate) distance: f64,
}

/// The nearest of the items held here.
///
/// # Errors
/// [`QueryError`] when the model has no items.
pub(crate) fn part(served: &Served, search: &Search) -> Result<Vec<Found>, QueryError> {
    look(served, search, |index, lists, near| Found {
        id: index.id(near.id),
        place: ItemPlace { cluster: lists.cluster_of(near.id as usize) as u32, ordinal: index.ordinal(near.id) },
        square: served.model().metric.square(&search.query, lists.row(near.id as usize)),
        distance: near.distance,
    })
}

/// The `count` nearest of what all shards found, in the order in which one index of all items gives them: by distance, ties by place.
pub(crate) fn merge(mut found: Vec<Found>, count: usize) -> Vec<SimilarItem> {
    // Which they are is decided by the squares, as in an index.
    found.sort_unstable_by(|a, b| a.square.total_cmp(&b.square).then(a.place.cmp(&b.place)));
    found.truncate(count);
    found.sort_unstable_by(|a, b| a.distance.total_cmp(&b.distance).then(a.place.cmp(&b.place)));
    let item = |Found { id, place, square: _, distance }| SimilarItem {
        id,
        cluster: place.cluster,
        distance: distance as f32,
    };
    found.into_iter().map(item).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_go_by_place_and_squares_decide_who_is_in() {
        let found = |id: i64, square: f64, cluster: u32, ordinal: u64| Found {
            id: RowId::Int(id),
            place: ItemPlace { cluster, ordinal },
            square,
            distance: square.sqrt(),
        };
        let next = f64::from_bits(2f64.to_bits() + 1);
        assert_eq!(next.sqrt().to_bits(), 2f64.sqrt().to_bits(), "different squares with the same root");
        let all = vec![
            found(1, 9.0, 0, 0),
            found(2, next, 0, 1),
            found(3, 2.0, 1, 7),
            found(4, 2.0, 1, 3),
            found(5, 1.0, 2, 2),
        ];
        let ids = |count| merge(all.clone(), count).into_iter().map(|item| item.id).collect::<Vec<_>>();
        let numbers = |ids: &[i64]| ids.iter().map(|id| RowId::Int(*id)).collect::<Vec<_>>();
        assert_eq!(ids(3), numbers(&[5, 4, 3]));
        assert_eq!(ids(4), numbers(&[5, 2, 4, 3]));
        assert_eq!(ids(9), numbers(&[5, 2, 4, 3, 1]));
    }
}
