//! `cargo xtask bench`: how fast we are, beside what a user would otherwise run.

mod arguments;

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde::Serialize;

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

pub(crate) use arguments::Arguments;
use arguments::{Assign, Command, KMeans, Serve, Similar};

/// Python packages of the peers, with exact versions.
const REQUIREMENTS: &str = include_str!("../../../bench/requirements.txt");
/// Rows of made data, and of data that is made only to see that everything works.
const ROWS: (u64, u64) = (1_000_000, 20_000);
/// The page that tells the figures, and the plot in it.
const PAGE: &str = "docs/benchmarks.md";
const PLOT: &str = "docs/benchmarks/kmeans.svg";

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
        let head = head(&today(), &Machine::this());
        let picture = format!("![Recall against queries per second](benchmarks/{name}.svg)");
        tell(context, &format!("bench {name}"), &format!("{head}\n\n{picture}\n\n{table}"))?;
        let drawn = fs::read_to_string(&plot).with_context(|| format!("cannot read {}", plot.display()))?;
        write(&context.root.join(format!("docs/benchmarks/{name}.svg")), &drawn)?;
    }
    Ok(())
}

fn run_assign(context: &Context, arguments: &Assign) -> Result<()> {
    let care = &arguments.care;
    let folder = context.target().join("bench");
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let assignment = Assignment {
        tools: build(context, &[], cores)?,
        ours: build_example(context, "assign_bench")?,
        data: context.cache.join("bench-data"),
        work: folder.join("work").join("assign"),
        rows: care.choose(ROWS.0, ROWS.1 * 4),
        rounds: care.rounds(),
        seconds: care.choose(arguments.seconds, 0.1),
        quiet_wait: care.quiet_wait(10),
        date: today(),
        machine: Machine::this(),
    };
    let lines = assignment.measure()?;
    keep(&folder.join("assign.jsonl"), &lines)?;
    let tables = assignment::markdown(&lines);
    show(&tables);
    if arguments.publish {
        let head = head(&assignment.date, &assignment.machine);
        tell(context, "bench assign", &format!("{head}\n\n{tables}"))?;
        note(&format!("wrote {PAGE}"));
    }
    Ok(())
}

fn run_serve(context: &Context, arguments: &Serve) -> Result<()> {
    let care = &arguments.care;
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
        rows: care.choose(ROWS.0, ROWS.1),
        rate: care.choose(RATE, RATE / 20),
        rounds: care.rounds(),
        seconds: care.choose(arguments.seconds, 0.3),
        threads: thread::available_parallelism().map_or(1, usize::from),
        quiet_wait: care.quiet_wait(10),
        date: today(),
        machine: Machine::this(),
    };
    let lines = serving.measure()?;
    keep(&folder.join("serve.jsonl"), &lines)?;
    let tables = serving::markdown(&lines);
    show(&tables);
    if arguments.publish {
        let head = head(&serving.date, &serving.machine);
        tell(context, "bench serve", &format!("{head} {tables}"))?;
        write(&context.root.join("docs/benchmarks/serve.jsonl"), &lines::write(&lines)?)?;
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
    let care = &arguments.care;
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let session = Session {
        tools: build(context, cases, arguments.threads.unwrap_or(cores))?,
        data: context.cache.join("bench-data"),
        work: folder.join("work"),
        embeddings: arguments.embeddings.clone(),
        rows: care.choose(ROWS.0, ROWS.1),
        rounds: care.rounds(),
        quick: care.quick,
        quiet_wait: care.quiet_wait(30),
        again: care.choose(arguments.again, 0),
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
    if summaries.iter().any(|summary| summary.machine != first.machine) {
        bail!("lines of different machines cannot be told together");
    }
    let head = head(&first.date, &first.machine);
    let picture = "![Times](benchmarks/kmeans.svg)";
    tell(context, "bench kmeans", &format!("{head}\n\n{picture}\n\n{}", sections.join("\n")))?;
    let plot_path = context.root.join(PLOT);
    if let Some(folder) = plot_path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    }
    write(&plot_path, drawn)?;
    note(&format!("wrote {PAGE} and {PLOT}"));
    Ok(())
}

/// When and on what the figures below it were measured.
fn head(date: &str, machine: &Machine) -> String {
    format!("{date}, {} ({} processors).", machine.cpu, machine.cores)
}

/// Puts text between the markers of a name in the page of all figures.
fn tell(context: &Context, name: &str, text: &str) -> Result<()> {
    let path = context.root.join(PAGE);
    let page = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    write(&path, &page::replace(&page, name, text)?)
}

/// Writes lines to a file, and says so.
fn keep(path: &Path, lines: &[impl Serialize]) -> Result<()> {
    write(path, &lines::write(lines)?)?;
    note(&format!("{} lines in {}", lines.len(), path.display()));
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
