//! The results of a run as tables.

use comfy_table::{CellAlignment, Table, presets::UTF8_FULL_CONDENSED};
use coterie_worker::publish::summary::Summary;

use crate::{progress::duration, size};

/// Clusters shown; the summary file has them all.
const SHOWN: usize = 20;

/// Prints the summary.
pub(crate) fn print(summary: &Summary) {
    println!("{}", clusters(summary));
    println!("{}", totals(summary));
}

fn clusters(summary: &Summary) -> Table {
    let mut table = table(&["cluster", "size", "share", "mean distance", "radius", "silhouette"]);
    let mut largest: Vec<_> = summary.clusters.iter().collect();
    largest.sort_by_key(|cluster| (std::cmp::Reverse(cluster.size), cluster.cluster));
    for cluster in largest.iter().take(SHOWN) {
        table.add_row([
            cluster.cluster.to_string(),
            cluster.size.to_string(),
            format!("{:.1} %", cluster.share * 100.0),
            format!("{:.4}", cluster.mean_distance),
            format!("{:.4}", cluster.radius),
            optional(cluster.silhouette),
        ]);
    }
    if largest.len() > SHOWN {
        let rest = largest.len() - SHOWN;
        table.add_row([
            format!("{rest} more"),
            String::new(),
            String::new(),
            String::new(),
            String::new(),
            String::new(),
        ]);
    }
    align(&mut table);
    table
}

fn totals(summary: &Summary) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    let rested = if summary.converged { "converged" } else { "stopped at the bound" };
    let silhouette = match (summary.silhouette, summary.silhouette_rows) {
        (Some(value), Some(rows)) if rows < summary.rows_read - summary.noise.unwrap_or(0) => {
            format!("{value:.4} (on {rows} sampled rows)")
        }
        (value, _) => optional(value),
    };
    let mut rows = vec![
        ("model", format!("{} at {}", summary.model_version, summary.model_uri)),
        ("digest", summary.model_digest.clone()),
        ("rows", format!("{} read, {} dropped", summary.rows_read, summary.rows_dropped)),
    ];
    match summary.noise {
        Some(noise) => rows.push(("clusters", format!("{}, and {noise} rows that are noise", summary.clusters.len()))),
        None => rows.push(("iterations", format!("{}, {rested}", summary.iterations))),
    }
    rows.extend([
        ("inertia", format!("{:.6e}", summary.inertia)),
        ("silhouette", silhouette),
        ("Davies-Bouldin", optional(summary.davies_bouldin)),
        ("Calinski-Harabasz", summary.calinski_harabasz.map_or_else(|| "-".to_owned(), |value| format!("{value:.1}"))),
    ]);
    if let (Some(ari), Some(nmi)) = (summary.ari, summary.nmi) {
        rows.push(("against labels", format!("ARI {ari:.4}, NMI {nmi:.4}")));
    }
    rows.push(("time", format!("{} on {}", duration(summary.seconds), count(summary.workers, "worker"))));
    rows.push((
        "cost",
        format!(
            "{:.2} CPU s, {} read, at most {} of memory in a worker",
            summary.cpu_seconds,
            size::render(summary.bytes_read),
            size::render(summary.peak_rss_bytes)
        ),
    ));
    for (name, value) in rows {
        table.add_row([name.to_owned(), value]);
    }
    table
}

fn count(number: u32, thing: &str) -> String {
    if number == 1 { format!("1 {thing}") } else { format!("{number} {thing}s") }
}

fn optional(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.4}"))
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header(header.iter().copied());
    table
}

fn align(table: &mut Table) {
    for column in table.column_iter_mut() {
        column.set_cell_alignment(CellAlignment::Right);
    }
}
