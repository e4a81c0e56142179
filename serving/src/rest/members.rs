//! Sets in JSON, read straight into flat memory.

use super::MOST_ROWS;
use crate::query::Sets;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, SeqAccess, Visitor};
use std::fmt;

/// One set.
#[derive(Debug)]
pub(crate) struct OneSet(pub(crate) Sets);

/// Several sets.
#[derive(Debug)]
pub(crate) struct ManySets(pub(crate) Sets);

/// Appends a set to `.0`.
struct Append<'a>(&'a mut Sets);

struct SetsVisitor;

/// Appends a member to the set that is being read.
struct Member<'a>(&'a mut Sets);

impl<'de> Deserialize<'de> for OneSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut sets = Sets::default();
        Append(&mut sets).deserialize(deserializer)?;
        Ok(Self(sets))
    }
}

impl<'de> Deserialize<'de> for ManySets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(SetsVisitor).map(Self)
    }
}

impl<'de> Visitor<'de> for SetsVisitor {
    type Value = Sets;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of sets")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Sets, A::Error> {
        let mut sets = Sets::default();
        while sequence.next_element_seed(Append(&mut sets))?.is_some() {
            if sets.len() > MOST_ROWS {
                return Err(A::Error::custom(format!("more than {MOST_ROWS} sets in one request")));
            }
        }
        Ok(sets)
    }
}

impl<'de> DeserializeSeed<'de> for Append<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Append<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of members")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<(), A::Error> {
        while sequence.next_element_seed(Member(self.0))?.is_some() {}
        self.0.end();
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Member<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for Member<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an integer from 0 on, or a text")
    }

    fn visit_u64<E: Error>(self, member: u64) -> Result<(), E> {
        self.0.integer(member).map_err(E::custom)
    }

    fn visit_str<E: Error>(self, member: &str) -> Result<(), E> {
        self.0.text(member).map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_lie_one_after_the_other() {
        let ManySets(sets) = serde_json::from_str(r#"[["a", "b\n", "a"], [], ["c"]]"#).unwrap();
        assert_eq!(sets.len(), 3);
        let OneSet(set) = serde_json::from_str("[]").unwrap();
        assert_eq!(set.len(), 1);
    }

    #[test]
    fn what_is_no_member_is_named_with_its_place() {
        let fail = |text: &str| serde_json::from_str::<ManySets>(text).unwrap_err().to_string();
        let expected = "expected an integer from 0 on, or a text at line 1";
        assert_eq!(fail("[[1, null]]"), format!("invalid type: null, {expected} column 9"));
        assert_eq!(fail("[[-1]]"), format!("invalid type: integer `-1`, {expected} column 4"));
        assert_eq!(fail("[[1.0]]"), format!("invalid type: floating point `1.0`, {expected} column 5"));
        assert_eq!(fail("[[[1]]]"), format!("invalid type: sequence, {expected} column 3"));
        assert_eq!(fail("[1]"), "invalid type: integer `1`, expected an array of members at line 1 column 2");
        let mixed = fail(r#"[[1], ["1"]]"#);
        assert!(mixed.starts_with("integers and texts are mixed") && mixed.contains("line 1 column"), "{mixed}");
    }

    #[test]
    fn the_number_of_sets_is_bounded() {
        let text = format!("[{}[]]", "[],".repeat(MOST_ROWS));
        let error = serde_json::from_str::<ManySets>(&text).unwrap_err().to_string();
        assert!(error.starts_with("more than 1048576 sets in one request"), "{error}");
    }
}
