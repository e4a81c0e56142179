//! A tensor's values in JSON, flat or as an array of rows, read straight into flat memory.

use super::tensor::Contents;
use crate::rest::{Append, MOST_ROWS, Rows};
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, SeqAccess, Visitor};
use std::fmt;

impl<'de> Deserialize<'de> for Contents {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Tensor)
    }
}

/// All values.
struct Tensor;

/// The next value, or the next row. What the first is, the others must be.
struct Element<'a>(&'a mut Rows);

impl<'de> Visitor<'de> for Tensor {
    type Value = Contents;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of numbers, or of rows")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Contents, A::Error> {
        let mut rows = Rows::default();
        while sequence.next_element_seed(Element(&mut rows))?.is_some() {}
        let flat = rows.ends.is_empty();
        Ok(if flat { Contents::Flat(rows.values) } else { Contents::Nested(rows) })
    }
}

impl<'de> DeserializeSeed<'de> for Element<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Element<'_> {
    fn number<E: Error>(self, value: f32) -> Result<(), E> {
        if !self.0.ends.is_empty() {
            return Err(E::custom("a number among rows: nest all values or none"));
        }
        self.0.values.push(value);
        Ok(())
    }
}

impl<'de> Visitor<'de> for Element<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, or an array of numbers")
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        self.number(value as f32)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.number(value as f32)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.number(value as f32)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, sequence: A) -> Result<(), A::Error> {
        let Rows { values, ends } = self.0;
        if ends.is_empty() && !values.is_empty() {
            return Err(A::Error::custom("a row among numbers: nest all values or none"));
        }
        if ends.len() == MOST_ROWS {
            return Err(A::Error::custom(format!("more than {MOST_ROWS} rows in one request")));
        }
        Append(values).visit_seq(sequence)?;
        ends.push(values.len());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Contents, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn values_may_be_nested_or_not() {
        assert!(matches!(read("[1, -2.5, 3e0]"), Ok(Contents::Flat(values)) if values == [1.0, -2.5, 3.0]));
        assert!(matches!(read("[]"), Ok(Contents::Flat(values)) if values.is_empty()));
        let Ok(Contents::Nested(Rows { values, ends })) = read("[[1, 2], [], [3]]") else { panic!() };
        assert_eq!((values, ends), (vec![1.0, 2.0, 3.0], vec![2, 2, 3]));
    }

    #[test]
    fn what_is_neither_is_named_with_its_place() {
        let mixed = "nest all values or none";
        let number = "expected a number, or an array of numbers";
        let texts = ["[1, [2]]", "[[1], 2]", "[[], 2]", "[null]", "[\"1\"]", "[[[1]]]", "7"];
        assert_eq!(
            texts.map(|text| read(text).unwrap_err()),
            [
                format!("a row among numbers: {mixed} at line 1 column 5"),
                format!("a number among rows: {mixed} at line 1 column 7"),
                format!("a number among rows: {mixed} at line 1 column 6"),
                format!("invalid type: null, {number} at line 1 column 5"),
                format!("invalid type: string \"1\", {number} at line 1 column 4"),
                "invalid type: sequence, expected a number at line 1 column 2".to_owned(),
                "invalid type: integer `7`, expected an array of numbers, or of rows at line 1 column 1".to_owned(),
            ]
        );
    }

    #[test]
    fn the_number_of_rows_is_bounded() {
        let text = format!("[{}[]]", "[],".repeat(MOST_ROWS));
        assert!(read(&text).unwrap_err().starts_with("more than 1048576 rows in one request"));
    }
}
