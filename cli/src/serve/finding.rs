//! How a server finds similar items.

use clap::Args;
use coterie_crds::resolved::{Items, TableParameters};
use coterie_model::items::{TableOptions, TableParameters as Given};

use crate::Failure;

/// How similar items are found.
#[derive(Args)]
pub(super) struct FindingOptions {
    /// Share of the ten most similar items that is found, on average: by lists, and by hash tables unless --hashes sets their parameters.
    #[arg(long, value_name = "SHARE", default_value_t = Items::RECALL, value_parser = share, requires = "items_directory")]
    recall: f64,
    /// Build hash tables over the items, which find them faster where clusters are few and large. Their parameters are chosen for --recall;
    /// set by hand, this is the number of tables, as in --tables=16 --hashes 12.
    #[arg(long, value_name = "NUMBER", num_args = 0..=1, require_equals = true, requires = "items_directory")]
    tables: Option<Option<u32>>,
    /// Hashes that make the key of a bucket, set by hand together with the number of tables.
    #[arg(long, value_name = "NUMBER", requires = "tables")]
    hashes: Option<u32>,
    /// Width of the cells that hashes of a model with the metric Euclidean are, in the unit of the rows after the feature steps; with --hashes.
    #[arg(long, value_name = "WIDTH", requires = "hashes")]
    width: Option<f64>,
    /// Buckets that a query looks into in all tables together; with --hashes. Unset: one of each table.
    #[arg(long, value_name = "NUMBER", requires = "hashes")]
    probes: Option<u32>,
}

impl FindingOptions {
    pub(super) fn items(self) -> Result<Items, Failure> {
        let Self { recall, tables, hashes, width, probes } = self;
        let parameters = match (tables.flatten(), hashes) {
            (Some(tables), Some(hashes)) => Some(TableParameters { tables, hashes, width, probes }),
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => {
                return Err(Failure::usage(
                    "hash tables that are set by hand need both their number and that of their hashes, as in --tables=16 --hashes 12; \
                     with --tables alone both are chosen",
                ));
            }
        };
        Ok(Items { recall, tables: tables.is_some(), parameters })
    }
}

/// The hash tables of an index for such items.
pub(super) fn table_options(Items { recall: _, tables, parameters }: Items) -> TableOptions {
    match parameters {
        _ if !tables => TableOptions::None,
        None => TableOptions::Chosen,
        Some(TableParameters { tables, hashes, width, probes }) => TableOptions::Given(Given {
            tables: tables as usize,
            hashes: hashes as usize,
            width,
            probes: probes.map(|probes| probes as usize),
        }),
    }
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        Ok(_) | Err(_) => Err(format!("{text:?} is not a share; write a number from 0 to 1, as in 0.95")),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[arg(long)]
        items_directory: Option<String>,
        #[command(flatten)]
        finding: FindingOptions,
    }

    fn parsed(line: &str) -> Result<Items, String> {
        let words = ["serve", "--items-directory", "d"].into_iter().chain(line.split_whitespace());
        let command = Command::try_parse_from(words).map_err(|error| error.to_string())?;
        assert_eq!(command.items_directory.as_deref(), Some("d"));
        command.finding.items().map_err(|failure| failure.to_string())
    }

    #[test]
    fn tables_are_chosen_or_set_by_hand() {
        let options = |line| table_options(parsed(line).unwrap());
        assert_eq!(options(""), TableOptions::None);
        assert_eq!(options("--tables --recall 0.9"), TableOptions::Chosen);
        let given = Given { tables: 16, hashes: 12, width: None, probes: None };
        assert_eq!(options("--tables=16 --hashes 12"), TableOptions::Given(given));
        let cells = Given { width: Some(0.5), probes: Some(64), ..given };
        assert_eq!(options("--tables=16 --hashes 12 --width 0.5 --probes 64"), TableOptions::Given(cells));
    }

    #[test]
    fn half_of_what_is_set_by_hand_is_refused() {
        for line in ["--tables=16", "--tables --hashes 12", "--tables --hashes 12 --width 1"] {
            assert!(parsed(line).unwrap_err().contains("--tables=16 --hashes 12"), "{line}");
        }
        for line in ["--hashes 12", "--tables=16 --probes 64", "--tables=16 --width 1", "--tables=many --hashes 2"] {
            assert!(parsed(line).is_err(), "{line}");
        }
    }
}
