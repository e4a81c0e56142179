//! Texts that are nearly right.

use proptest::prelude::*;
use std::ops::Range;

/// Good texts in which, so many times, a few bytes are replaced by a piece, anywhere.
pub(crate) fn edited(
    good: impl Strategy<Value = &'static str>,
    pieces: impl Strategy<Value = &'static str>,
    times: Range<usize>,
) -> impl Strategy<Value = Vec<u8>> {
    let edit = (any::<prop::sample::Index>(), 0usize..6, pieces);
    (good, prop::collection::vec(edit, times)).prop_map(|(good, edits)| {
        let mut bytes = good.as_bytes().to_vec();
        for (at, cut, piece) in edits {
            let at = at.index(bytes.len() + 1);
            let end = (at + cut).min(bytes.len());
            bytes.splice(at..end, piece.bytes());
        }
        bytes
    })
}
