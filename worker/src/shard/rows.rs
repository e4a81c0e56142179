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
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
};

use crate::error::RunError;

/// Size of a chunk in bytes, about.
const CHUNK_BYTES: usize = 1 << 20;

/// Memory that rows may take, and the file for those beyond it. Shared by all splits of a worker.
///
/// What a chunk takes it gives back when it is dropped, however that comes about.
#[derive(Clone, Debug)]
pub struct Space(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    left: AtomicI64,
    file: File,
    scratch: Mutex<Scratch>,
}

/// Which parts of the scratch file are in use.
#[derive(Debug, Default)]
struct Scratch {
    end: u64,
    /// Parts that were given back: (offset, values).
    free: Vec<(u64, usize)>,
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
        let left = AtomicI64::new(i64::try_from(budget).unwrap_or(i64::MAX));
        Ok(Self(Arc::new(Inner { left, file, scratch: Mutex::default() })))
    }

    fn take(&self, bytes: usize) -> Option<Reserved> {
        let bytes = bytes as i64;
        if self.0.left.fetch_sub(bytes, Ordering::Relaxed) >= bytes {
            return Some(Reserved { space: self.clone(), bytes });
        }
        self.0.left.fetch_add(bytes, Ordering::Relaxed);
        None
    }

    /// A part of the scratch file: one that was given back if it is large enough but not wasteful, else a new one.
    fn allocate(&self, values: usize) -> Extent {
        let mut scratch = self.0.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |part: &(u64, usize)| part.1 >= values && part.1 <= 2 * values;
        let (offset, capacity) = match scratch.free.iter().position(fits) {
            Some(at) => scratch.free.swap_remove(at),
            None => {
                let offset = scratch.end;
                scratch.end += (values * size_of::<f32>()) as u64;
                (offset, values)
            }
        };
        Extent { space: self.clone(), offset, capacity }
    }
}

/// A share of the memory budget.
#[derive(Debug)]
struct Reserved {
    space: Space,
    bytes: i64,
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.space.0.left.fetch_add(self.bytes, Ordering::Relaxed);
    }
}

/// A part of the scratch file.
#[derive(Debug)]
struct Extent {
    space: Space,
    offset: u64,
    /// In values.
    capacity: usize,
}

impl Extent {
    fn write(&self, values: &[f32]) -> Result<(), RunError> {
        self.space.0.file.write_all_at(bytemuck::cast_slice(values), self.offset).map_err(|error| scratch_error(&error))
    }

    fn read(&self, values: &mut [f32]) -> Result<(), RunError> {
        self.space
            .0
            .file
            .read_exact_at(bytemuck::cast_slice_mut(values), self.offset)
            .map_err(|error| scratch_error(&error))
    }
}

impl Drop for Extent {
    fn drop(&mut self) {
        let mut scratch = self.space.0.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        scratch.free.push((self.offset, self.capacity));
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
    Memory { values: Vec<f32>, _reserved: Reserved },
    Scratch { extent: Extent, len: usize },
}

impl Place {
    fn put(values: &[f32], space: &Space) -> Result<Self, RunError> {
        if let Some(reserved) = space.take(size_of_val(values)) {
            return Ok(Self::Memory { values: values.to_vec(), _reserved: reserved });
        }
        let extent = space.allocate(values.len());
        extent.write(values)?;
        Ok(Self::Scratch { extent, len: values.len() })
    }

    /// The values; `buffer` is used when they are in scratch.
    fn get<'a>(&'a self, buffer: &'a mut Vec<f32>) -> Result<&'a [f32], RunError> {
        match self {
            Self::Memory { values, .. } => Ok(values),
            Self::Scratch { extent, len } => {
                buffer.resize(*len, 0.0);
                extent.read(buffer)?;
                Ok(buffer)
            }
        }
    }

    /// Puts other values in the same place if they are as many, else in a new one.
    fn replace(&mut self, new: &[f32], space: &Space) -> Result<(), RunError> {
        match self {
            Self::Memory { values, .. } if new.len() == values.len() => values.copy_from_slice(new),
            Self::Scratch { extent, len } if new.len() <= extent.capacity => {
                extent.write(new)?;
                *len = new.len();
            }
            place => *place = Self::put(new, space)?,
        }
        Ok(())
    }
}

/// A run of consecutive rows of one split.
#[derive(Debug)]
pub struct Chunk {
    /// Position of the first row within its split's kept rows.
    pub first: u64,
    /// Number of rows.
    pub rows: usize,
    space: Space,
    values: Place,
    /// What an algorithm remembers of the rows between steps, and what it is.
    notes: Option<(Tag, Place)>,
}

/// Says what a chunk's notes are: they are good only for whoever wrote the same tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    /// What the notes are about, such as a restart.
    pub subject: u64,
    /// How far they go, such as a number of candidates or of passes.
    pub progress: u64,
}

impl Chunk {
    /// The rows, row-major; `buffer` is used when they are in scratch.
    ///
    /// # Errors
    /// When scratch cannot be read.
    pub fn values<'a>(&'a self, buffer: &'a mut Vec<f32>) -> Result<&'a [f32], RunError> {
        self.values.get(buffer)
    }

    /// Puts transformed rows in place of the rows.
    ///
    /// # Errors
    /// When scratch cannot be written.
    pub fn replace(&mut self, values: &[f32]) -> Result<(), RunError> {
        self.values.replace(values, &self.space)
    }

    /// The tag of the notes, if there are any.
    #[must_use]
    pub fn noted(&self) -> Option<Tag> {
        self.notes.as_ref().map(|(tag, _)| *tag)
    }

    /// Copies the notes to `out`, which is empty if there are none.
    ///
    /// # Errors
    /// When scratch cannot be read.
    pub fn recall(&self, out: &mut Vec<f32>) -> Result<(), RunError> {
        out.clear();
        match &self.notes {
            Some((_, Place::Memory { values, .. })) => out.extend_from_slice(values),
            Some((_, Place::Scratch { extent, len })) => {
                out.resize(*len, 0.0);
                extent.read(out)?;
            }
            None => {}
        }
        Ok(())
    }

    /// Keeps notes in place of earlier ones. After an error there are none.
    ///
    /// # Errors
    /// When scratch cannot be written.
    pub fn note(&mut self, tag: Tag, notes: &[f32]) -> Result<(), RunError> {
        let place = match self.notes.take() {
            Some((_, mut place)) => {
                place.replace(notes, &self.space)?;
                place
            }
            None => Place::put(notes, &self.space)?,
        };
        self.notes = Some((tag, place));
        Ok(())
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
        let values = Place::put(&self.pending, space)?;
        self.chunks.push(Chunk { first: self.rows, rows, space: space.clone(), values, notes: None });
        self.rows += rows as u64;
        self.pending.clear();
        Ok(())
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
                    back.extend_from_slice(chunk.values(&mut buffer).unwrap());
                }
                Ok(back)
            };
            prop_assert_eq!(&read(&chunks)?, &all);
            for chunk in &mut chunks {
                let mut buffer = Vec::new();
                let negated: Vec<f32> = chunk.values(&mut buffer).unwrap().iter().map(|value| -value).collect();
                chunk.replace(&negated).unwrap();
                let distances = vec![1.5f32; chunk.rows];
                let mut out = Vec::new();
                prop_assert_eq!(chunk.noted(), None);
                for length in [1, 3, 2] {
                    let tag = Tag { subject: 7, progress: length as u64 };
                    let notes = distances.repeat(length);
                    chunk.note(tag, &notes).unwrap();
                    chunk.recall(&mut out).unwrap();
                    prop_assert_eq!((chunk.noted(), &out), (Some(tag), &notes));
                }
            }
            let negated: Vec<f32> = all.iter().map(|value| -value).collect();
            prop_assert_eq!(&read(&chunks)?, &negated);
            drop(chunks);
            prop_assert_eq!(space.0.left.load(Ordering::Relaxed), budget as i64);
            // All of scratch can be used again.
            let scratch = space.0.scratch.lock().unwrap();
            prop_assert_eq!(scratch.free.iter().map(|part| part.1 as u64 * 4).sum::<u64>(), scratch.end);
        }
    }
}
