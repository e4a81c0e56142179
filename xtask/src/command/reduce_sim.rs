//! `cargo xtask reduce-sim`: what bringing partial sums together costs, by the number of workers.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::context::Context;
use crate::reduction::model::{Messages, Network};
use crate::reduction::partial::Problem;
use crate::reduction::real::{self, Programs, Trial};
use crate::reduction::table::{self, Measurement};

/// Rows of a worker in a prediction.
const MANY_ROWS: u64 = 1_000_000;
/// Rows of a worker that hardly computes.
const FEW_ROWS: u64 = 2_000;

/// Predicts the time of a k-means iteration for a star and for a tree (as they are below and above 4 MiB a step), and for reduce-scatter. Each time includes computing; the
/// share beside it is what is not.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Numbers of workers; powers of two up to 4096 when unset.
    #[arg(long, value_name = "N,N,...", value_delimiter = ',', value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    workers: Vec<u64>,
    /// Clusters, k.
    #[arg(long, value_name = "K", default_value_t = 1024, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    clusters: u64,
    /// Columns, d.
    #[arg(long, value_name = "D", default_value_t = 128, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    dimension: u64,
    /// Rows of each worker; a million when unset, and with --real few, so that a pass is nearly all communication.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    rows: Option<u64>,
    /// Speed of each link and direction.
    #[arg(long, value_name = "GBIT/S", default_value_t = 1.0)]
    bandwidth: f64,
    /// Time from sending to receiving, one way.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 0.25)]
    latency: f64,
    /// Bytes of a worker's partial as it is sent; estimated when unset. `kmeans_bench --every-row` tells it as partial_bytes.
    #[arg(long, value_name = "BYTES")]
    partial_bytes: Option<f64>,
    /// Bytes of a step as it is sent; that of k x d numbers when unset.
    #[arg(long, value_name = "BYTES")]
    step_bytes: Option<f64>,
    /// Numbers that a process decodes and adds per second; the default is an assumption. `kmeans_bench --every-row` tells it as
    /// merge_rate.
    #[arg(long, value_name = "PER-SECOND", default_value_t = 1e8)]
    merge_rate: f64,
    /// Seconds in which a worker passes over its rows; from --gflops when unset.
    #[arg(long, value_name = "SECONDS")]
    compute: Option<f64>,
    /// Speed of a worker in the assignment step, at 2 k d operations a row; the default is an assumption. `kernel_speed` tells it.
    #[arg(long, value_name = "GFLOP/S", default_value_t = 180.0)]
    gflops: f64,
    /// Lines of JSON {"workers": N, "seconds": S} with measured times of an iteration, to be laid beside.
    #[arg(long, value_name = "FILE.jsonl")]
    measured: Option<PathBuf>,
    /// Really run k-means with so many worker processes instead, each in a network namespace whose links have the given bandwidth, and
    /// print {"workers": N, "seconds": S} for --measured. Needs root and `tc`.
    #[arg(long, conflicts_with_all = ["measured", "json"])]
    real: bool,
    /// With --real: the program to run; a release build when unset.
    #[arg(long, value_name = "FILE", requires = "real")]
    program: Option<PathBuf>,
    /// With --real: passes over the rows, of which the median is told.
    #[arg(long, value_name = "N", default_value_t = 30, requires = "real", value_parser = clap::value_parser!(u32).range(4..=1000))]
    passes: u32,
    /// With --real: let every worker talk to the coordinator alone.
    #[arg(long, requires = "real")]
    star: bool,
    /// Print lines of JSON; times are then without computing.
    #[arg(long)]
    json: bool,
}

#[allow(clippy::print_stdout)] // the table is what the command is run for
pub(crate) fn run(context: &Context, arguments: &Arguments) -> Result<()> {
    if arguments.real {
        let trial = Trial {
            clusters: arguments.clusters,
            dimension: arguments.dimension,
            rows: arguments.rows.unwrap_or(FEW_ROWS),
            passes: arguments.passes,
            bandwidth: arguments.bandwidth,
            tree: !arguments.star,
        };
        let programs = Programs::find(context, arguments.program.clone())?;
        let workers = if arguments.workers.is_empty() { vec![1, 2, 4, 8, 16, 32] } else { arguments.workers.clone() };
        for workers in workers {
            let seconds = real::run(&programs, &trial, workers)?;
            println!("{}", serde_json::to_string(&Measurement { workers, seconds })?);
        }
        return Ok(());
    }
    let rows = arguments.rows.unwrap_or(MANY_ROWS);
    let problem = Problem { clusters: arguments.clusters, dimension: arguments.dimension, rows };
    let network = Network {
        bandwidth: arguments.bandwidth * 1e9 / 8.0,
        latency: arguments.latency * 1e-3,
        merge_rate: arguments.merge_rate,
    };
    let messages = Messages {
        down: arguments.step_bytes.unwrap_or_else(|| problem.step_bytes()),
        up: arguments.partial_bytes.unwrap_or_else(|| problem.partial_bytes()),
        values: problem.values(),
    };
    let operations = 2.0 * (rows * arguments.clusters * arguments.dimension) as f64;
    let compute = arguments.compute.unwrap_or(operations / (arguments.gflops * 1e9));
    let measured = match &arguments.measured {
        Some(path) => {
            let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            table::measurements(&text).with_context(|| path.display().to_string())?
        }
        None => BTreeMap::new(),
    };
    let workers = if arguments.workers.is_empty() {
        (0..=12).map(|power| 1 << power).collect()
    } else {
        arguments.workers.clone()
    };
    let lines = table::rows(&network, &messages, compute, &workers, &measured);
    if arguments.json {
        for row in &lines {
            println!("{}", serde_json::to_string(row)?);
        }
        return Ok(());
    }
    println!(
        "k = {}, d = {}, {} rows a worker, {} Gbit/s, {} ms one way; a partial of {:.0} KiB, a step of {:.0} KiB\n\n{}",
        arguments.clusters,
        arguments.dimension,
        rows,
        arguments.bandwidth,
        arguments.latency,
        messages.up / 1024.0,
        messages.down / 1024.0,
        table::text(&lines)
    );
    Ok(())
}
