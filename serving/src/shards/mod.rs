//! Similar items where they are divided over shards: the replica that is asked looks at its own, asks one replica of each other
//! shard at the same time, and merges what they found.
//!
//! A question is answered by all shards or not at all, and by one model: every request names the items it is about, and a replica
//! that has others refuses.
//!
//! ```text
//! an id      -> who has it? (all shards) -> its vector, and its place so that it is left out
//! a vector   -> the nearest of each shard (all shards) -> the nearest of those
//! ```
//!
//! What shards send each other is spelt in [`wire`]; which replica of a shard is asked, and when another, is decided in [`peers`].

mod peers;
mod service;
mod wire;

pub(crate) use peers::Peers;
pub(crate) use service::service;

use crate::app::App;
use crate::cache::{Answer, Computed};
use crate::query::{self, Found, ItemPlace, Like, QueryError, Search, Served, Similar};
use coterie_model::items::{ItemIndex, Shard};
use futures::future::try_join_all;
use futures::try_join;
use std::sync::Arc;
use std::time::Instant;

/// Longest id that is asked for: it is sent to all shards.
const MOST_ID_BYTES: usize = 64 << 10;

/// Asks all shards on behalf of one question.
struct Round<'a> {
    app: &'a App,
    served: &'a Arc<Served>,
    index: &'a ItemIndex,
    deadline: Instant,
}

/// What a shard found.
struct Share {
    found: Vec<Found>,
    /// The identity of its index.
    identity: String,
}

/// The items of all shards that are similar to what is asked for, and how they were found.
///
/// While the replicas of a shard are replaced because search options changed, those before and after answer together. What they find between them
/// depends on who is asked, so it is no answer to keep.
pub(crate) async fn similar(
    app: &App,
    served: &Arc<Served>,
    question: Similar,
    deadline: Instant,
) -> Result<Computed, QueryError> {
    let index = served.items().ok_or(QueryError::NoItems)?;
    let round = Round { app, served, index, deadline };
    let asked = query::asked(served, &question)?;
    let search = match question.like {
        Like::Item(id) => {
            let found = round.find(&id).await?;
            asked.near_item(found.ok_or(QueryError::UnknownItem { id })?)
        }
        Like::Vector(vector) => asked.near_vector(served, &vector)?,
    };
    let count = search.count;
    let shares = round.nearest(search).await?;
    let alike = shares.iter().all(|share| share.identity == index.identity());
    let found = shares.into_iter().flat_map(|share| share.found).collect();
    let answer = Answer::Similar(asked.method, query::merge(found, count));
    Ok(if alike { Computed::Lasting(answer) } else { Computed::Passing(answer) })
}

impl Round<'_> {
    /// The first item with this id, in the order of an index of all items.
    async fn find(&self, id: &str) -> Result<Option<(ItemPlace, Vec<f32>)>, QueryError> {
        // It goes to every other shard.
        if id.len() > MOST_ID_BYTES {
            let what = format!(
                "an id of {} bytes: where items are divided, at most {MOST_ID_BYTES} may be asked for",
                id.len()
            );
            return Err(QueryError::Malformed { what });
        }
        let mut all = self.others(|peers, shard| peers.find(self.served, self.index, shard, id, self.deadline)).await?;
        all.push(query::find(self.served, id)?);
        Ok(all.into_iter().flatten().min_by_key(|(place, _)| *place))
    }

    /// The nearest items of each shard.
    async fn nearest(&self, search: Search) -> Result<Vec<Share>, QueryError> {
        let others = self.others(|peers, shard| peers.nearest(self.served, self.index, shard, &search, self.deadline));
        let (found, mut shares) = try_join!(self.app.compute.part(self.served, search.clone()), others)?;
        shares.push(Share { found, identity: self.index.identity().to_owned() });
        Ok(shares)
    }

    /// Asks every other shard at the same time.
    async fn others<'b, T, F>(&'b self, ask: impl Fn(&'b Peers, Shard) -> F) -> Result<Vec<T>, QueryError>
    where
        F: Future<Output = Result<T, QueryError>>,
    {
        let own = self.index.shard();
        let peers = self.app.peers.as_ref().filter(|peers| peers.shards() == own.of()).ok_or_else(|| {
            let what = "this replica was not told where the others are: give --peers".to_owned();
            QueryError::ShardMissing { shard: u32::from(own.number() == 0), shards: own.of(), what }
        })?;
        let numbers = (0..own.of()).filter(|number| *number != own.number());
        let shards = numbers.filter_map(|number| Shard::new(number, own.of()));
        try_join_all(shards.map(|shard| ask(peers, shard))).await
    }
}
