//! Numbers in a mapped file.
//!
//! This is the only place of the crate with `unsafe` code: a file that others change while it is mapped may change under
//! the program's feet. Nobody does: an index is written under a name of its own, renamed when it is whole, and never changed.
#![allow(unsafe_code)]

use std::fs::File;
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::Arc;

use bytemuck::AnyBitPattern;
use memmap2::{Mmap, MmapMut};

/// Maps a file that nobody changes.
pub(super) fn map(file: &File) -> std::io::Result<Arc<Mmap>> {
    // SAFETY: see the module: index files do not change once they have their name.
    Ok(Arc::new(unsafe { Mmap::map(file)? }))
}

/// Maps a file that only this program knows of, to fill it.
pub(super) fn map_mut(file: &File) -> std::io::Result<MmapMut> {
    // SAFETY: the file was just made under a name of its own, so nobody else has it open.
    unsafe { MmapMut::map_mut(file) }
}

/// An array in a mapped file.
#[derive(Clone, Debug)]
pub(super) struct Column<T> {
    map: Arc<Mmap>,
    bytes: Range<usize>,
    kind: PhantomData<T>,
}

impl<T: AnyBitPattern> Column<T> {
    /// The numbers in these bytes of the file; `None` if they lie beyond its end or at no place for such numbers.
    pub(super) fn new(map: &Arc<Mmap>, bytes: Range<usize>) -> Option<Self> {
        bytemuck::try_cast_slice::<u8, T>(map.get(bytes.clone())?).ok()?;
        Some(Self { map: Arc::clone(map), bytes, kind: PhantomData })
    }
}

impl<T: AnyBitPattern> AsRef<[T]> for Column<T> {
    fn as_ref(&self) -> &[T] {
        // Checked when the column was made, and the map does not change.
        bytemuck::cast_slice(&self.map[self.bytes.clone()])
    }
}
