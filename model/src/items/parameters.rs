//! Parameters of hash tables that are set by hand.

use coterie_algorithms::lsh::Effort;
use coterie_algorithms::metric::Metric;
use serde::{Deserialize, Serialize};

use super::tables::Hashing;

/// Most tables of an index.
pub(super) const MOST_TABLES: usize = 64;
/// Most hashes that make a key.
pub(super) const MOST_HASHES: usize = 32;
/// Most buckets that a query tries.
const MOST_PROBES: usize = 65_536;

/// Which hash tables are built beside the lists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TableOptions {
    /// None.
    #[default]
    None,
    /// Those that the recall takes, by trial on a sample.
    Chosen,
    /// Those with these parameters.
    Given(TableParameters),
}

/// Parameters of hash tables, set by hand.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TableParameters {
    /// Number of tables; 1 to 64.
    pub tables: usize,
    /// Hashes that make the key of a bucket; 1 to 32.
    pub hashes: usize,
    /// Width of a cell, in the unit of the model's rows; set if and only if the metric is Euclidean.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub width: Option<f64>,
    /// Buckets that a query tries in all tables together, its own of each table included; from `tables` to 65,536, and never for sets.
    /// `None`: its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probes: Option<usize>,
}

/// Why parameters were refused.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum ParametersError {
    /// Too few or too many tables.
    #[error("{0} hash tables are asked for; set 1 to {MOST_TABLES}")]
    Tables(usize),
    /// Too few or too many hashes.
    #[error("{0} hashes of a table are asked for; set 1 to {MOST_HASHES}")]
    Hashes(usize),
    /// Too few or too many probes.
    #[error(
        "{probes} probes are asked for of {tables} tables; each table has one for a query's own bucket, so set {tables} to {MOST_PROBES}, or none"
    )]
    Probes {
        /// What was asked for.
        probes: usize,
        /// Tables.
        tables: usize,
    },
    /// Probes of sets.
    #[error("smallest hashes of sets do not tell which other bucket is near; leave the number of probes out")]
    ProbesOfSets,
    /// No width for cells.
    #[error(
        "the metric is Euclidean, where hashes are cells; set their width, a few times the distance of items that are near each other"
    )]
    NoWidth,
    /// A width where there are no cells.
    #[error("only hashes of the metric Euclidean are cells; leave the width out")]
    NoCells,
    /// No width at all.
    #[error(
        "cells cannot be {0} wide; set a number greater than 0, a few times the distance of items that are near each other"
    )]
    Width(f64),
}

impl TableOptions {
    /// Whether there is a model of this metric that tables of such options are of.
    pub(super) fn check(self, metric: Metric) -> Result<(), ParametersError> {
        match self {
            Self::None | Self::Chosen => Ok(()),
            Self::Given(parameters) => parameters.checked(metric).map(|_| ()),
        }
    }
}

impl TableParameters {
    /// What they mean for a model of this metric.
    ///
    /// # Errors
    /// If they are out of bounds or not those of the metric.
    pub(super) fn checked(self, metric: Metric) -> Result<(Hashing, Effort), ParametersError> {
        let Self { tables, hashes, width, probes } = self;
        if !(1..=MOST_TABLES).contains(&tables) {
            return Err(ParametersError::Tables(tables));
        }
        if !(1..=MOST_HASHES).contains(&hashes) {
            return Err(ParametersError::Hashes(hashes));
        }
        if let Some(probes) = probes.filter(|probes| !(tables..=MOST_PROBES).contains(probes)) {
            return Err(ParametersError::Probes { probes, tables });
        }
        let hashing = match (metric, width) {
            (Metric::Euclidean, None) => return Err(ParametersError::NoWidth),
            (Metric::Euclidean, Some(width)) if width.is_finite() && width > 0.0 => Hashing::Stable { hashes, width },
            (Metric::Euclidean, Some(width)) => return Err(ParametersError::Width(width)),
            (Metric::Cosine | Metric::Jaccard, Some(_)) => return Err(ParametersError::NoCells),
            (Metric::Cosine, None) => Hashing::Sign { bits: hashes as u32 },
            (Metric::Jaccard, None) if probes.is_some() => return Err(ParametersError::ProbesOfSets),
            (Metric::Jaccard, None) => Hashing::MinHash { hashes },
        };
        Ok((hashing, Effort { tables, probes: probes.unwrap_or(tables) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIVEN: TableParameters = TableParameters { tables: 16, hashes: 12, width: None, probes: None };

    #[test]
    fn parameters_mean_what_the_metric_makes_of_them() {
        let own = Effort { tables: 16, probes: 16 };
        assert_eq!(GIVEN.checked(Metric::Cosine), Ok((Hashing::Sign { bits: 12 }, own)));
        assert_eq!(GIVEN.checked(Metric::Jaccard), Ok((Hashing::MinHash { hashes: 12 }, own)));
        let cells = TableParameters { width: Some(0.5), probes: Some(64), ..GIVEN };
        let effort = Effort { tables: 16, probes: 64 };
        assert_eq!(cells.checked(Metric::Euclidean), Ok((Hashing::Stable { hashes: 12, width: 0.5 }, effort)));
    }

    #[test]
    fn what_is_wrong_is_told() {
        let cells = TableParameters { width: Some(2.0), ..GIVEN };
        let refused = |given: TableParameters, metric, error| {
            assert_eq!(given.checked(metric), Err(error));
            assert_eq!(TableOptions::Given(given).check(metric), Err(error));
        };
        for tables in [0, 65] {
            refused(TableParameters { tables, ..GIVEN }, Metric::Cosine, ParametersError::Tables(tables));
        }
        for hashes in [0, 33] {
            refused(TableParameters { hashes, ..GIVEN }, Metric::Cosine, ParametersError::Hashes(hashes));
        }
        for probes in [0, 15, 65_537] {
            let error = ParametersError::Probes { probes, tables: 16 };
            refused(TableParameters { probes: Some(probes), ..GIVEN }, Metric::Cosine, error);
        }
        for width in [0.0, -1.0, f64::INFINITY] {
            let given = TableParameters { width: Some(width), ..GIVEN };
            refused(given, Metric::Euclidean, ParametersError::Width(width));
        }
        refused(GIVEN, Metric::Euclidean, ParametersError::NoWidth);
        refused(cells, Metric::Cosine, ParametersError::NoCells);
        refused(cells, Metric::Jaccard, ParametersError::NoCells);
        refused(TableParameters { probes: Some(16), ..GIVEN }, Metric::Jaccard, ParametersError::ProbesOfSets);
        assert_eq!(TableOptions::Chosen.check(Metric::Euclidean), Ok(()));
    }
}
