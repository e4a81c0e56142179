//! Where the arithmetic happens.
//!
//! A lone vector costs microseconds and is answered where it arrived. A batch can cost seconds; on the async threads it
//! would delay health checks and every other request. So large work is cut into pieces of a millisecond or two for threads of
//! their own, as many as there are cores. Pieces are taken in order of asking and a request asks for only a few at a time, so those of
//! several batches take turns, and a request whose caller is gone stops at the next piece.

use crate::query::{
    self, Assignment, Found, Map, Matrix, Method, Neighbour, QueryError, Search, Served, Sets, Similar, SimilarItem,
};
use crate::threads::Threads;
use futures::{StreamExt, TryStreamExt, stream};
use std::io;
use std::sync::Arc;

/// Multiplications up to which work is done at once: some tens of microseconds.
pub(crate) const AT_ONCE: usize = 1 << 20;

/// Answers with more entries are spelt off the async threads.
const SPELT_AT_ONCE: usize = 4_096;

/// Names of features that are looked up where they arrived: some tens of microseconds.
const NAMED_AT_ONCE: usize = 1_024;

/// Most multiplications in one piece of large work: about two milliseconds, half as long where most centroids are ruled out.
const PIECE: usize = 1 << 26;

/// Fewest rows in a piece, so that the kernel's blocks are filled.
const PIECE_ROWS: usize = 64;

/// Answers requests, large ones on threads of their own.
#[derive(Debug)]
pub(crate) struct Compute {
    threads: Threads,
}

impl Compute {
    /// With so many threads for large requests.
    ///
    /// # Errors
    /// When they cannot be started.
    pub(crate) fn new(threads: usize) -> io::Result<Self> {
        Ok(Self { threads: Threads::start(threads)? })
    }

    /// The nearest cluster of each row; `lone` when the request was for one vector.
    pub(crate) async fn assign(
        &self,
        served: &Arc<Served>,
        matrix: Matrix,
        lone: bool,
    ) -> Result<Vec<Assignment>, QueryError> {
        self.in_pieces(served, matrix, move |served, values, start| {
            query::assign(served, values, (!lone).then_some(start))
        })
        .await
    }

    /// The nearest cluster of each row, and the `count` clusters nearest to it, row after row.
    pub(crate) async fn assign_with_neighbours(
        &self,
        served: &Arc<Served>,
        matrix: Matrix,
        count: usize,
    ) -> Result<(Vec<Assignment>, Vec<u32>), QueryError> {
        let ask = move |served: &Served, values, start| {
            query::assign_with_neighbours(served, values, Some(start), count).map(|piece| vec![piece])
        };
        let pieces = self.in_pieces(served, matrix, ask).await?;
        let (assignments, near): (Vec<_>, Vec<_>) = pieces.into_iter().unzip();
        Ok((assignments.concat(), near.concat()))
    }

    /// Asks `ask` about all rows and puts the answers together; it is given some rows and the place of the first of them.
    async fn in_pieces<T: Send + 'static>(
        &self,
        served: &Arc<Served>,
        matrix: Matrix,
        ask: impl Fn(&Served, Vec<f32>, usize) -> Result<Vec<T>, QueryError> + Copy + Send + 'static,
    ) -> Result<Vec<T>, QueryError> {
        let rows = matrix.rows();
        let cost = served.cost_per_row();
        if rows.saturating_mul(cost) <= AT_ONCE {
            return ask(served, matrix.rows_in(0..rows), 0);
        }
        let piece = rows.div_ceil(self.threads.count()).min(PIECE / cost.max(1)).max(PIECE_ROWS);
        let matrix = Arc::new(matrix);
        let pieces = (0..rows).step_by(piece).map(|start| {
            let (served, matrix) = (Arc::clone(served), Arc::clone(&matrix));
            self.offload(move || ask(&served, matrix.rows_in(start..(start + piece).min(rows)), start))
        });
        let parts = stream::iter(pieces).buffered(self.threads.count());
        let gather = |mut all: Vec<T>, part: Result<Vec<T>, QueryError>| async {
            all.extend(part?);
            Ok(all)
        };
        parts.try_fold(Vec::with_capacity(rows), gather).await
    }

    /// The clusters nearest to a vector.
    pub(crate) async fn nearest_clusters(
        &self,
        served: &Arc<Served>,
        vector: Vec<f32>,
        count: Option<u32>,
    ) -> Result<Vec<Neighbour>, QueryError> {
        if served.cost_per_row() <= AT_ONCE {
            return query::nearest_clusters(served, &vector, count);
        }
        let served = Arc::clone(served);
        self.offload(move || query::nearest_clusters(&served, &vector, count)).await?
    }

    /// The items similar to what is asked for.
    pub(crate) async fn similar(
        &self,
        served: &Arc<Served>,
        question: Similar,
    ) -> Result<(Method, Vec<SimilarItem>), QueryError> {
        let method = query::method(served, &question)?;
        let found = if query::similar_cost(served, method) <= AT_ONCE {
            query::similar(served, &question)
        } else {
            let served = Arc::clone(served);
            self.offload(move || query::similar(&served, &question)).await?
        };
        Ok((method, found?))
    }

    /// The items held here that are nearest to what is asked of all shards.
    pub(crate) async fn part(&self, served: &Arc<Served>, search: Search) -> Result<Vec<Found>, QueryError> {
        if query::similar_cost(served, search.method) <= AT_ONCE {
            return query::part(served, &search);
        }
        let served = Arc::clone(served);
        self.offload(move || query::part(&served, &search)).await?
    }

    /// The tree over the clusters, and the group of each where it is cut into some.
    pub(crate) async fn dendrogram(
        &self,
        served: &Arc<Served>,
        groups: Option<u32>,
    ) -> Result<Option<Vec<u32>>, QueryError> {
        let served = Arc::clone(served);
        // The first time it is built, which may take seconds.
        self.offload(move || {
            query::dendrogram(&served)?;
            groups.map(|groups| query::cut(&served, groups)).transpose()
        })
        .await?
    }

    /// The picture of the model.
    pub(crate) async fn map(&self, served: &Arc<Served>, items: Option<u32>) -> Result<Map, QueryError> {
        let served = Arc::clone(served);
        self.offload(move || query::map(&served, items)).await?
    }

    /// Runs `work`, which spells an answer of so many entries: at once when they are few, else on one of the threads.
    pub(crate) async fn spell<T: Send + 'static>(
        &self,
        entries: usize,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, QueryError> {
        if entries > SPELT_AT_ONCE { self.offload(work).await } else { Ok(work()) }
    }

    /// The sets of a request as the model takes them; `several` when it was not for one set.
    pub(crate) async fn named(&self, served: &Arc<Served>, sets: Sets, several: bool) -> Result<Sets, QueryError> {
        if !served.has_names() || sets.members() <= NAMED_AT_ONCE {
            return sets.named(served, several);
        }
        let served = Arc::clone(served);
        self.offload(move || sets.named(&served, several)).await?
    }

    /// Runs `work` on one of the threads, in turn.
    pub(crate) async fn offload<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, QueryError> {
        self.threads.run(work).await
    }
}
