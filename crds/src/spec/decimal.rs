//! Real numbers as text.
//!
//! A float in a manifest changes on its way through YAML, JSON and three languages; text does not. So every real
//! of the spec is a decimal string, checked by a pattern and read once.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// What a decimal string looks like. The exponent has at most two digits, so the value is always finite.
pub(crate) const PATTERN: &str = r"^(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]{1,2})?$";

/// What a ratio looks like: a decimal string from 0 to 1, without exponent.
pub(crate) const RATIO_PATTERN: &str = r"^(0(\.[0-9]+)?|1(\.0+)?)$";

/// A real number that is not negative, as text: `"0.0001"`, `"1e-4"`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Decimal(pub String);

impl Decimal {
    /// The number, or `None` when the text is not a decimal number.
    pub fn value(&self) -> Option<f64> {
        // The pattern's alphabet is narrower than that of `parse`, which also reads "inf" and "nan".
        let plain = |c: char| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '-' | '+');
        self.0.parse().ok().filter(|value: &f64| value.is_finite() && self.0.chars().all(plain))
    }
}

impl From<&str> for Decimal {
    fn from(text: &str) -> Self {
        Decimal(text.to_owned())
    }
}

impl JsonSchema for Decimal {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Decimal".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "maxLength": 32, "pattern": PATTERN})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_pattern_admits() {
        let pattern = regex::Regex::new(PATTERN).unwrap();
        for (text, value) in [("0", 0.0), ("1e-4", 1e-4), ("0.0001", 1e-4), ("12.5E+3", 12500.0)] {
            assert!(pattern.is_match(text), "{text}");
            assert_eq!(Decimal::from(text).value(), Some(value), "{text}");
        }
    }

    #[test]
    fn refuses_what_the_pattern_refuses() {
        let pattern = regex::Regex::new(PATTERN).unwrap();
        for text in ["", "-1", ".5", "1.", "1e", "1e100", "01", "inf", "NaN", "1_000", "1,5", " 1"] {
            assert!(!pattern.is_match(text), "{text}");
        }
        for text in ["", "inf", "NaN", "infinity", "1,5"] {
            assert_eq!(Decimal::from(text).value(), None, "{text}");
        }
    }
}
