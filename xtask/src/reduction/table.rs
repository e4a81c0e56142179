//! Predictions as a table or as lines of JSON, beside what was measured.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::model::{Messages, Network};

/// A number of workers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Row {
    pub(crate) workers: u64,
    /// Seconds in which a worker passes over its rows.
    pub(crate) compute_seconds: f64,
    pub(crate) star_seconds: f64,
    pub(crate) tree_seconds: f64,
    pub(crate) reduce_scatter_seconds: f64,
    /// Measured seconds per iteration, computing included.
    pub(crate) measured_seconds: Option<f64>,
}

/// A line of a file of measurements; it may say more.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Measurement {
    pub(crate) workers: u64,
    /// Seconds per iteration, computing included.
    pub(crate) seconds: f64,
}

/// The prediction for each number of workers.
pub(crate) fn rows(
    network: &Network,
    messages: &Messages,
    compute_seconds: f64,
    workers: &[u64],
    measured: &BTreeMap<u64, f64>,
) -> Vec<Row> {
    let row = |&workers: &u64| Row {
        workers,
        compute_seconds,
        star_seconds: network.star(messages, workers),
        tree_seconds: network.tree(messages, workers),
        reduce_scatter_seconds: network.reduce_scatter(messages, workers),
        measured_seconds: measured.get(&workers).copied(),
    };
    workers.iter().map(row).collect()
}

/// Seconds per iteration by the number of workers, from lines of JSON.
pub(crate) fn measurements(text: &str) -> Result<BTreeMap<u64, f64>> {
    let parse = |(number, line): (usize, &str)| {
        let Measurement { workers, seconds } =
            serde_json::from_str(line).with_context(|| format!("line {} is not {{workers, seconds}}", number + 1))?;
        Ok((workers, seconds))
    };
    text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).map(parse).collect()
}

/// Seconds per iteration, with the share of it that is not computing.
pub(crate) fn text(rows: &[Row]) -> String {
    let mut text = format!(
        "{:>7} | {:>9} | {:>9} {:>6} | {:>9} {:>6} | {:>14} {:>6} | {:>9}\n",
        "workers", "compute s", "star s", "share", "tree s", "share", "red.-scatter s", "share", "measured"
    );
    for row in rows {
        let compute = row.compute_seconds;
        let pair = |seconds: f64, width: usize| {
            format!("{:>width$.4} {:>5.1}%", compute + seconds, 100.0 * seconds / (compute + seconds))
        };
        text.push_str(&format!(
            "{:>7} | {compute:>9.4} | {} | {} | {} | {:>9}\n",
            row.workers,
            pair(row.star_seconds, 9),
            pair(row.tree_seconds, 9),
            pair(row.reduce_scatter_seconds, 14),
            row.measured_seconds.map_or_else(|| "-".to_owned(), |seconds| format!("{seconds:.4}")),
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_measured_is_laid_beside() {
        let measured =
            measurements("{\"workers\":2,\"seconds\":1.5,\"note\":\"more\"}\n\n{\"workers\":4,\"seconds\":2}\n")
                .unwrap();
        assert_eq!(measured, BTreeMap::from([(2, 1.5), (4, 2.0)]));
        assert!(measurements("{\"workers\":2}").unwrap_err().to_string().contains("line 1"));

        let network = Network { bandwidth: 1e9, latency: 0.0, merge_rate: f64::INFINITY };
        let messages = Messages { down: 0.0, up: 0.0, values: 0.0 };
        let rows = rows(&network, &messages, 0.75, &[1, 2], &measured);
        assert_eq!(rows[1].measured_seconds, Some(1.5));
        let text = text(&rows);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines.iter().all(|line| line.len() == lines[0].len()), "{text}");
        assert!(lines[1].ends_with("-") && lines[2].ends_with("1.5000"), "{text}");
    }

    #[test]
    fn shares_are_of_the_whole_iteration() {
        let row = Row {
            workers: 8,
            compute_seconds: 3.0,
            star_seconds: 1.0,
            tree_seconds: 1.0,
            reduce_scatter_seconds: 0.0,
            measured_seconds: None,
        };
        let text = text(&[row]);
        assert!(text.contains("4.0000  25.0%") && text.contains("3.0000   0.0%"), "{text}");
    }
}
