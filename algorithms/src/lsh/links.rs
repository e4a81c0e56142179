//! Which rows hang together, in few bytes.

use serde::{Deserialize, Serialize};

use super::Components;

/// Pairs of rows that share a bucket: each row of one with its lowest.
///
/// Kept as runs of consecutive rows, so a bucket of most rows takes two bytes per run at most, and one of two rows some eight: what
/// is held of a bucket is far less than its rows and keys, however large it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Links {
    /// Groups one behind the other: the lowest row, then its runs. A run is the number of rows left out before it and two flags
    /// ([`LONG`], [`LAST`]); if it is long, its length follows, less two. All are numbers of seven bits per byte, the low ones first.
    bytes: Vec<u8>,
}

/// The run has more than one row.
const LONG: u64 = 2;
/// The run is the last of its group.
const LAST: u64 = 1;

/// Why links cannot be followed: they are of other rows, or no links.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinksError {
    /// There is no such row.
    #[error("row {row} is linked, but there are {rows}")]
    Row {
        /// The row.
        row: u64,
        /// Number of rows.
        rows: usize,
    },
    /// They end in the middle of a number or a group.
    #[error("links end in the middle of one")]
    Cut,
}

impl Links {
    /// Links rows, ascending, to the lowest of their bucket. Those that are not higher are left out. O(rows).
    pub(super) fn push(&mut self, lowest: u32, rows: impl Iterator<Item = u32>) {
        let lowest = u64::from(lowest);
        // The end of the run before, and the run at hand.
        let (mut end, mut run) = (lowest + 1, None::<(u64, u64)>);
        for row in rows.map(u64::from) {
            run = match run {
                None if row > lowest => {
                    self.number(lowest);
                    Some((row, row + 1))
                }
                Some((start, next)) if row == next => Some((start, next + 1)),
                Some((start, next)) if row > next => {
                    self.run(end, (start, next), 0);
                    end = next;
                    Some((row, row + 1))
                }
                unchanged => unchanged,
            };
        }
        if let Some(run) = run {
            self.run(end, run, LAST);
        }
    }

    /// Takes in other links. O(their bytes).
    pub(super) fn extend(&mut self, other: Self) {
        if self.bytes.is_empty() {
            *self = other;
        } else {
            self.bytes.extend_from_slice(&other.bytes);
        }
    }

    /// Joins the rows that are linked. O(links x log n) amortised.
    pub(super) fn connect(&self, components: &mut Components) -> Result<(), LinksError> {
        let rows = components.len();
        let known = |row: u64| {
            let number = u32::try_from(row).ok().filter(|_| row < rows as u64);
            number.ok_or(LinksError::Row { row, rows })
        };
        let mut rest = &self.bytes[..];
        while !rest.is_empty() {
            let lowest = known(take(&mut rest)?)?;
            let mut next = u64::from(lowest) + 1;
            loop {
                let head = take(&mut rest)?;
                let start = next.saturating_add(head >> 2);
                let length = if head & LONG == 0 { 1 } else { take(&mut rest)?.saturating_add(2) };
                next = start.saturating_add(length);
                known(next - 1)?;
                (start..next).try_for_each(|row| known(row).map(|row| components.join(lowest, row)))?;
                if head & LAST != 0 {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Bytes that they take.
    #[cfg(test)]
    pub(super) fn size(&self) -> usize {
        self.bytes.len()
    }

    fn run(&mut self, end: u64, (start, next): (u64, u64), last: u64) {
        let length = next - start;
        let long = if length > 1 { LONG } else { 0 };
        self.number((start - end) << 2 | long | last);
        if length > 1 {
            self.number(length - 2);
        }
    }

    fn number(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }
}

/// The number at the beginning, which is taken off.
fn take(bytes: &mut &[u8]) -> Result<u64, LinksError> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first().ok_or(LinksError::Cut)?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(LinksError::Cut)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::components::tests::naive;
    use super::*;

    proptest! {
        /// Against the pairs themselves.
        #[test]
        fn rows_hang_together_as_the_pairs_say(groups in prop::collection::vec((0u32..300, prop::collection::vec(0u32..300, 0..40)), 0..8), cut in 0usize..8) {
            let (mut links, mut more, mut pairs) = (Links::default(), Links::default(), Vec::new());
            for (at, (lowest, mut rows)) in groups.into_iter().enumerate() {
                rows.sort_unstable();
                (if at < cut { &mut links } else { &mut more }).push(lowest, rows.iter().copied());
                pairs.extend(rows.into_iter().filter(|&row| row > lowest).map(|row| (lowest, row)));
            }
            links.extend(more);
            let mut components = Components::new(300);
            links.connect(&mut components).unwrap();
            prop_assert_eq!(components.labels().0, naive(300, &pairs));
        }

        /// Whatever bytes arrive, they are refused or followed, and nothing panics.
        #[test]
        fn strange_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let mut components = Components::new(50);
            let _ = Links { bytes }.connect(&mut components);
            prop_assert!((0..50).all(|row| components.find(row) <= row));
        }
    }

    #[test]
    fn large_buckets_take_few_bytes() {
        let size = |rows: &mut dyn Iterator<Item = u32>| {
            let mut links = Links::default();
            links.push(0, rows);
            links.size()
        };
        assert!(size(&mut (1..1 << 26)) < 10);
        // Every other row: a byte each.
        assert!(size(&mut (1..1 << 20).step_by(2)) <= (1 << 19) + 1);
        // Nine rows in ten: a pair of bytes per ten.
        assert!(size(&mut (1..100_000).filter(|row| row % 10 > 0)) <= 20_001);
        assert!(size(&mut [1 << 25].into_iter()) <= 6);
        assert_eq!(size(&mut [0, 0].into_iter()), 0);
    }

    #[test]
    fn links_of_other_rows_and_parts_of_links_are_refused() {
        let mut links = Links::default();
        links.push(0, [3, 4].into_iter());
        let connect = |links: &Links, rows| links.connect(&mut Components::new(rows));
        assert_eq!(connect(&links, 5), Ok(()));
        assert_eq!(connect(&links, 4), Err(LinksError::Row { row: 4, rows: 4 }));
        assert_eq!(connect(&links, 0), Err(LinksError::Row { row: 0, rows: 0 }));
        links.bytes.pop();
        assert_eq!(connect(&links, 5), Err(LinksError::Cut));
        let huge = Links { bytes: vec![0, 2, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1] };
        assert!(matches!(connect(&huge, 5), Err(LinksError::Row { .. })));
    }
}
