//! Vectors in JSON, read straight into flat memory.

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, SeqAccess, Visitor};
use std::fmt;

/// Rows beyond which parsing stops, whatever the server's settings allow: bounds the list of row ends.
pub(crate) const MOST_ROWS: usize = 1 << 20;

/// One vector.
#[derive(Debug, Default)]
pub(crate) struct Row(pub(crate) Vec<f32>);

/// Several vectors, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    pub(crate) values: Vec<f32>,
    /// Where in `values` each vector ends.
    pub(crate) ends: Vec<usize>,
}

/// Appends a vector's values to `.0`.
pub(crate) struct Append<'a>(pub(crate) &'a mut Vec<f32>);

struct RowsVisitor;

struct Number;

impl<'de> Deserialize<'de> for Row {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut values = Vec::new();
        Append(&mut values).deserialize(deserializer)?;
        Ok(Self(values))
    }
}

impl<'de> Deserialize<'de> for Rows {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(RowsVisitor)
    }
}

impl<'de> Visitor<'de> for RowsVisitor {
    type Value = Rows;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of vectors")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Rows, A::Error> {
        let mut rows = Rows::default();
        while sequence.next_element_seed(Append(&mut rows.values))?.is_some() {
            if rows.ends.len() == MOST_ROWS {
                return Err(A::Error::custom(format!("more than {MOST_ROWS} vectors in one request")));
            }
            rows.ends.push(rows.values.len());
        }
        Ok(rows)
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
        f.write_str("an array of numbers")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<(), A::Error> {
        while let Some(value) = sequence.next_element_seed(Number)? {
            self.0.push(value);
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Number {
    type Value = f32;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<f32, D::Error> {
        deserializer.deserialize_f64(self)
    }
}

impl Visitor<'_> for Number {
    type Value = f32;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number")
    }

    fn visit_f64<E>(self, value: f64) -> Result<f32, E> {
        Ok(value as f32)
    }

    fn visit_u64<E>(self, value: u64) -> Result<f32, E> {
        Ok(value as f32)
    }

    fn visit_i64<E>(self, value: i64) -> Result<f32, E> {
        Ok(value as f32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_lie_one_after_the_other() {
        let rows: Rows = serde_json::from_str("[[1, 2.5, -3], [], [4e0]]").unwrap();
        assert_eq!(rows.values, [1.0, 2.5, -3.0, 4.0]);
        assert_eq!(rows.ends, [3, 3, 4]);
    }

    #[test]
    fn what_is_no_number_is_named_with_its_place() {
        let fail = |text: &str| serde_json::from_str::<Rows>(text).unwrap_err().to_string();
        assert_eq!(fail("[[1, null]]"), "invalid type: null, expected a number at line 1 column 9");
        assert_eq!(fail("[[1, \"2\"]]"), "invalid type: string \"2\", expected a number at line 1 column 8");
        assert_eq!(fail("[[1, NaN]]"), "expected value at line 1 column 6");
        assert_eq!(fail("[1, 2]"), "invalid type: integer `1`, expected an array of numbers at line 1 column 2");
        assert_eq!(fail("[[1, 1e999]]"), "number out of range at line 1 column 10");
    }

    #[test]
    fn the_number_of_vectors_is_bounded() {
        let text = format!("[{}[]]", "[],".repeat(MOST_ROWS));
        let error = serde_json::from_str::<Rows>(&text).unwrap_err().to_string();
        assert!(error.starts_with("more than 1048576 vectors in one request"), "{error}");
    }
}
