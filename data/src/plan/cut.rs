//! Cuts objects into splits: a pure function of what their headers say, so that every process that plans the same
//! objects gets the same splits in the same order, whatever the number of workers.

use super::{Part, Split};

/// Decoded bytes of a split of rows, at most.
const ROWS_BYTES: u64 = 64 << 20;
/// Decoded bytes below which rows are not cut further.
const ROWS_LEAST: u64 = 256 << 10;
/// Splits that a smaller input is cut into, so that several workers have something to do.
const WANTED: u64 = 64;
/// Bytes of CSV up to which an object is one split; larger ones are cut into ranges of half of this to this.
const TEXT_BYTES: u64 = 64 << 20;
/// Bytes of record batches in a split, at most, unless one batch is larger.
const BATCHES_BYTES: u64 = 64 << 20;

/// What can be cut in one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Rows of each row group.
    RowGroups(Vec<u64>),
    /// A number of rows of some decoded bytes each.
    Rows { rows: u64, row_bytes: u64 },
    /// Records in a range of bytes.
    Text { start: u64, end: u64 },
    /// Bytes of each record batch.
    Batches(Vec<u64>),
}

/// The splits of all objects, in the order of their rows.
pub(crate) fn cut(extents: &[Extent]) -> Vec<Split> {
    let total: u64 = extents
        .iter()
        .map(|extent| match extent {
            Extent::Rows { rows, row_bytes } => rows.saturating_mul(*row_bytes),
            Extent::Batches(sizes) => sizes.iter().sum(),
            Extent::RowGroups(_) | Extent::Text { .. } => 0,
        })
        .fold(0, u64::saturating_add);
    let target = (total / WANTED).max(ROWS_LEAST);
    let mut splits = Vec::new();
    for (object, extent) in (0_u32..).zip(extents) {
        let mut push =
            |part| splits.push(Split { index: u32::try_from(splits.len()).unwrap_or(u32::MAX), object, part });
        match extent {
            Extent::RowGroups(rows) => {
                for (index, rows) in (0_u32..).zip(rows.iter().copied()) {
                    if rows > 0 {
                        push(Part::RowGroup { index, rows });
                    }
                }
            }
            Extent::Rows { rows, row_bytes } => {
                let most = (target.min(ROWS_BYTES) / (*row_bytes).max(1)).max(1);
                for range in even(0, *rows, most) {
                    push(Part::Rows { start: range.0, count: range.1 - range.0 });
                }
            }
            Extent::Text { start, end } => {
                for range in even(*start, *end, TEXT_BYTES) {
                    push(Part::Bytes { start: range.0, end: range.1 });
                }
            }
            Extent::Batches(sizes) => {
                let most = target.min(BATCHES_BYTES);
                let mut first = 0;
                let mut held = 0;
                for (index, size) in (0_u32..).zip(sizes.iter().copied()) {
                    if index > first && held + size > most {
                        push(Part::Batches { first, count: index - first });
                        first = index;
                        held = 0;
                    }
                    held += size;
                }
                let count = u32::try_from(sizes.len()).unwrap_or(u32::MAX) - first;
                if count > 0 {
                    push(Part::Batches { first, count });
                }
            }
        }
    }
    splits
}

/// Cuts a range into the fewest parts of at most `most`, all but equally long.
fn even(start: u64, end: u64, most: u64) -> impl Iterator<Item = (u64, u64)> {
    let length = end.saturating_sub(start);
    let parts = length.div_ceil(most);
    // 128 bits, since the product may exceed 64.
    let at = move |part: u64| {
        start + u64::try_from(u128::from(length) * u128::from(part) / u128::from(parts.max(1))).unwrap_or(length)
    };
    (0..parts).map(move |part| (at(part), at(part + 1)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn whole_plans() {
        let split = |index, object, part| Split { index, object, part };
        let plan = cut(&[Extent::RowGroups(vec![10, 0, 5]), Extent::RowGroups(vec![]), Extent::RowGroups(vec![7])]);
        assert_eq!(
            plan,
            [
                split(0, 0, Part::RowGroup { index: 0, rows: 10 }),
                split(1, 0, Part::RowGroup { index: 2, rows: 5 }),
                split(2, 2, Part::RowGroup { index: 0, rows: 7 }),
            ]
        );
        let plan = cut(&[
            Extent::Text { start: 10, end: (100 << 20) + 10 },
            Extent::Text { start: 5, end: 5 },
            Extent::Text { start: 3, end: 9 },
        ]);
        assert_eq!(
            plan,
            [
                split(0, 0, Part::Bytes { start: 10, end: (50 << 20) + 10 }),
                split(1, 0, Part::Bytes { start: (50 << 20) + 10, end: (100 << 20) + 10 }),
                split(2, 2, Part::Bytes { start: 3, end: 9 }),
            ]
        );
        // 460 KB of digits: two splits; 640 MB: 64 splits; 64 GB: splits of 64 MiB.
        assert_eq!(cut(&[Extent::Rows { rows: 1797, row_bytes: 256 }]).len(), 2);
        assert_eq!(cut(&[Extent::Rows { rows: 10_000_000, row_bytes: 64 }]).len(), 64);
        assert_eq!(cut(&[Extent::Rows { rows: 1 << 30, row_bytes: 64 }]).len(), 1024);
        let plan = cut(&[Extent::Batches(vec![200 << 10, 50 << 10, 50 << 10, 300 << 10, 1])]);
        assert_eq!(
            plan,
            [
                split(0, 0, Part::Batches { first: 0, count: 2 }),
                split(1, 0, Part::Batches { first: 2, count: 1 }),
                split(2, 0, Part::Batches { first: 3, count: 1 }),
                split(3, 0, Part::Batches { first: 4, count: 1 }),
            ]
        );
    }

    fn extent() -> impl Strategy<Value = Extent> {
        prop_oneof![
            proptest::collection::vec(0..1_000_000_u64, 0..20).prop_map(Extent::RowGroups),
            (0..10_000_000_u64, 1..300_000_u64).prop_map(|(rows, row_bytes)| Extent::Rows { rows, row_bytes }),
            (0..1000_u64, 0..u64::from(u32::MAX))
                .prop_map(|(start, length)| Extent::Text { start, end: start + length }),
            proptest::collection::vec(1..(200_u64 << 20), 0..20).prop_map(Extent::Batches),
        ]
    }

    proptest! {
        /// Splits cover everything exactly once, in order, and none is empty.
        #[test]
        fn splits_cover_everything_once(extents in proptest::collection::vec(extent(), 0..8)) {
            let splits = cut(&extents);
            prop_assert!(splits.iter().enumerate().all(|(at, split)| split.index as usize == at));
            prop_assert!(splits.is_sorted_by_key(|split| split.object));
            for (object, extent) in (0_u32..).zip(&extents) {
                let parts: Vec<Part> = splits.iter().filter(|split| split.object == object).map(|split| split.part).collect();
                match extent {
                    Extent::RowGroups(groups) => {
                        let expected: Vec<Part> =
                            (0_u32..).zip(groups).filter(|(_, rows)| **rows > 0).map(|(index, rows)| Part::RowGroup { index, rows: *rows }).collect();
                        prop_assert_eq!(parts, expected);
                    }
                    Extent::Rows { rows, row_bytes } => {
                        let mut next = 0;
                        for part in parts {
                            let Part::Rows { start, count } = part else { return Err(TestCaseError::fail("wrong part")) };
                            prop_assert!(start == next && count > 0 && (count == 1 || count * row_bytes <= ROWS_BYTES));
                            next += count;
                        }
                        prop_assert_eq!(next, *rows);
                    }
                    Extent::Text { start: from, end: to } => {
                        let mut next = *from;
                        let many = parts.len() > 1;
                        for part in parts {
                            let Part::Bytes { start, end } = part else { return Err(TestCaseError::fail("wrong part")) };
                            prop_assert!(start == next && end > start && end - start <= TEXT_BYTES && (!many || end - start >= TEXT_BYTES / 2));
                            next = end;
                        }
                        prop_assert_eq!(next, *to);
                    }
                    Extent::Batches(sizes) => {
                        let mut next = 0;
                        for part in parts {
                            let Part::Batches { first, count } = part else { return Err(TestCaseError::fail("wrong part")) };
                            prop_assert!(first == next && count > 0);
                            next += count;
                        }
                        prop_assert_eq!(next as usize, sizes.len());
                    }
                }
            }
        }
    }
}
