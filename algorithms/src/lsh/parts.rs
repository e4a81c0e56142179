//! Arrays that are made table by table.

use std::ops::Range;

use rayon::prelude::*;

use super::Key;
use super::radix::Pair;

/// Rows that are hashed together: a multiple of what the families take together.
const BLOCK: usize = 960;
/// Rows whose keys are moved to their tables at a time: they stay in the first-level cache.
const TILE: usize = 60;

/// Keys of rows, in halves: the upper ones, of keys of more than 32 bits, and the lower ones.
type Halves<'a> = (&'a mut [u32], &'a mut [u32]);

/// Hashes all rows, and writes the keys of each table where its halves lie.
pub(super) fn hashed<K: Key>(tables: Vec<Halves<'_>>, n: usize, hash: impl Fn(Range<usize>, &mut [K]) + Sync) {
    let count = tables.len();
    // Where the keys of each block of rows belong, a piece per table.
    let mut blocks: Vec<Vec<Halves<'_>>> = Vec::new();
    blocks.resize_with(n.div_ceil(BLOCK), || Vec::with_capacity(count));
    for (upper, lower) in tables {
        let pieces = upper.chunks_mut(BLOCK).zip(lower.chunks_mut(BLOCK));
        for (block, piece) in blocks.iter_mut().zip(pieces) {
            block.push(piece);
        }
    }
    blocks.into_par_iter().enumerate().for_each_init(Vec::new, |lines, (block, mut pieces)| {
        let range = block * BLOCK..((block + 1) * BLOCK).min(n);
        lines.resize(range.len() * count, K::default());
        hash(range, lines);
        for (tile, lines) in lines.chunks(TILE * count).enumerate() {
            for (table, (upper, lower)) in pieces.iter_mut().enumerate() {
                let (upper, lower) = (upper[tile * TILE..].iter_mut(), lower[tile * TILE..].iter_mut());
                for ((upper, lower), line) in upper.zip(lower).zip(lines.chunks_exact(count)) {
                    let halves = line[table].halves();
                    *lower = halves.1;
                    if K::BITS > 32 {
                        *upper = halves.0;
                    }
                }
            }
        }
    });
}

/// So many parts of equal length.
pub(super) fn split<T>(mut values: &mut [T], length: usize, count: usize) -> impl Iterator<Item = &mut [T]> {
    (0..count).map(move |_| {
        let part;
        (part, values) = std::mem::take(&mut values).split_at_mut(length);
        part
    })
}

/// Arrays of a table with room for as many buckets as rows, and how far they are filled.
pub(super) struct Filling<'a, K> {
    pub(super) keys: &'a mut [K],
    pub(super) offsets: &'a mut [u32],
    pub(super) rows: &'a mut [u32],
    /// Buckets so far.
    pub(super) buckets: usize,
    /// Rows so far.
    pub(super) filled: usize,
}

impl<K: Key> Filling<'_, K> {
    /// Adds pairs of a key and a row in order, whose keys are greater than those before.
    pub(super) fn add(&mut self, pairs: &[Pair<K>]) {
        let (Some(&(first, _)), Some(&(last, _))) = (pairs.first(), pairs.last()) else {
            return;
        };
        for (place, &(_, row)) in self.rows[self.filled..].iter_mut().zip(pairs) {
            *place = row;
        }
        let (mut bucket, mut start, mut before) = (self.buckets, self.filled as u32, first);
        self.keys[bucket] = K::of_words(first);
        self.offsets[bucket] = start;
        if first != last {
            // No branch, as nothing foretells where a bucket begins.
            for (place, &(key, _)) in (self.filled as u32..).zip(pairs) {
                let new = key != before;
                bucket += usize::from(new);
                start = if new { place } else { start };
                self.keys[bucket] = K::of_words(key);
                self.offsets[bucket] = start;
                before = key;
            }
        }
        self.buckets = bucket + 1;
        self.filled += pairs.len();
    }
}

/// Of parts of equal length keeps the first `counts` values each, one after the other, and gives back the room of the others.
pub(super) fn compact<T: Copy>(values: &mut Vec<T>, length: usize, counts: &[usize]) {
    let mut end = 0;
    for (part, &count) in counts.iter().enumerate() {
        values.copy_within(part * length..part * length + count, end);
        end += count;
    }
    values.truncate(end);
    values.shrink_to_fit();
}
