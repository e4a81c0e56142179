//! The division of the items over several servers, where one has no room for all.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Items;

/// Most shards.
pub const MOST_SHARDS: u32 = 64;

/// The part of the items that one server holds.
///
/// Spelt `1/3`: the second of three.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Shard {
    number: u32,
    of: u32,
}

/// A text that names no shard.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no shard: write NUMBER/SHARDS, as in 0/3; numbers count from 0, and there are at most {MOST_SHARDS} shards"
)]
pub struct ShardError(String);

impl Shard {
    /// All items.
    pub const WHOLE: Self = Self { number: 0, of: 1 };

    /// The shard `number`, from 0, of `of`; `None` if there is no such shard or there are more than [`MOST_SHARDS`].
    pub fn new(number: u32, of: u32) -> Option<Self> {
        (number < of && of <= MOST_SHARDS).then_some(Self { number, of })
    }

    /// Its number, from 0.
    pub fn number(self) -> u32 {
        self.number
    }

    /// How many there are.
    pub fn of(self) -> u32 {
        self.of
    }

    /// Whether it holds all items.
    pub fn is_whole(&self) -> bool {
        self.of == 1
    }
}

impl Default for Shard {
    fn default() -> Self {
        Self::WHOLE
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.number, self.of)
    }
}

impl FromStr for Shard {
    type Err = ShardError;

    fn from_str(text: &str) -> Result<Self, ShardError> {
        let parts = text.split_once('/').and_then(|(number, of)| Some((number.parse().ok()?, of.parse().ok()?)));
        parts.and_then(|(number, of)| Self::new(number, of)).ok_or_else(|| ShardError(text.to_owned()))
    }
}

impl Items {
    /// The shard that holds each part, by its number: each part in turn goes to where the fewest rows are, to the first of those.
    ///
    /// So the rows of two shards differ by no more than the largest part, and where parts are equal they go round, which gives every
    /// shard its share of whatever the order of the source means. O(parts x shards).
    pub fn division(&self, shards: u32) -> Vec<u32> {
        let mut held = vec![0u64; shards.max(1) as usize];
        let least = |held: &[u64]| {
            (0u32..).zip(held).min_by_key(|(number, rows)| (**rows, *number)).map_or(0, |(number, _)| number)
        };
        let place = |rows: u64| {
            let number = least(&held);
            held[number as usize] = held[number as usize].saturating_add(rows);
            number
        };
        self.parts.iter().map(|part| part.rows).map(place).collect()
    }

    /// The parts that a shard holds, each with the place of its first row among all.
    pub(super) fn held_by(&self, shard: Shard) -> Vec<(u64, &super::Part)> {
        let starts = self.parts.iter().scan(0u64, |sum, part| {
            let start = *sum;
            *sum = sum.saturating_add(part.rows);
            Some(start)
        });
        let all = self.division(shard.of).into_iter().zip(starts).zip(&self.parts);
        all.filter(|((number, _), _)| *number == shard.number).map(|((_, start), part)| (start, part)).collect()
    }

    /// Rows that a shard holds. O(parts x shards).
    pub fn rows_of(&self, shard: Shard) -> u64 {
        self.held_by(shard).iter().fold(0, |sum, (_, part)| sum.saturating_add(part.rows))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Part;
    use super::*;

    fn items(rows: &[u64]) -> Items {
        let part = |(split, &rows): (u32, &u64)| Part {
            name: super::super::part_name(split),
            rows,
            size: 100 * rows,
            digest: format!("blake3:{split}"),
        };
        Items::new((0..).zip(rows).map(part).collect())
    }

    proptest! {
        #[test]
        fn every_part_has_one_shard_and_none_much_more_than_another(
            rows in prop::collection::vec(0u64..10_000, 0..99), of in 1u32..=MOST_SHARDS,
        ) {
            let items = items(&rows);
            let division = items.division(of);
            prop_assert_eq!(division.len(), rows.len());
            prop_assert!(division.iter().all(|number| *number < of));
            prop_assert_eq!(&division, &items.division(of));
            let shards: Vec<Shard> = (0..of).map(|number| Shard::new(number, of).unwrap()).collect();
            let held: Vec<u64> = shards.iter().map(|shard| items.rows_of(*shard)).collect();
            prop_assert_eq!(held.iter().sum::<u64>(), items.rows);
            let (least, most) = (held.iter().min().unwrap(), held.iter().max().unwrap());
            prop_assert!(most - least <= rows.iter().copied().max().unwrap_or_default());
            let mut starts: Vec<(u64, &str)> = shards
                .iter()
                .flat_map(|shard| items.held_by(*shard))
                .map(|(start, part)| (start, part.name.as_str()))
                .collect();
            starts.sort_by_key(|(_, name)| *name);
            let expected: Vec<u64> = rows.iter().scan(0, |sum, rows| { *sum += rows; Some(*sum - rows) }).collect();
            prop_assert_eq!(starts.iter().map(|(start, _)| *start).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn equal_parts_go_round() {
        assert_eq!(items(&[5; 7]).division(3), [0, 1, 2, 0, 1, 2, 0]);
        assert_eq!(items(&[9, 2, 2, 2]).division(2), [0, 1, 1, 1]);
        assert_eq!(items(&[5; 3]).division(1), [0; 3]);
    }

    #[test]
    fn a_shard_is_spelt_as_it_is_read() {
        let shard = Shard::new(1, 3).unwrap();
        assert_eq!((shard.to_string().as_str(), "1/3".parse()), ("1/3", Ok(shard)));
        assert_eq!("63/64".parse::<Shard>().map(Shard::of), Ok(64));
        for wrong in ["", "1", "3/3", "0/0", "0/65", "-1/3", "a/b", "1/3/5"] {
            let error = wrong.parse::<Shard>().unwrap_err().to_string();
            assert!(error.contains("as in 0/3"), "{error}");
        }
    }
}
