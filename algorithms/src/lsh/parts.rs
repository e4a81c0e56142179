//! Arrays that are made table by table.

use std::ops::Range;

use rayon::prelude::*;

use super::Key;

/// Rows that are hashed together.
const BLOCK: usize = 1024;

/// The keys of all rows, table after table.
pub(super) fn hashed<K: Key>(n: usize, tables: usize, hash: impl Fn(Range<usize>, &mut [K]) + Sync) -> Vec<K> {
    let mut keys = vec![K::default(); n * tables];
    // Where the keys of each block of rows belong, a piece per table.
    let mut blocks: Vec<Vec<&mut [K]>> = Vec::new();
    blocks.resize_with(n.div_ceil(BLOCK), || Vec::with_capacity(tables));
    for column in split(&mut keys, n, tables) {
        for (pieces, piece) in blocks.iter_mut().zip(column.chunks_mut(BLOCK)) {
            pieces.push(piece);
        }
    }
    blocks.into_par_iter().enumerate().for_each_init(Vec::new, |lines, (block, pieces)| {
        let range = block * BLOCK..((block + 1) * BLOCK).min(n);
        lines.resize(range.len() * tables, K::default());
        hash(range, lines);
        for (table, piece) in pieces.into_iter().enumerate() {
            for (place, line) in piece.iter_mut().zip(lines.chunks_exact(tables)) {
                *place = line[table];
            }
        }
    });
    keys
}

/// So many parts of equal length.
pub(super) fn split<T>(mut values: &mut [T], length: usize, count: usize) -> impl Iterator<Item = &mut [T]> {
    (0..count).map(move |_| {
        let part;
        (part, values) = std::mem::take(&mut values).split_at_mut(length);
        part
    })
}

/// Brings each sorted key to the front once, and writes where its bucket begins, and where the last one ends; gives the number of buckets.
pub(super) fn gather<K: Key>(keys: &mut [K], offsets: &mut [u32]) -> usize {
    let mut count = 0;
    for place in 0..keys.len() {
        let key = keys[place];
        if count == 0 || key != keys[count - 1] {
            keys[count] = key;
            offsets[count] = place as u32;
            count += 1;
        }
    }
    offsets[count] = keys.len() as u32;
    count
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
