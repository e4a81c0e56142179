//! The command lines of the benchmarks.

use std::path::PathBuf;
use std::time::Duration;

use clap::Subcommand;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Subcommand)]
pub(super) enum Command {
    /// K-means beside faiss, scikit-learn, scikit-learn-intelex, SuperKMeans and Spark.
    Kmeans(KMeans),
    /// The assignment step alone, as serving does it, beside faiss.
    Assign(Assign),
    /// Similar items, beside hnswlib and faiss.
    Similar(Similar),
    /// A served model over the wire.
    Serve(Serve),
}

/// Trains a model of 1,024 clusters of 128 columns, serves it, and asks it with `coterie bench-serve`: lone requests at 10,000 a second over
/// gRPC and REST, the highest rate of each, and batches of 1,024 beside the kernel alone. Lines of JSON go to target/bench/serve.jsonl.
#[derive(clap::Args)]
pub(super) struct Serve {
    #[command(flatten)]
    pub(super) care: Care,
    /// Seconds of each run, and of each step on the way to the highest rate.
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0)]
    pub(super) seconds: f64,
    /// Write the tables into docs/benchmarks.md, and the lines into docs/benchmarks/serve.jsonl.
    #[arg(long, conflicts_with = "quick")]
    pub(super) publish: bool,
}

/// Each contender answers the same queries one by one on one thread, in a process of its own: recall against queries per second. Lines of
/// JSON and a plot go to target/bench.
#[derive(clap::Args)]
pub(super) struct Similar {
    /// Real embeddings instead of made rows: .npy (float32 rows), or Parquet with one column of lists.
    #[arg(long, value_name = "FILE")]
    pub(super) embeddings: Option<PathBuf>,
    /// Only this peer; may be given several times.
    #[arg(long, value_name = "NAME")]
    pub(super) peer: Vec<String>,
    /// Few rows: only to see that everything works.
    #[arg(long)]
    pub(super) quick: bool,
    /// Write the table and the plot into docs/benchmarks.md and docs/benchmarks.
    #[arg(long, conflicts_with = "quick")]
    pub(super) publish: bool,
}

/// Runs each contender in turn, round after round, each in a process of its own, in batches of 1, 1,024 and 65,536 rows. Lines of JSON go to
/// target/bench.
#[derive(clap::Args)]
pub(super) struct Assign {
    #[command(flatten)]
    pub(super) care: Care,
    /// Seconds of each run.
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0)]
    pub(super) seconds: f64,
    /// Write the tables into docs/benchmarks.md.
    #[arg(long, conflicts_with = "quick")]
    pub(super) publish: bool,
}

/// Runs each contender in turn, round after round, each in a process of its own. Lines of JSON, tables and a plot go to target/bench.
#[derive(clap::Args)]
pub(super) struct KMeans {
    /// Only this case; may be given several times.
    #[arg(long, value_name = "NAME")]
    pub(super) case: Vec<String>,
    #[command(flatten)]
    pub(super) care: Care,
    /// Threads of each contender; all processors when unset.
    #[arg(long, value_name = "N")]
    pub(super) threads: Option<usize>,
    /// Real embeddings for conv-embeddings-k256: .npy (float32 rows), or Parquet with one column of lists.
    #[arg(long, value_name = "FILE", env = "COTERIE_BENCH_EMBEDDINGS")]
    pub(super) embeddings: Option<PathBuf>,
    /// How often a run that others disturbed is repeated; the least disturbed counts. Never with --quick.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(super) again: u32,
    /// Longest time of one run; a contender that takes longer is given up.
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    pub(super) limit: u64,
    /// Show the lines of earlier runs instead of running anything; may be given several times.
    #[arg(long, value_name = "FILE.jsonl")]
    pub(super) from: Vec<PathBuf>,
    /// Write the tables and the plot into docs/benchmarks.md and docs/benchmarks/kmeans.svg.
    #[arg(long, conflicts_with = "quick")]
    pub(super) publish: bool,
}

/// How carefully times are taken.
#[derive(clap::Args)]
pub(super) struct Care {
    /// Runs of each contender; 3 when unset, 1 with --quick.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,
    /// Few rows, little load and no waiting: only to see that everything works.
    #[arg(long)]
    pub(super) quick: bool,
    /// Longest wait for a quiet machine before each run; 10 when unset, 30 for k-means, whose runs are long.
    #[arg(long, value_name = "SECONDS")]
    quiet_wait: Option<u64>,
}

impl Care {
    /// Runs of each contender.
    pub(super) fn rounds(&self) -> u32 {
        self.rounds.unwrap_or(if self.quick { 1 } else { 3 })
    }

    /// Longest wait for a quiet machine, of so many seconds if nothing is said.
    pub(super) fn quiet_wait(&self, usual: u64) -> Duration {
        Duration::from_secs(if self.quick { 0 } else { self.quiet_wait.unwrap_or(usual) })
    }

    /// What is measured, or the least that shows that measuring works.
    pub(super) fn choose<T>(&self, whole: T, quick: T) -> T {
        if self.quick { quick } else { whole }
    }
}
