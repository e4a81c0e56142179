//! `cargo xtask bench`: how fast we are, beside what a user would otherwise run.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Subcommand;

use crate::bench::assignment::{self, Assignment};
use crate::bench::cases::{Case, k_means};
use crate::bench::contenders::{Contender, Tools};
use crate::bench::lines::{self, Line};
use crate::bench::machine::{Machine, today};
use crate::bench::serving::{self, RATE, Serving};
use crate::bench::session::Session;
use crate::bench::summary::{Summary, sum_up};
use crate::bench::{page, plot, table};
use crate::context::Context;
use crate::process::{self, cargo, note};
use crate::tools;

/// Python packages of the peers, with exact versions.
const REQUIREMENTS: &str = include_str!("../../../bench/requirements.txt");
/// Rows of made data, and of data that is made only to see that everything works.
const ROWS: (u64, u64) = (1_000_000, 20_000);
/// The page that tells the figures, and the plot in it.
const PAGE: &str = "docs/benchmarks.md";
const PLOT: &str = "docs/benchmarks/kmeans.svg";

#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
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
struct Serve {
    /// Runs of each measurement; 3 when unset, 1 with --quick.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,
    /// Seconds of each run, and of each step on the way to the highest rate.
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0)]
    seconds: f64,
    /// Few rows, a low rate and no waiting: only to see that everything works.
    #[arg(long)]
    quick: bool,
    /// Longest wait for a quiet machine before each run.
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    quiet_wait: u64,
    /// Write the tables into docs/benchmarks.md, and the lines into docs/benchmarks/serve.jsonl.
    #[arg(long, conflicts_with = "quick")]
    publish: bool,
}

/// Each contender answers the same queries one by one on one thread, in a process of its own: recall against queries per second. Lines of
/// JSON and a plot go to target/bench.
#[derive(clap::Args)]
struct Similar {
    /// Real embeddings instead of made rows: .npy (float32 rows), or Parquet with one column of lists.
    #[arg(long, value_name = "FILE")]
    embeddings: Option<PathBuf>,
    /// Only this peer; may be given several times.
    #[arg(long, value_name = "NAME")]
    peer: Vec<String>,
    /// Few rows: only to see that everything works.
    #[arg(long)]
    quick: bool,
    /// Write the table and the plot into docs/benchmarks.md and docs/benchmarks.
    #[arg(long, conflicts_with = "quick")]
    publish: bool,
}

/// Runs each contender in turn, round after round, each in a process of its own, in batches of 1, 1,024 and 65,536 rows. Lines of JSON go to
/// target/bench.
#[derive(clap::Args)]
struct Assign {
    /// Runs of each contender; 3 when unset, 1 with --quick.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,
    /// Seconds of each run.
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0)]
    seconds: f64,
    /// Few rows and no waiting: only to see that everything works.
    #[arg(long)]
    quick: bool,
    /// Longest wait for a quiet machine before each run.
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    quiet_wait: u64,
    /// Write the tables into docs/benchmarks.md.
    #[arg(long, conflicts_with = "quick")]
    publish: bool,
}

/// Runs each contender in turn, round after round, each in a process of its own. Lines of JSON, tables and a plot go to target/bench.
#[derive(clap::Args)]
struct KMeans {
    /// Only this case; may be given several times.
    #[arg(long, value_name = "NAME")]
    case: Vec<String>,
    /// Runs of each contender; 3 when unset, 1 with --quick.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,
    /// Few rows and no waiting: only to see that everything works.
    #[arg(long)]
    quick: bool,
    /// Threads of each contender; all processors when unset.
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Real embeddings for conv-embeddings-k256: .npy (float32 rows), or Parquet with one column of lists.
    #[arg(long, value_name = "FILE", env = "COTERIE_BENCH_EMBEDDINGS")]
    embeddings: Option<PathBuf>,
    /// Longest wait for a quiet machine before each run.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    quiet_wait: u64,
    /// How often a run that others disturbed is repeated; the least disturbed counts. Never with --quick.
    #[arg(long, value_name = "N", default_value_t = 1)]
    again: u32,
    /// Longest time of one run; a contender that takes longer is given up.
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    limit: u64,
    /// Show the lines of earlier runs instead of running anything; may be given several times.
    #[arg(long, value_name = "FILE.jsonl")]
    from: Vec<PathBuf>,
    /// Write the tables and the plot into docs/benchmarks.md and docs/benchmarks/kmeans.svg.
    #[arg(long, conflicts_with = "quick")]
    publish: bool,
}

pub(crate) fn run(context: &Context, arguments: &Arguments) -> Result<()> {
    match &arguments.command {
        Command::Kmeans(arguments) => run_k_means(context, arguments),
        Command::Assign(arguments) => run_assign(context, arguments),
        Command::Similar(arguments) => run_similar(context, arguments),
        Command::Serve(arguments) => run_serve(context, arguments),
    }
}

fn run_similar(context: &Context, arguments: &Similar) -> Result<()> {
    let folder = context.target().join("bench");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let ours = build_example(context, "similar_bench")?;
    let environment = tools::python_environment(context, "bench-venv", REQUIREMENTS.trim_end())?;
    let name = if arguments.embeddings.is_some() { "similar-embeddings" } else { "similar" };
    let plot = folder.join(format!("{name}.svg"));
    let mut script = std::process::Command::new(environment.join("bin/python"));
    script.arg(context.root.join("bench/similar.py")).arg("--folder").arg(context.cache.join("bench-data"));
    script.arg("--ours").arg(ours).arg("--plot").arg(&plot);
    script.arg("--json").arg(folder.join(format!("{name}.jsonl")));
    script.arg("--rows").arg(if arguments.quick { ROWS.1 } else { ROWS.0 }.to_string());
    if let Some(embeddings) = &arguments.embeddings {
        script.arg("--embeddings").arg(embeddings);
    }
    for peer in &arguments.peer {
        script.arg("--peer").arg(peer);
    }
    let table = process::output(&mut script).context("bench/similar.py failed")?;
    show(&table);
    if arguments.publish {
        let machine = Machine::this();
        let head = format!("{}, {} ({} processors).", today(), machine.cpu, machine.cores);
        let picture = format!("![Recall against queries per second](benchmarks/{name}.svg)");
        let path = context.root.join(PAGE);
        let page = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        write(&path, &page::replace(&page, &format!("bench {name}"), &format!("{head}\n\n{picture}\n\n{table}"))?)?;
        let drawn = fs::read_to_string(&plot).with_context(|| format!("cannot read {}", plot.display()))?;
        write(&context.root.join(format!("docs/benchmarks/{name}.svg")), &drawn)?;
    }
    Ok(())
}

fn run_assign(context: &Context, arguments: &Assign) -> Result<()> {
    let folder = context.target().join("bench");
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let assignment = Assignment {
        tools: build(context, &[], cores)?,
        ours: build_example(context, "assign_bench")?,
        data: context.cache.join("bench-data"),
        work: folder.join("work").join("assign"),
        rows: if arguments.quick { ROWS.1 * 4 } else { ROWS.0 },
        rounds: arguments.rounds.unwrap_or(if arguments.quick { 1 } else { 3 }),
        seconds: if arguments.quick { 0.1 } else { arguments.seconds },
        quiet_wait: Duration::from_secs(if arguments.quick { 0 } else { arguments.quiet_wait }),
        date: today(),
        machine: Machine::this(),
    };
    let lines = assignment.measure()?;
    let kept = folder.join("assign.jsonl");
    let mut text = String::new();
    for line in &lines {
        text.push_str(&serde_json::to_string(line)?);
        text.push('\n');
    }
    write(&kept, &text)?;
    note(&format!("{} lines in {}", lines.len(), kept.display()));
    let tables = assignment::markdown(&lines);
    show(&tables);
    if arguments.publish {
        let Assignment { date, machine, .. } = &assignment;
        let head = format!("{date}, {} ({} processors).\n\n", machine.cpu, machine.cores);
        let path = context.root.join(PAGE);
        let page = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        write(&path, &page::replace(&page, "bench assign", &format!("{head}{tables}"))?)?;
        note(&format!("wrote {PAGE}"));
    }
    Ok(())
}

fn run_serve(context: &Context, arguments: &Serve) -> Result<()> {
    let folder = context.target().join("bench");
    // Making rows takes NumPy alone, and no peer takes part.
    let numpy = REQUIREMENTS
        .lines()
        .find(|line| line.starts_with("numpy=="))
        .context("bench/requirements.txt names no numpy")?;
    let kernel = build_example(context, "assign_bench")?;
    process::run(cargo(context).args(["build", "--release", "--package", "coterie"]))?;
    let serving = Serving {
        coterie: context.target().join("release/coterie"),
        kernel,
        python: tools::python_environment(context, "numpy-venv", numpy)?.join("bin/python"),
        maker: context.root.join("bench/make_data.py"),
        data: context.cache.join("bench-data"),
        work: folder.join("work").join("serve"),
        rows: if arguments.quick { ROWS.1 } else { ROWS.0 },
        rate: if arguments.quick { RATE / 20 } else { RATE },
        rounds: arguments.rounds.unwrap_or(if arguments.quick { 1 } else { 3 }),
        seconds: if arguments.quick { 0.3 } else { arguments.seconds },
        threads: thread::available_parallelism().map_or(1, usize::from),
        quiet_wait: Duration::from_secs(if arguments.quick { 0 } else { arguments.quiet_wait }),
        date: today(),
        machine: Machine::this(),
    };
    let lines = serving.measure()?;
    let mut text = String::new();
    for line in &lines {
        text.push_str(&serde_json::to_string(line)?);
        text.push('\n');
    }
    let kept = folder.join("serve.jsonl");
    write(&kept, &text)?;
    note(&format!("{} lines in {}", lines.len(), kept.display()));
    let tables = serving::markdown(&lines);
    show(&tables);
    if arguments.publish {
        let Serving { date, machine, .. } = &serving;
        let head = format!("{date}, {} ({} processors). ", machine.cpu, machine.cores);
        let path = context.root.join(PAGE);
        let page = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        write(&path, &page::replace(&page, "bench serve", &format!("{head}{tables}"))?)?;
        write(&context.root.join("docs/benchmarks/serve.jsonl"), &text)?;
        note(&format!("wrote {PAGE} and docs/benchmarks/serve.jsonl"));
    }
    Ok(())
}

fn run_k_means(context: &Context, arguments: &KMeans) -> Result<()> {
    let cases = chosen(&arguments.case)?;
    let folder = context.target().join("bench");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let lines = if arguments.from.is_empty() {
        measure(context, arguments, &cases, &folder)?
    } else {
        let mut lines = Vec::new();
        for path in &arguments.from {
            lines.extend(lines::read(path)?);
        }
        lines
    };
    let summaries: Vec<Summary> = cases.iter().filter_map(|case| sum_up(case, &lines)).collect();
    let sections: Vec<String> = summaries.iter().map(table::markdown).collect();
    show(&sections.join("\n"));
    let drawn = plot::svg(&summaries);
    write(&folder.join("kmeans.svg"), &drawn)?;
    if arguments.publish {
        publish(context, &lines, &summaries, &sections, &drawn)?;
    }
    Ok(())
}

/// Tables are what the command is run for, so they go to standard output.
#[allow(clippy::print_stdout)]
fn show(text: &str) {
    println!("{text}");
}

fn chosen(names: &[String]) -> Result<Vec<Case>> {
    let cases = k_means();
    if let Some(unknown) = names.iter().find(|&name| !cases.iter().any(|case| case.name == name)) {
        let known: Vec<&str> = cases.iter().map(|case| case.name).collect();
        bail!("there is no case {unknown}; cases: {}", known.join(", "));
    }
    Ok(cases.into_iter().filter(|case| names.is_empty() || names.iter().any(|name| name == case.name)).collect())
}

fn measure(context: &Context, arguments: &KMeans, cases: &[Case], folder: &Path) -> Result<Vec<Line>> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let session = Session {
        tools: build(context, cases, arguments.threads.unwrap_or(cores))?,
        data: context.cache.join("bench-data"),
        work: folder.join("work"),
        embeddings: arguments.embeddings.clone(),
        rows: if arguments.quick { ROWS.1 } else { ROWS.0 },
        rounds: arguments.rounds.unwrap_or(if arguments.quick { 1 } else { 3 }),
        quick: arguments.quick,
        quiet_wait: Duration::from_secs(if arguments.quick { 0 } else { arguments.quiet_wait }),
        again: if arguments.quick { 0 } else { arguments.again },
        limit: Duration::from_secs(arguments.limit),
        date: today(),
        machine: Machine::this(),
    };
    let kept = folder.join("kmeans.jsonl");
    let mut lines = Vec::new();
    for case in cases {
        lines.extend(session.measure(case)?.unwrap_or_default());
        // After each case, so that nothing measured is lost with an interruption.
        write(&kept, &lines::write(&lines)?)?;
    }
    note(&format!("{} lines in {}", lines.len(), kept.display()));
    Ok(lines)
}

/// Builds an example of the library, and says where it is.
fn build_example(context: &Context, name: &str) -> Result<PathBuf> {
    process::run(cargo(context).args(["build", "--release", "--package", "coterie-algorithms", "--example", name]))?;
    Ok(context.target().join("release/examples").join(name))
}

/// Builds ours and installs the peers.
fn build(context: &Context, cases: &[Case], threads: usize) -> Result<Tools> {
    let release = context.target().join("release");
    let ours = build_example(context, "kmeans_bench")?;
    let whole = cases.iter().any(|case| case.contenders.contains(&Contender::Run));
    if whole {
        process::run(cargo(context).args(["build", "--release", "--package", "coterie"]))?;
    }
    let environment = tools::python_environment(context, "bench-venv", REQUIREMENTS.trim_end())?;
    Ok(Tools {
        ours,
        coterie: whole.then(|| release.join("coterie")),
        python: environment.join("bin/python"),
        scripts: context.root.join("bench"),
        threads,
    })
}

fn publish(context: &Context, lines: &[Line], summaries: &[Summary], sections: &[String], drawn: &str) -> Result<()> {
    let Some(first) = lines.first() else { bail!("there is nothing to publish") };
    if lines.iter().any(|line| line.quick) {
        bail!("lines of a run with --quick are not published");
    }
    let page_path = context.root.join(PAGE);
    let page = fs::read_to_string(&page_path).with_context(|| format!("cannot read {}", page_path.display()))?;
    let machine = &first.machine;
    let head = format!(
        "{}, {} ({} processors).\n\n![Times](benchmarks/kmeans.svg)\n\n",
        first.date, machine.cpu, machine.cores
    );
    if summaries.iter().any(|summary| summary.machine != *machine) {
        bail!("lines of different machines cannot be told together");
    }
    write(&page_path, &page::replace(&page, "bench kmeans", &format!("{head}{}", sections.join("\n")))?)?;
    let plot_path = context.root.join(PLOT);
    if let Some(folder) = plot_path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    }
    write(&plot_path, drawn)?;
    note(&format!("wrote {PAGE} and {PLOT}"));
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_are_chosen_by_name() {
        assert_eq!(chosen(&[]).unwrap().len(), k_means().len());
        assert_eq!(chosen(&["conv-d16-k64".into()]).unwrap()[0].name, "conv-d16-k64");
        assert!(chosen(&["no".into()]).unwrap_err().to_string().contains("fixed-d128-k256"));
    }
}
