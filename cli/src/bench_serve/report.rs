//! What a measurement found, for people and for programs.

use comfy_table::{CellAlignment, Table, presets::UTF8_FULL_CONDENSED};
use serde::Serialize;

use super::record::{LATE, Measurement, Quantiles};
use crate::size;

/// All there is to tell.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    pub(super) url: String,
    pub(super) protocol: &'static str,
    pub(super) model: Model,
    pub(super) query: &'static str,
    /// Vectors of a request.
    pub(super) batch: usize,
    pub(super) mode: Mode,
    #[serde(flatten)]
    pub(super) measurement: Measurement,
    /// What was tried to find the highest rate.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) steps: Vec<Step>,
}

/// What answered.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Model {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) dimension: usize,
    pub(super) clusters: usize,
}

/// How requests were sent.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(super) enum Mode {
    /// At a rate.
    Open { rate: f64, connections: usize },
    /// So many in flight at all times.
    Closed { concurrency: usize },
    /// At the highest rate that keeps the bound; none when even the lowest did not.
    Saturation { highest_rate: Option<f64>, bound_milliseconds: f64, connections: usize },
}

/// A rate that was tried.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Step {
    pub(super) rate: f64,
    pub(super) achieved_rate: f64,
    pub(super) p99: f64,
    pub(super) failed: u64,
    pub(super) held: bool,
}

// === impl Report ===

impl Report {
    /// Prints tables.
    pub(super) fn print(&self) {
        println!("{}", self.totals());
        println!("{}", self.latencies());
        if self.measurement.failed > 0 {
            println!("{}", self.failures());
        }
        if let Some(doubt) = self.doubt() {
            println!("{doubt}");
        }
    }

    fn totals(&self) -> Table {
        let Self { url, protocol, model, query, batch, mode, measurement, steps: _ } = self;
        let Measurement {
            seconds,
            sent,
            answered,
            failed,
            versions,
            achieved_rate,
            rows_per_second,
            bytes_sent,
            bytes_received,
            ..
        } = measurement;
        let Model { name, version, dimension, clusters } = model;
        let versions: Vec<_> = versions.iter().map(|(version, count)| format!("{version} ({count})")).collect();
        let vectors = if *batch == 1 { "one vector".to_owned() } else { format!("{batch} vectors") };
        let rows = [
            ("server", format!("{url} ({protocol})")),
            ("model", format!("{name} {version}, {clusters} clusters of {dimension} columns")),
            ("requests", format!("{query} of {vectors}, {}", mode.describe())),
            ("sent", format!("{sent} in {seconds:.2} s")),
            (
                "answered",
                format!("{answered}, by {}", if versions.is_empty() { "none".to_owned() } else { versions.join(", ") }),
            ),
            ("failed", failed.to_string()),
            ("achieved", format!("{achieved_rate:.1} requests/s, {rows_per_second:.1} vectors/s")),
            ("bodies", format!("{} sent, {} received", size::render(*bytes_sent), size::render(*bytes_received))),
        ];
        let mut table = Table::new();
        table.load_style(UTF8_FULL_CONDENSED);
        for (name, value) in rows {
            table.add_row([name.to_owned(), value]);
        }
        table
    }

    fn latencies(&self) -> Table {
        let mut table = Table::new();
        table.load_style(UTF8_FULL_CONDENSED).set_header(["ms", "p50", "p90", "p95", "p99", "p99.9", "max"]);
        for (name, quantiles) in [("since due", self.measurement.latency), ("since sent", self.measurement.service)] {
            let Quantiles { p50, p90, p95, p99, p999, max } = quantiles;
            let values = [p50, p90, p95, p99, p999, max].map(|value| format!("{value:.3}"));
            table.add_row(std::iter::once(name.to_owned()).chain(values));
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table
    }

    fn failures(&self) -> Table {
        let mut table = Table::new();
        table.load_style(UTF8_FULL_CONDENSED).set_header(["failed with", "times", "the first said"]);
        for (kind, count, message) in self.measurement.failures() {
            table.add_row([kind.to_owned(), count.to_string(), message.to_owned()]);
        }
        table
    }

    /// Why the figures may be those of the generator rather than of the server.
    fn doubt(&self) -> Option<String> {
        let Measurement { late, latest, sent, .. } = self.measurement;
        (late > 0).then(|| {
            format!(
                "the generator fell behind: {late} of {sent} requests were begun more than {} ms late, the latest by {latest:.1} ms; \
                 latencies since due include that",
                LATE.as_millis()
            )
        })
    }
}

// === impl Mode ===

impl Mode {
    fn describe(self) -> String {
        match self {
            Self::Open { rate, connections } => format!("{rate} a second over {connections} connections"),
            Self::Closed { concurrency } => format!("{concurrency} at all times"),
            Self::Saturation { highest_rate: Some(rate), bound_milliseconds, .. } => {
                format!("at most {rate:.0} a second with p99 within {bound_milliseconds} ms")
            }
            Self::Saturation { highest_rate: None, bound_milliseconds, .. } => {
                format!("at no rate was p99 within {bound_milliseconds} ms")
            }
        }
    }
}
