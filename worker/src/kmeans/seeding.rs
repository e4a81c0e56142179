//! What a worker knows of its rows while k-means|| collects candidates.

use coterie_algorithms::kmeans::{Centroids, init};

use super::step::Candidates;
use crate::{
    error::RunError,
    shard::{
        pass::Buffers,
        rows::{Chunk, Tag},
    },
    training::step::Context,
};

/// Subject of the notes that hold nearest candidates; the lower bits are the restart.
const SEEDING: u64 = 1 << 63;

/// Keeps each row's nearest candidate of k-means|| up to date, and the squared distance to it.
pub(super) struct Seeding {
    subject: u64,
    /// Each batch, with the numbers of candidates before it and up to and including it.
    batches: Vec<(usize, usize, Centroids)>,
}

impl Seeding {
    pub(super) fn new(context: &Context, round: u64, candidates: &Candidates) -> Self {
        let dimension = context.pipeline.output_dimension();
        let starts = std::iter::once(0).chain(candidates.batches.iter().copied());
        let batches = starts
            .zip(&candidates.batches)
            .map(|(start, &end)| {
                let values = candidates.values[start * dimension..end * dimension].to_vec();
                (start, end, Centroids::new(dimension, values))
            })
            .collect();
        Self { subject: SEEDING | round, batches }
    }

    /// Number of candidates.
    pub(super) fn candidates(&self) -> usize {
        self.batches.last().map_or(0, |(_, end, _)| *end)
    }

    /// The squared distance of each of the chunk's rows to the nearest candidate, and which that is. Takes only what is not covered
    /// yet, and notes it: distances, then candidates.
    pub(super) fn nearest<'a>(
        &self,
        chunk: &mut Chunk,
        buffers: &'a mut Buffers,
    ) -> Result<(&'a [f32], &'a [u32]), RunError> {
        let Buffers { rows, values, labels } = buffers;
        // A coordinator that resumed from an older checkpoint may know fewer candidates than this worker does.
        let usable = |tag: &Tag| tag.subject == self.subject && tag.progress <= self.candidates() as u64;
        let known = chunk.noted().filter(usable).map_or(0, |tag| tag.progress as usize);
        if known > 0 {
            chunk.recall(values)?;
        } else {
            values.clear();
            values.resize(chunk.rows, f32::INFINITY);
            values.resize(2 * chunk.rows, 0.0);
        }
        let (distances, owners) = values.split_at_mut(chunk.rows);
        let owners = bytemuck::cast_slice_mut(owners);
        for (start, _, batch) in self.batches.iter().filter(|(_, end, _)| *end > known) {
            init::lower(batch, *start as u32, chunk.values(rows)?, distances, owners, labels);
        }
        if self.candidates() > known {
            chunk.note(Tag { subject: self.subject, progress: self.candidates() as u64 }, values)?;
        }
        let (distances, owners) = values.split_at(chunk.rows);
        Ok((distances, bytemuck::cast_slice(owners)))
    }
}
