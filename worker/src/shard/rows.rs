//! A worker's rows: kept in memory while the budget lasts, in a scratch file beyond it.
//!
//! Rows are held in chunks of about 1 MiB, each in memory or in scratch by itself, so memory never doubles while a
//! vector grows and a run's data may exceed RAM. Scratch is read with positioned reads into a buffer rather than mapped:
//! the resident set stays flat, and a failing disk is an error instead of a signal.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::Path,
    sync::atomic::{AtomicI64, AtomicU64, Ordering},
};

use crate::error::RunError;

/// Size of a chunk in bytes, about.
const CHUNK_BYTES: usize = 1 << 20;

/// Memory that rows may take, and the file for those beyond it. Shared by all splits of a worker.
#[derive(Debug)]
pub struct Space {
    left: AtomicI64,
    file: File,
    end: AtomicU64,
}

impl Space {
    /// Space for `budget` bytes in memory and an unlinked file in `directory` (gone with the process, however it ends).
    ///
    /// # Errors
    /// When the directory cannot hold a file.
    pub fn new(budget: u64, directory: &Path) -> Result<Self, RunError> {
        let file = tempfile::tempfile_in(directory).map_err(|error| {
            RunError::transient(format!(
                "scratch file in {}: {error}; choose a writable directory with --scratch",
                directory.display()
            ))
        })?;
        Ok(Self { left: AtomicI64::new(i64::try_from(budget).unwrap_or(i64::MAX)), file, end: AtomicU64::new(0) })
    }

    /// Bytes in the scratch file.
    #[must_use]
    pub fn spilled(&self) -> u64 {
        self.end.load(Ordering::Relaxed)
    }

    fn take(&self, bytes: usize) -> bool {
        let bytes = bytes as i64;
        if self.left.fetch_sub(bytes, Ordering::Relaxed) >= bytes {
            return true;
        }
        self.left.fetch_add(bytes, Ordering::Relaxed);
        false
    }

    fn give(&self, bytes: usize) {
        self.left.fetch_add(bytes as i64, Ordering::Relaxed);
    }

    fn allocate(&self, bytes: usize) -> u64 {
        self.end.fetch_add(bytes as u64, Ordering::Relaxed)
    }

    fn write(&self, offset: u64, values: &[f32]) -> Result<(), RunError> {
        self.file.write_all_at(bytemuck::cast_slice(values), offset).map_err(|error| scratch_error(&error))
    }

    fn read(&self, offset: u64, values: &mut [f32]) -> Result<(), RunError> {
        self.file.read_exact_at(bytemuck::cast_slice_mut(values), offset).map_err(|error| scratch_error(&error))
    }
}

fn scratch_error(error: &io::Error) -> RunError {
    RunError::transient(format!(
        "scratch file: {error}; the scratch disk must hold the rows beyond the memory budget: free some space, choose another \
         directory with --scratch, or raise --memory"
    ))
}

/// Values of one kind, in memory or in scratch.
#[derive(Debug)]
enum Place {
    Memory(Vec<f32>),
    Scratch { offset: u64, capacity: usize, len: usize },
}

impl Place {
    fn put(values: &[f32], space: &Space) -> Result<Self, RunError> {
        if space.take(size_of_val(values)) {
            return Ok(Self::Memory(values.to_vec()));
        }
        let offset = space.allocate(size_of_val(values));
        space.write(offset, values)?;
        Ok(Self::Scratch { offset, capacity: values.len(), len: values.len() })
    }

    fn get<'a>(&'a self, space: &Space, buffer: &'a mut Vec<f32>) -> Result<&'a [f32], RunError> {
        match self {
            Self::Memory(values) => Ok(values),
            Self::Scratch { offset, len, .. } => {
                buffer.resize(*len, 0.0);
                space.read(*offset, buffer)?;
                Ok(buffer)
            }
        }
    }

    /// Puts other values in the same place; they may be fewer.
    fn replace(&mut self, new: &[f32], space: &Space) -> Result<(), RunError> {
        match self {
            Self::Memory(values) if new.len() <= values.len() => {
                space.give(size_of_val(values.as_slice()) - size_of_val(new));
                values.clear();
                values.extend_from_slice(new);
                values.shrink_to_fit();
            }
            Self::Scratch { offset, capacity, len } if new.len() <= *capacity => {
                space.write(*offset, new)?;
                *len = new.len();
            }
            place => {
                let old = std::mem::replace(place, Self::Memory(Vec::new()));
                old.free(space);
                *place = Self::put(new, space)?;
            }
        }
        Ok(())
    }

    fn free(&self, space: &Space) {
        if let Self::Memory(values) = self {
            space.give(size_of_val(values.as_slice()));
        }
    }
}

/// A run of consecutive rows of one split.
#[derive(Debug)]
pub struct Chunk {
    /// Position of the first row within its split's kept rows.
    pub first: u64,
    /// Number of rows.
    pub rows: usize,
    values: Place,
    /// Squared distance of each row to the nearest candidate of k-means||, with what it covers.
    nearest: Option<(Covered, Place)>,
}

/// Which candidates a chunk's distances take into account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Covered {
    /// Restart.
    pub round: u64,
    /// Number of candidates.
    pub candidates: usize,
}

impl Chunk {
    /// The rows, row-major; `buffer` is used when they are in scratch.
    ///
    /// # Errors
    /// When scratch cannot be read.
    pub fn values<'a>(&'a self, space: &Space, buffer: &'a mut Vec<f32>) -> Result<&'a [f32], RunError> {
        self.values.get(space, buffer)
    }

    /// Puts transformed rows in place of the rows.
    ///
    /// # Errors
    /// When scratch cannot be written.
    pub fn replace(&mut self, values: &[f32], space: &Space) -> Result<(), RunError> {
        self.values.replace(values, space)
    }

    /// The distances kept, if any, copied to `out`.
    ///
    /// # Errors
    /// When scratch cannot be read.
    pub fn nearest(&self, space: &Space, out: &mut Vec<f32>) -> Result<Option<Covered>, RunError> {
        let Some((covered, place)) = &self.nearest else { return Ok(None) };
        let mut buffer = Vec::new();
        let values = place.get(space, &mut buffer)?;
        out.clear();
        out.extend_from_slice(values);
        Ok(Some(*covered))
    }

    /// Keeps distances.
    ///
    /// # Errors
    /// When scratch cannot be written.
    pub fn keep_nearest(&mut self, covered: Covered, distances: &[f32], space: &Space) -> Result<(), RunError> {
        if let Some((have, place)) = &mut self.nearest {
            *have = covered;
            return place.replace(distances, space);
        }
        self.nearest = Some((covered, Place::put(distances, space)?));
        Ok(())
    }

    fn free(&self, space: &Space) {
        self.values.free(space);
        if let Some((_, place)) = &self.nearest {
            place.free(space);
        }
    }
}

/// Collects a split's rows into chunks.
#[derive(Debug)]
pub struct Builder {
    dimension: usize,
    chunk_rows: usize,
    pending: Vec<f32>,
    chunks: Vec<Chunk>,
    rows: u64,
}

impl Builder {
    /// For rows of `dimension` columns.
    #[must_use]
    pub fn new(dimension: usize) -> Self {
        let chunk_rows = (CHUNK_BYTES / 4 / dimension.max(1)).max(16);
        Self { dimension, chunk_rows, pending: Vec::with_capacity(chunk_rows * dimension), chunks: Vec::new(), rows: 0 }
    }

    /// Adds rows.
    ///
    /// # Errors
    /// When scratch cannot be written.
    pub fn push(&mut self, mut values: &[f32], space: &Space) -> Result<(), RunError> {
        let full = self.chunk_rows * self.dimension;
        while !values.is_empty() {
            let (now, later) = values.split_at(values.len().min(full - self.pending.len()));
            self.pending.extend_from_slice(now);
            values = later;
            if self.pending.len() == full {
                self.flush(space)?;
            }
        }
        Ok(())
    }

    /// The chunks.
    ///
    /// # Errors
    /// When scratch cannot be written.
    pub fn finish(mut self, space: &Space) -> Result<Vec<Chunk>, RunError> {
        self.flush(space)?;
        Ok(self.chunks)
    }

    fn flush(&mut self, space: &Space) -> Result<(), RunError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let rows = self.pending.len() / self.dimension;
        self.chunks.push(Chunk { first: self.rows, rows, values: Place::put(&self.pending, space)?, nearest: None });
        self.rows += rows as u64;
        self.pending.clear();
        Ok(())
    }
}

/// Gives the memory of chunks back to the budget.
pub fn free(chunks: &[Chunk], space: &Space) {
    for chunk in chunks {
        chunk.free(space);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever the budget and the pieces the rows come in, they are read back as they were, and all memory is given back.
        #[test]
        fn rows_survive_any_budget(budget in 0u64..3_000_000, pieces in prop::collection::vec(1usize..200_000, 1..6), dimension in 1usize..40) {
            let directory = tempfile::tempdir().unwrap();
            let space = Space::new(budget, directory.path()).unwrap();
            let mut builder = Builder::new(dimension);
            let mut all = Vec::new();
            for piece in pieces {
                let rows = piece / dimension + 1;
                let values: Vec<f32> = (0..rows * dimension).map(|at| (all.len() + at) as f32).collect();
                builder.push(&values, &space).unwrap();
                all.extend(values);
            }
            let mut chunks = builder.finish(&space).unwrap();
            let read = |chunks: &[Chunk]| {
                let mut back = Vec::new();
                let mut buffer = Vec::new();
                for chunk in chunks {
                    prop_assert_eq!(chunk.first as usize * dimension, back.len());
                    back.extend_from_slice(chunk.values(&space, &mut buffer).unwrap());
                }
                Ok(back)
            };
            prop_assert_eq!(&read(&chunks)?, &all);
            for chunk in &mut chunks {
                let mut buffer = Vec::new();
                let negated: Vec<f32> = chunk.values(&space, &mut buffer).unwrap().iter().map(|value| -value).collect();
                chunk.replace(&negated, &space).unwrap();
                let distances = vec![1.5f32; chunk.rows];
                chunk.keep_nearest(Covered { round: 0, candidates: 3 }, &distances, &space).unwrap();
                let mut out = Vec::new();
                prop_assert_eq!(chunk.nearest(&space, &mut out).unwrap(), Some(Covered { round: 0, candidates: 3 }));
                prop_assert_eq!(out, distances);
            }
            let negated: Vec<f32> = all.iter().map(|value| -value).collect();
            prop_assert_eq!(&read(&chunks)?, &negated);
            free(&chunks, &space);
            prop_assert_eq!(space.left.load(Ordering::Relaxed), budget as i64);
        }
    }
}
