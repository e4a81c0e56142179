//! How are positive numbers spread?
//!
//! Exact quantiles need all numbers at once. Counts of how many have about the same size merge in any order and need next
//! to nothing (as in DDSketch: C. Masson, J. Rim and H. Lee, VLDB 12, 2019; the bins are those of HdrHistogram).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Bits of the mantissa that tell numbers apart: 32 bins from a number to its double.
const BITS: u32 = 5;

/// Counts numbers that are not negative by their size. A quantile is right to 1 part in 64.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quantiles {
    /// Count per bin: sign, exponent and the leading bits of the mantissa.
    bins: BTreeMap<u32, u64>,
}

impl Quantiles {
    /// Counts a number; a negative one or NaN counts as 0.
    pub fn add(&mut self, value: f64) {
        // `max` makes a number of NaN, and adding zero makes -0.0 positive.
        let bin = ((value.max(0.0) + 0.0).to_bits() >> (f64::MANTISSA_DIGITS - 1 - BITS)) as u32;
        *self.bins.entry(bin).or_default() += 1;
    }

    /// Takes in what another has counted.
    pub fn merge(&mut self, other: &Self) {
        for (&bin, count) in &other.bins {
            *self.bins.entry(bin).or_default() += count;
        }
    }

    /// Numbers counted.
    pub fn count(&self) -> u64 {
        self.bins.values().sum()
    }

    /// The least number that at least a share of `q` of the numbers do not exceed; `None` where there are none.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let rank = (q * self.count() as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        let (bin, _) = self.bins.iter().find(|(_, count)| {
            seen += **count;
            seen >= rank
        })?;
        let edge = |bin: u32| f64::from_bits(u64::from(bin) << (f64::MANTISSA_DIGITS - 1 - BITS));
        Some(if *bin == 0 { 0.0 } else { 0.5 * (edge(*bin) + edge(bin + 1)) })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn of_nothing_there_is_none() {
        assert_eq!(Quantiles::default().quantile(0.5), None);
    }

    #[test]
    fn zeros_and_nonsense_are_zero() {
        let mut counted = Quantiles::default();
        [0.0, -0.0, -3.0, f64::NAN].into_iter().for_each(|value| counted.add(value));
        assert_eq!(counted.count(), 4);
        assert_eq!(counted.quantile(1.0), Some(0.0));
    }

    proptest! {
        #[test]
        fn as_if_all_were_sorted(
            numbers in prop::collection::vec((-30.0f64..30.0).prop_map(f64::exp), 1..200),
            cut in 0usize..200,
            q in 0.0f64..=1.0,
        ) {
            let (first, second) = numbers.split_at(cut.min(numbers.len()));
            let count = |numbers: &[f64]| {
                let mut counted = Quantiles::default();
                numbers.iter().for_each(|&number| counted.add(number));
                counted
            };
            let mut merged = count(second);
            merged.merge(&count(first));
            prop_assert_eq!(&merged, &count(&numbers));
            let mut sorted = numbers.clone();
            sorted.sort_by(f64::total_cmp);
            let rank = (q * numbers.len() as f64).ceil().max(1.0) as usize;
            let found = merged.quantile(q).unwrap();
            prop_assert!((found / sorted[rank - 1] - 1.0).abs() <= 1.0 / 64.0, "{} and {}", found, sorted[rank - 1]);
        }
    }
}
