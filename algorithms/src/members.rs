//! How the members of a set become columns of a row of zeros and ones: in training and, for ever after, in serving.

use serde::{Deserialize, Serialize};

/// What the members of sets are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Members {
    /// Integers: each is the number of its column.
    Integers,
    /// Texts: the [`hash`] of each, modulo the number of columns, is the number of its column.
    Texts,
}

/// What stands for a text, given in UTF-8: the first eight bytes of its BLAKE3 hash, as a little-endian number.
pub fn hash(text: &[u8]) -> u64 {
    let hash = blake3::hash(text);
    hash.as_bytes().iter().take(8).rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

impl Members {
    /// The column, of `size` of them, for a member: an integer, or the [`hash`] of a text. `None` where it has none, as integers
    /// from `size` on.
    pub fn column(self, member: u64, size: usize) -> Option<usize> {
        match self {
            Self::Integers => usize::try_from(member).ok().filter(|column| *column < size),
            Self::Texts => member.checked_rem(size as u64).map(|column| column as usize),
        }
    }

    /// Its name in manifests and answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Integers => "Integers",
            Self::Texts => "Texts",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_their_own_columns() {
        let columns = [0, 3, 4, u64::MAX].map(|member| Members::Integers.column(member, 4));
        assert_eq!(columns, [Some(0), Some(3), None, None]);
    }

    /// Columns of texts are for ever: models and clients depend on them.
    #[test]
    fn texts_have_columns_that_never_change() {
        let columns = ["", "rust", "Zürich"].map(|text| Members::Texts.column(hash(text.as_bytes()), 1 << 16));
        assert_eq!(columns, [Some(5039), Some(7827), Some(63_364)]);
    }
}
