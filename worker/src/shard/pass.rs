//! One pass over chunks by all threads: each thread takes the next chunk, keeps its own accumulator, and waits for nobody.
//! Accumulators merge exactly, so which thread took which chunk cannot show in the result.

use std::sync::{Mutex, PoisonError, atomic::Ordering};

use super::{Threads, Vitals, rows::Chunk};
use crate::error::RunError;

/// A chunk and the split it belongs to.
#[derive(Debug)]
pub struct Item<'a> {
    /// Index of the split.
    pub split: u32,
    /// The rows.
    pub chunk: &'a mut Chunk,
}

/// Buffers of one thread, reused from chunk to chunk.
#[derive(Debug, Default)]
pub struct Buffers {
    /// Rows read from scratch.
    pub rows: Vec<f32>,
    /// Transformed rows or distances.
    pub values: Vec<f32>,
    /// Labels.
    pub labels: Vec<u32>,
}

/// Runs `work` on every item with one accumulator per thread and returns the accumulators (at least one).
///
/// # Errors
/// The first error of any thread; the others stop at their next chunk.
pub fn fold<A: Send>(
    threads: &Threads,
    vitals: &Vitals,
    items: Vec<Item<'_>>,
    make: impl Fn() -> A + Sync,
    work: impl Fn(&mut A, Item<'_>, &mut Buffers) -> Result<(), RunError> + Sync,
) -> Result<Vec<A>, RunError> {
    // One lock per mebibyte of rows; never per row.
    let queue = Mutex::new(items.into_iter());
    let failed = std::sync::atomic::AtomicBool::new(false);
    let results: Vec<Result<A, RunError>> = threads.0.broadcast(|_| {
        let mut accumulator = make();
        let mut buffers = Buffers::default();
        while !failed.load(Ordering::Relaxed) {
            let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some(item) = next else { break };
            let rows = item.chunk.rows as u64;
            if let Err(error) = vitals.check().and_then(|()| work(&mut accumulator, item, &mut buffers)) {
                failed.store(true, Ordering::Relaxed);
                return Err(error);
            }
            vitals.rows_done.fetch_add(rows, Ordering::Relaxed);
        }
        Ok(accumulator)
    });
    results.into_iter().collect()
}
