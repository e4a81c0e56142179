//! Answers that were computed before.
//!
//! A key covers the whole question to the bit, and all of the model that its answer depends on, so an answer from the cache is
//! the one that would be computed. Only what takes longer than the cache itself is kept: the callers decide. Of equal
//! questions at the same time one is computed, and the others wait for it.
//!
//! Replicas may share answers through Redis (or what speaks its protocol). It is asked after the own memory, never waited for
//! longer than a few milliseconds, and left alone while it does not answer: without it there are fewer hits, and nothing else.

mod connect;
mod key;
mod shared;
mod stored;

pub use connect::TlsSettings;
pub(crate) use key::Key;
use shared::Shared;
pub use shared::SharedSettings;

use crate::metrics::{Lookup, Metrics};
use crate::query::{Assignment, Method, Neighbour, QueryError, SimilarItem};
use std::sync::Arc;
use std::time::Duration;

/// Bytes that an entry takes beside its answer: key, clocks and places in maps.
const ENTRY_BYTES: usize = 256;

/// An answer without the model version, which the key stands for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Answer {
    Assignment(Assignment),
    Neighbours(Vec<Neighbour>),
    Similar(Method, Vec<SimilarItem>),
}

/// An answer that was computed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Computed {
    /// It is the answer that the key stands for.
    Lasting(Answer),
    /// It is right today, and may be another tomorrow: it is given, and not kept.
    Passing(Answer),
}

/// Why nothing is kept.
#[derive(Debug)]
enum Unkept {
    Passing(Arc<Answer>),
    Failed(QueryError),
}

/// What is kept, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheSettings {
    /// Memory for answers, in bytes, about; 0 keeps none.
    pub bytes: u64,
    /// How long an answer is kept.
    pub time_to_live: Duration,
    /// Where replicas share answers.
    pub shared: Option<SharedSettings>,
}

/// Keeps answers in memory, and shares them where that is wanted.
#[derive(Debug)]
pub(crate) struct Cache {
    own: moka::future::Cache<Key, Arc<Answer>>,
    shared: Option<Arc<Shared>>,
    metrics: Arc<Metrics>,
    on: bool,
}

impl Default for CacheSettings {
    fn default() -> Self {
        Self { bytes: 64 << 20, time_to_live: Duration::from_secs(600), shared: None }
    }
}

impl Cache {
    /// An empty cache. Where answers are shared, it connects on its own; needs a tokio runtime then.
    pub(crate) fn new(settings: &CacheSettings, metrics: Arc<Metrics>) -> Self {
        let own = moka::future::Cache::builder()
            .max_capacity(settings.bytes)
            .weigher(|_, answer: &Arc<Answer>| u32::try_from(answer.bytes()).unwrap_or(u32::MAX))
            .time_to_live(settings.time_to_live)
            .build();
        let shared = settings
            .shared
            .as_ref()
            .map(|shared| Shared::start(shared.clone(), settings.time_to_live, Arc::clone(&metrics)));
        Self { own, on: settings.bytes > 0 || shared.is_some(), shared, metrics }
    }

    /// The answer to the question that `key` stands for: kept, shared, or from `compute`.
    ///
    /// # Errors
    /// Those of `compute`, which are not kept.
    pub(crate) async fn answer(
        &self,
        key: Key,
        compute: impl Future<Output = Result<Computed, QueryError>>,
    ) -> Result<Arc<Answer>, QueryError> {
        if !self.on {
            let (Computed::Lasting(answer) | Computed::Passing(answer)) = compute.await?;
            return Ok(Arc::new(answer));
        }
        if let Some(answer) = self.own.get(&key).await {
            self.metrics.count_lookup(Lookup::Own);
            return Ok(answer);
        }
        let find = async {
            if let Some(shared) = &self.shared
                && let Some(answer) = shared.get(key).await
            {
                self.metrics.count_lookup(Lookup::Shared);
                return Ok(Arc::new(answer));
            }
            self.metrics.count_lookup(Lookup::Miss);
            let answer = match compute.await.map_err(Unkept::Failed)? {
                Computed::Lasting(answer) => Arc::new(answer),
                Computed::Passing(answer) => return Err(Unkept::Passing(Arc::new(answer))),
            };
            if let Some(shared) = &self.shared {
                shared.put(key, Arc::clone(&answer));
            }
            Ok(answer)
        };
        // Whoever asked the same meanwhile gets what was found, kept or not.
        self.own.try_get_with(key, find).await.or_else(|unkept| match &*unkept {
            Unkept::Passing(answer) => Ok(Arc::clone(answer)),
            Unkept::Failed(error) => Err(QueryError::clone(error)),
        })
    }
}

impl Answer {
    /// Memory that it takes, about.
    fn bytes(&self) -> usize {
        let text = |item: &SimilarItem| match &item.id {
            coterie_model::RowId::Int(_) => 0,
            coterie_model::RowId::Text(text) => text.len(),
        };
        ENTRY_BYTES
            + match self {
                Self::Assignment(_) => 0,
                Self::Neighbours(all) => size_of_val(&all[..]),
                Self::Similar(_, all) => size_of_val(&all[..]) + all.iter().map(text).sum::<usize>(),
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    fn answer(cluster: u32) -> Answer {
        Answer::Neighbours(vec![Neighbour { cluster, distance: 1.5 }])
    }

    fn lasting(cluster: u32) -> Result<Computed, QueryError> {
        Ok(Computed::Lasting(answer(cluster)))
    }

    fn cache(bytes: u64) -> Cache {
        Cache::new(&CacheSettings { bytes, ..CacheSettings::default() }, Arc::new(Metrics::new()))
    }

    #[tokio::test]
    async fn what_was_computed_is_kept_and_errors_are_not() {
        let cache = cache(1 << 20);
        let key = Key::of("model", b"question");
        let failed = cache.answer(key, async { Err(QueryError::Internal) }).await;
        assert_eq!(failed, Err(QueryError::Internal));
        let passing = async { Ok(Computed::Passing(answer(3))) };
        assert_eq!(*cache.answer(key, passing).await.unwrap(), answer(3));
        assert_eq!(*cache.answer(key, async { lasting(1) }).await.unwrap(), answer(1));
        assert_eq!(*cache.answer(key, async { lasting(2) }).await.unwrap(), answer(1));
        let other = Key::of("another model", b"question");
        assert_eq!(*cache.answer(other, async { lasting(2) }).await.unwrap(), answer(2));
    }

    #[tokio::test]
    async fn equal_questions_at_once_are_computed_once() {
        let cache = cache(1 << 20);
        let key = Key::of("model", b"question");
        let computed = AtomicU32::new(0);
        let compute = || async {
            computed.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            lasting(3)
        };
        let (a, b, c) =
            tokio::join!(cache.answer(key, compute()), cache.answer(key, compute()), cache.answer(key, compute()));
        assert_eq!((&*a.unwrap(), &*b.unwrap(), &*c.unwrap()), (&answer(3), &answer(3), &answer(3)));
        assert_eq!(computed.into_inner(), 1);
    }

    #[tokio::test]
    async fn memory_is_bounded_and_none_keeps_nothing() {
        let small = cache(10_000);
        for number in 0..1_000u32 {
            let key = Key::of("model", &number.to_le_bytes());
            small.answer(key, async { lasting(number) }).await.unwrap();
        }
        small.own.run_pending_tasks().await;
        assert!(small.own.weighted_size() <= 10_000 && small.own.entry_count() > 10);
        let none = cache(0);
        let key = Key::of("model", b"question");
        none.answer(key, async { lasting(1) }).await.unwrap();
        assert_eq!(*none.answer(key, async { lasting(2) }).await.unwrap(), answer(2));
    }
}
